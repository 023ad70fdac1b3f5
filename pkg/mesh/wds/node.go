package wds

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// The types of node as which istiod may know us. Type agentgateway is not among them: under a switch of istiod it gets
// other resources under the same names.
const (
	TypeWaypoint = "waypoint"
	TypeZtunnel  = "ztunnel"
)

// product names us in istiod's tools.
const product = "waymark"

// Node is how this process introduces itself to istiod. Name, Namespace, ServiceAccount and IP are required; istiod compares
// the namespace and the service account with the token.
type Node struct {
	Type                string // "" means TypeWaypoint
	IP                  netip.Addr
	Name, Namespace     string // of the pod
	ServiceAccount      string
	NodeName            string // of the machine
	Cluster, Network    string
	Domain              string // of the cluster; "" means cluster.local
	Version             string // of this program
	Labels, Annotations map[string]string
}

func (n Node) check() error {
	var errs []error
	switch n.Type {
	case "", TypeWaypoint, TypeZtunnel:
	default:
		errs = append(errs, fmt.Errorf("type %q is neither %s nor %s", n.Type, TypeWaypoint, TypeZtunnel))
	}
	if !n.IP.IsValid() {
		errs = append(errs, errors.New("IP is required"))
	}
	for _, v := range []struct {
		name, value string
		required    bool
	}{{"Name", n.Name, true}, {"Namespace", n.Namespace, true}, {"ServiceAccount", n.ServiceAccount, true}, {"Domain", n.Domain, false}} {
		switch {
		case v.value == "" && v.required:
			errs = append(errs, fmt.Errorf("%s is required", v.name))
		case strings.Contains(v.value, "~"):
			errs = append(errs, fmt.Errorf("%s: %q has a ~, which separates the parts of the node's id", v.name, v.value))
		}
	}
	return errors.Join(errs...)
}

// id is type~ip~name.namespace~namespace.svc.domain, the only form that istiod parses.
func (n Node) id() string {
	return strings.Join([]string{
		cmp.Or(n.Type, TypeWaypoint), n.IP.Unmap().WithZone("").String(), n.Name + "." + n.Namespace,
		n.Namespace + ".svc." + cmp.Or(n.Domain, "cluster.local"),
	}, "~")
}

// proto is the node of the first request of a stream. The version carries our name: istiod takes one that begins with a
// number for a version of Istio, and withholds from old ones. Without a proxy configuration istioctl does not list us.
func (n Node) proto(discovery string) (*core.Node, error) {
	fields := map[string]any{
		"NAME":            n.Name,
		"NAMESPACE":       n.Namespace,
		"SERVICE_ACCOUNT": n.ServiceAccount,
		"INSTANCE_IPS":    n.IP.Unmap().WithZone("").String(),
		"ISTIO_VERSION":   product + "-" + cmp.Or(n.Version, "devel"),
		"PROXY_CONFIG":    map[string]any{"discoveryAddress": discovery},
	}
	for name, value := range map[string]string{"NODE_NAME": n.NodeName, "CLUSTER_ID": n.Cluster, "NETWORK": n.Network} {
		if value != "" {
			fields[name] = value
		}
	}
	for name, values := range map[string]map[string]string{"LABELS": n.Labels, "ANNOTATIONS": n.Annotations} {
		if len(values) == 0 {
			continue
		}
		m := make(map[string]any, len(values))
		for k, v := range values {
			m[k] = v
		}
		fields[name] = m
	}
	metadata, err := structpb.NewStruct(fields)
	if err != nil { // a string that is not UTF-8
		return nil, err
	}
	return &core.Node{
		Id:                   n.id(),
		Metadata:             metadata,
		UserAgentName:        product,
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: cmp.Or(n.Version, "devel")},
	}, nil
}
