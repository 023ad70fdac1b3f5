package static

import (
	"fmt"
	"net/netip"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
)

// builder turns objects into a View and collects what is wrong with them.
type builder struct {
	Objects
	view      *View
	workloads []*workload
	problems  []Problem
	owners    map[string]Ref // who has a host, an address or address:port already
}

// New builds a View, or returns every problem of the objects and no View.
func New(o Objects) (*View, []Problem) {
	b := &builder{Objects: o, owners: map[string]Ref{}, view: &View{
		addresses: map[netip.Addr]map[uint16]*mesh.Destination{},
		hosts:     map[string]map[uint16]*mesh.Destination{},
		known:     map[string]map[uint16]*mesh.Destination{},
		workloads: map[netip.Addr]*workload{},
	}}
	for i := range o.Workloads {
		b.addWorkload(&o.Workloads[i])
	}
	for i := range o.Services {
		b.addService(&o.Services[i])
	}
	if len(b.problems) > 0 {
		return nil, b.problems
	}
	return b.view, nil
}

func (b *builder) report(object Ref) report { return report{object, &b.problems} }

func (b *builder) addWorkload(o *Workload) {
	r := b.report(Ref{Kind: KindWorkloadEntry, Namespace: o.Namespace, Name: o.Name})
	w := &workload{object: r.object, options: r.options(o.Annotations), choice: b.Choice}
	labels, at := o.labels()
	w.place = b.readPlace(r, "spec", at, o.Spec, labels, w.options.HBONEPort())
	w.name = o.Namespace + "/" + o.Name
	w.attached = b.Gateway.attached(r, o.Namespace, o.Labels)
	b.workloads = append(b.workloads, w)
	if w.attached && b.own(r, "spec.address", w.addr.String()) {
		b.view.workloads[w.addr] = w
		b.view.attached = append(b.view.attached, Attached{
			Attached: mesh.Attached{Object: w.object, Service: w.service(), URLHosts: w.options.URLHosts()}, Address: w.addr,
		})
	}
}

func (b *builder) addService(o *Service) {
	s := b.readService(o)
	var places []*place
	if o.Spec.WorkloadSelector != nil {
		places = b.selected(o, s)
	} else {
		places = b.inline(o, s)
	}
	b.checkPlaces(s, places)
	for i, host := range s.hosts {
		if b.view.known[host] == nil { // the first one keeps it, unless a later one is attached
			b.view.known[host] = b.destinations(s, i, places)
		}
	}
	if !b.Gateway.attached(b.report(s.object), o.Namespace, o.Labels) {
		return
	}
	for i := range s.hosts {
		b.attach(s, i, places)
	}
}

// checkPlaces reports endpoints that would be counted twice or lead into a tunnel's own port, and identities that nothing
// could prove.
func (b *builder) checkPlaces(s *service, places []*place) {
	r := b.report(s.object)
	tunnels := false
	for _, p := range places {
		tunnels = tunnels || p.tunnel.IsValid()
	}
	if len(s.sans) > 0 && len(places) > 0 && !tunnels {
		r.add("spec.subjectAltNames", "no endpoint has a tunnel, so that nothing could prove these identities")
	}
	for i, q := range s.ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		first := map[netip.AddrPort]string{}
		for _, p := range places {
			if !p.addr.IsValid() {
				continue
			}
			e := p.endpoint(q, nil)
			if e.Address == e.Tunnel {
				r.add(field, "leads to %s of %s, where its tunnel ends", e.Address, p.name)
			}
			if other, twice := first[e.Address]; twice {
				r.add(field, "leads to %s twice, by the endpoints %s and %s", e.Address, other, p.name)
			}
			first[e.Address] = p.name
		}
	}
}

// called is what a service is by one of its hosts.
func (s *service) called(i int) call.Service {
	name, _, _ := strings.Cut(s.hosts[i], ".")
	return call.Service{Namespace: s.object.Namespace, Name: name, Hostname: s.hosts[i]}
}

// destinations are the ports of a service as one of its hosts.
func (b *builder) destinations(s *service, i int, places []*place) map[uint16]*mesh.Destination {
	ports := map[uint16]*mesh.Destination{}
	for _, q := range s.ports {
		d := &mesh.Destination{Service: s.called(i), Choice: b.Choice}
		d.Service.Port = q.number
		for _, p := range places {
			d.Endpoints = append(d.Endpoints, p.endpoint(q, s.sans))
		}
		s.options.Apply(d, q.protocol)
		ports[q.number] = d
	}
	return ports
}

// attach enters one host of a service. Its addresses lead to the first host: they cannot tell hosts apart.
func (b *builder) attach(s *service, i int, places []*place) {
	r := b.report(s.object)
	if !b.own(r, fmt.Sprintf("spec.hosts[%d]", i), s.hosts[i]) {
		return
	}
	at := Attached{Attached: mesh.Attached{Object: s.object, Service: s.called(i), URLHosts: s.options.URLHosts()}}
	ports := b.destinations(s, i, places)
	b.view.known[s.hosts[i]] = ports
	for _, q := range s.ports {
		at.Ports = append(at.Ports, ports[q.number])
	}
	b.view.hosts[s.hosts[i]] = ports
	b.view.attached = append(b.view.attached, at)
	if i == 0 {
		b.enterVIPs(r, s, at.Ports)
	}
}

func (b *builder) enterVIPs(r report, s *service, ports []*mesh.Destination) {
	for i, vip := range s.vips {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		if _, taken := b.view.workloads[vip]; taken {
			r.add(field, "%s is the address of %s already", vip, b.owners[vip.String()])
		}
		if b.view.addresses[vip] == nil {
			b.view.addresses[vip] = map[uint16]*mesh.Destination{}
		}
		for _, d := range ports {
			if b.own(r, field, netip.AddrPortFrom(vip, d.Service.Port).String()) {
				b.view.addresses[vip][d.Service.Port] = d
			}
		}
	}
}

// own claims what can lead to one object only.
func (b *builder) own(r report, field, what string) bool {
	if first, taken := b.owners[what]; taken {
		r.add(field, "%s is taken by %s already", what, first)
		return false
	}
	b.owners[what] = r.object
	return true
}
