package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/istioca"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// settleInCluster is how long istiod, ztunnel and the kubelet have to learn that a pod is going (contract ambient, section 4.9).
const settleInCluster = 5 * time.Second

// inCluster completes the options of a waypoint of a cluster.
func (f *serveFlags) inCluster(o *app.Options) error {
	p, err := readPod(os.Getenv)
	if err != nil {
		return fmt.Errorf("environment:\n%w", err)
	}
	o.Listen, o.Health = cmp.Or(f.listen, ":15008"), f.probes(":15021")
	if o.Settle = f.settle; f.settle < 0 {
		o.Settle = settleInCluster
	}
	if o.Certificates, err = f.meshCertificates(o, p); err != nil {
		return err
	}
	api, err := kube.ConfigFrom(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	tokens, err := kube.NewTokens(api, p.namespace, p.account)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	o.Account = tokens.For
	o.Cluster = &app.Cluster{
		Kube: api, Namespace: p.namespace, Gateway: f.gateway, Domain: p.domain, PodIP: p.ip, Network: p.network,
		Mesh: wds.ClientOptions{
			Address: p.xds, TLS: p.istiod(p.xds, p.xdsRoot), Token: p.bearer, Headers: p.headers("XDS_HEADER_"),
			Node: wds.Node{
				Type: p.nodeType, IP: p.ip, Name: p.name, Namespace: p.namespace, ServiceAccount: p.account, NodeName: p.node,
				Cluster: p.cluster, Network: p.network, Domain: p.domain, Version: version,
			},
		},
	}
	return nil
}

// meshCertificates opens the source that --certs names, istiod's CA without it, and what was revoked on top.
func (f *serveFlags) meshCertificates(o *app.Options, p *pod) (certs.Source, error) {
	if f.certs != "" {
		source, err := f.certificates(o)
		if err != nil {
			return nil, err
		}
		return certs.NewRevoked(source, p.crl, o.Log), nil
	}
	source, err := istioca.New(istioca.Options{
		Address: p.ca, TLS: p.istiod(p.ca, p.caRoot), Token: p.bearer, RootFile: p.caRoot, Headers: p.headers("CA_HEADER_"), TTL: p.ttl, Log: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("istiod's CA: %w", err)
	}
	return certs.NewRevoked(source, p.crl, o.Log), nil
}

// headers are those that istiod asks for, and those that the environment adds under a prefix, as Istio's agent takes them.
func (p *pod) headers(prefix string) map[string]string {
	h := map[string]string{"clusterid": p.cluster}
	for _, v := range os.Environ() {
		if name, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, prefix) && value != "" {
			h[strings.ToLower(strings.TrimPrefix(name, prefix))] = value
		}
	}
	return h
}
