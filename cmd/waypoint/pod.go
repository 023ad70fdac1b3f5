package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// pod is what a waypoint's pod is told by its environment, in the names that Istio's own pods use (contract ambient, section
// 3.1). The example in manifests/ sets all of them that a cluster does not answer by itself.
type pod struct {
	name, namespace, account, node string
	ip                             netip.Addr
	gateway                        string
	cluster, network, domain       string
	xds, ca                        string // host:port
	xdsRoot, caRoot                string // files
	san                            string // the name that istiod's certificate has; "" for the host of the address
	token, crl                     string // files
	nodeType                       string
	ttl                            time.Duration // of our certificate; 0 leaves it to the CA
}

// readPod reads the environment. The error names every variable that is missing or wrong.
func readPod(get func(string) string) (*pod, error) {
	or := func(name, otherwise string) string {
		if v := get(name); v != "" {
			return v
		}
		return otherwise
	}
	p := &pod{
		name: get("POD_NAME"), namespace: get("POD_NAMESPACE"), account: get("SERVICE_ACCOUNT"), node: get("NODE_NAME"),
		gateway: get("GATEWAY_NAME"),
		cluster: or("CLUSTER_ID", "Kubernetes"), network: get("NETWORK"), domain: or("CLUSTER_DOMAIN", "cluster.local"),
		xds:      or("XDS_ADDRESS", "istiod.istio-system.svc:15012"),
		xdsRoot:  or("XDS_ROOT_CA", "/var/run/secrets/istio/root-cert.pem"),
		caRoot:   or("CA_ROOT_CA", "/var/run/secrets/istio/root-cert.pem"),
		san:      get("ISTIOD_SAN"),
		token:    or("TOKEN_FILE", "/var/run/secrets/tokens/istio-token"),
		crl:      or("CRL_PATH", "/var/run/secrets/istio/crl/ca-crl.pem"),
		nodeType: or("NODE_TYPE", "waypoint"),
	}
	p.ca = or("CA_ADDRESS", p.xds)
	var errs []error
	for _, v := range []struct{ name, value string }{
		{"POD_NAME", p.name}, {"POD_NAMESPACE", p.namespace}, {"SERVICE_ACCOUNT", p.account}, {"INSTANCE_IP", get("INSTANCE_IP")},
	} {
		if v.value == "" {
			errs = append(errs, fmt.Errorf("%s is not set: the pod's manifest takes it from the downward API", v.name))
		}
	}
	if text := get("INSTANCE_IP"); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("INSTANCE_IP: %w", err))
		}
		p.ip = ip
	}
	for _, v := range []struct{ name, value string }{{"XDS_ADDRESS", p.xds}, {"CA_ADDRESS", p.ca}} {
		if _, _, err := net.SplitHostPort(v.value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	if text := get("SECRET_TTL"); text != "" {
		ttl, err := time.ParseDuration(text)
		if err != nil || ttl < time.Second || ttl%time.Second != 0 {
			errs = append(errs, fmt.Errorf("SECRET_TTL: %q is not a number of seconds such as 24h or 90s", text))
		}
		p.ttl = ttl
	}
	if p.nodeType != "waypoint" && p.nodeType != "ztunnel" {
		errs = append(errs, fmt.Errorf("NODE_TYPE: %q is neither waypoint nor ztunnel", p.nodeType))
	}
	return p, errors.Join(errs...)
}

// bearer reads the pod's token for istiod, which the kubelet renews.
func (p *pod) bearer() (string, error) {
	b, err := os.ReadFile(p.token)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s is empty", p.token)
	}
	return token, nil
}

// istiod returns what verifies istiod at an address. The roots are read anew each time.
func (p *pod) istiod(address, rootFile string) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		bundle, err := os.ReadFile(rootFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(bundle) {
			return nil, fmt.Errorf("%s has no certificate", rootFile)
		}
		name := p.san
		if name == "" {
			name, _, _ = net.SplitHostPort(address)
		}
		return &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}, nil
	}
}
