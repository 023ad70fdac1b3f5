package kube

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
)

// keepGateway reads where the status of our Gateway says that we are.
func keepGateway(r *reader, u *unstructured.Unstructured) any {
	if u.GetNamespace() != r.namespace || u.GetName() != r.gateway {
		return nil
	}
	g := &config.ClusterGateway{Namespace: r.namespace, Name: r.gateway, Found: true}
	g.ClientIdentity = u.GetAnnotations()[config.AnnClientIdentity] == "true"
	addresses, _, _ := unstructured.NestedSlice(u.Object, "status", "addresses")
	for _, a := range addresses {
		at, _ := a.(map[string]any)
		value, _ := at["value"].(string)
		switch at["type"] {
		case "Hostname":
			if value != "" {
				g.Hosts = append(g.Hosts, value)
			}
		case "IPAddress": // istiod takes an address without a type for none (contract ambient, section 1.1)
			if addr, err := netip.ParseAddr(value); err == nil {
				g.Addresses = append(g.Addresses, addr.Unmap())
			}
		}
	}
	return g
}

// route is one that this waypoint would have to carry out, and does not.
type route struct{ mesh.Ref }

// keepRoute keeps a route whose parent is a service of the mesh, or our Gateway.
func keepRoute(r *reader, u *unstructured.Unstructured) any {
	parents, _, _ := unstructured.NestedSlice(u.Object, "spec", "parentRefs")
	for _, p := range parents {
		if parent, _ := p.(map[string]any); r.concerned(parent, u.GetNamespace()) {
			return &route{mesh.Ref{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}}
		}
	}
	return nil
}

func (r *reader) concerned(parent map[string]any, namespace string) bool {
	get := func(name, otherwise string) string {
		if v, ok := parent[name].(string); ok {
			return v
		}
		return otherwise
	}
	kind, group := get("kind", kindGateway), get("group", groupGateway)
	if kind == kindGateway && group == groupGateway {
		return get("namespace", namespace) == r.namespace && get("name", "") == r.gateway
	}
	return groupOf(kind, group)
}
