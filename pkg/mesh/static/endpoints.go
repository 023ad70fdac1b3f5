package static

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// The label by which a workload says that a tunnel ends at it (contract ambient, section 5.3), and its only value.
const (
	labelTunnel = "networking.istio.io/tunnel"
	tunnelHTTP  = "http"
)

// defaultAccount is the service account of a workload that names none (contract ambient, section 2.5).
const defaultAccount = "default"

// place is one workload's address, checked: an endpoint of every service that has it, at that service's ports.
type place struct {
	name   string // namespace/name
	labels map[string]string
	addr   netip.Addr
	ports  map[string]uint16 // by the name of the service's port
	weight uint32
	tunnel netip.AddrPort
	id     identity.ID // zero without a tunnel
}

// readPlace reads a WorkloadEntry object, or an endpoint that stands inside a ServiceEntry: at is the path of its fields,
// labelsAt that of its labels.
func (b *builder) readPlace(r report, at, labelsAt string, spec *networking.WorkloadEntry, labels map[string]string, hbone uint16) *place {
	p := &place{labels: labels, weight: spec.Weight, ports: map[string]uint16{}}
	var text string
	if p.addr, text = unicast(spec.Address); text != "" {
		r.add(at+".address", "%q %s", spec.Address, text)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Ports)) {
		p.ports[name] = readTarget(r, at+".ports["+name+"]", spec.Ports[name])
	}
	if spec.Network != "" {
		r.add(at+".network", "networks are not supported: every endpoint has to be reachable directly")
	}
	account := spec.ServiceAccount
	if account == "" {
		account = defaultAccount
	}
	id, err := identity.ForServiceAccount(b.TrustDomain, r.object.Namespace, account)
	if err != nil || !mesh.ValidName(account) {
		r.add(at+".serviceAccount", "%q is not the name of a service account", account)
	}
	if b.tunnelled(r, labelsAt, labels) {
		p.tunnel, p.id = netip.AddrPortFrom(p.addr, hbone), id
	}
	return p
}

func (b *builder) tunnelled(r report, labelsAt string, labels map[string]string) bool {
	switch v := labels[labelTunnel]; v {
	case "":
		return false
	case tunnelHTTP:
		return true
	default:
		r.add(labelsAt+"["+labelTunnel+"]", "%q is not %q, the only tunnel there is", v, tunnelHTTP)
		return false
	}
}

// inline reads the endpoints that stand inside a ServiceEntry.
func (b *builder) inline(o *Service, s *service) []*place {
	r := b.report(s.object)
	places := make([]*place, 0, len(o.Spec.Endpoints))
	for i, spec := range o.Spec.Endpoints {
		at := fmt.Sprintf("spec.endpoints[%d]", i)
		p := b.readPlace(r, at, at+".labels", spec, spec.Labels, s.options.HBONEPort())
		p.name = fmt.Sprintf("%s/%s[%d]", o.Namespace, o.Name, i)
		for _, name := range slices.Sorted(maps.Keys(p.ports)) {
			if !slices.ContainsFunc(s.ports, func(q port) bool { return q.name == name }) {
				r.add(at+".ports["+name+"]", "the service has no port of this name")
			}
		}
		places = append(places, p)
	}
	return places
}

// selected returns the workloads of the service's namespace that carry every label of its selector.
func (b *builder) selected(o *Service, s *service) []*place {
	var places []*place
	for _, w := range b.workloads {
		if w.object.Namespace == o.Namespace && carries(w.labels, o.Spec.WorkloadSelector.Labels) {
			places = append(places, w.place)
		}
	}
	if len(places) == 0 {
		b.report(s.object).add("spec.workloadSelector", "no WorkloadEntry of namespace %s carries these labels", o.Namespace)
	}
	return places
}

func carries(labels, want map[string]string) bool {
	for k, v := range want {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// endpoint is the place as it serves one port of a service.
func (p *place) endpoint(q port, sans []identity.ID) mesh.Endpoint {
	target := q.target
	if mapped, ok := p.ports[q.name]; ok {
		target = mapped
	}
	e := mesh.Endpoint{Address: netip.AddrPortFrom(p.addr, target), Workload: p.name, Weight: max(p.weight, 1)}
	if p.tunnel.IsValid() {
		e.Tunnel = p.tunnel
		e.Identities = append([]identity.ID{p.id}, sans...)
	}
	return e
}
