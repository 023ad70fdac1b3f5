package wds

import (
	"net/netip"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// door is one place where the gateway of another network can be reached.
type door struct {
	gateway mesh.Gateway
	weight  uint64
}

// passable reports whether a gateway may lead to another network. One on our own does not: istiod says of every workload by
// which gateway others reach it, whoever asks (contract ambient, section 4.8).
func (s *Store) passable(g gateway) bool {
	if g.none() {
		return false
	}
	a := g.Value()
	return a.host.Hostname != "" || a.at.ip.IsValid() && a.at.network != s.place.network
}

// open reports whether a gateway has a door that was not tried yet.
func (s *Store) open(g gateway, tried []netip.AddrPort) bool { return len(s.doors(g, tried)) > 0 }

// door chooses one of a gateway's that was not tried yet.
func (s *Store) door(g gateway, tried []netip.AddrPort) (mesh.Gateway, bool) {
	doors := s.doors(g, tried)
	var total uint64
	for i := range doors {
		total += doors[i].weight
	}
	if total == 0 {
		return mesh.Gateway{}, false
	}
	var at uint64
	if len(doors) > 1 {
		at = s.choose(total)
	}
	for i := range doors {
		if at < doors[i].weight {
			return doors[i].gateway, true
		}
		at -= doors[i].weight
	}
	panic("wds: internal error: a choice outside its range")
}

// doors lists them. A gateway is a service, or a workload that istiod makes up for it, which may have a hostname only.
func (s *Store) doors(g gateway, tried []netip.AddrPort) []door {
	var doors []door
	add := func(w *workload, addrs []netip.Addr, port uint16, sans []identity.ID) {
		if d, ok := s.doorAt(w, addrs, port, sans); ok && !slices.Contains(tried, d.gateway.Tunnel) {
			doors = append(doors, d)
		}
	}
	a := g.Value()
	var behind *service
	if a.host.Hostname != "" {
		if svc := s.services[a.host]; svc != nil && svc.def != nil {
			behind = svc
		}
	} else if all := s.vips[a.at]; len(all) > 0 {
		behind = all[0]
	}
	if behind == nil {
		if w := s.owner(a.at); w != nil {
			add(w, []netip.Addr{a.at.ip}, a.port, nil)
		}
		for _, w := range s.resolved[a.host] {
			add(w, nil, a.port, nil)
		}
		return doors
	}
	p := behind.def.port(a.port)
	if p == nil {
		return nil
	}
	for _, w := range behind.sorted() {
		port := p.target
		if t := w.member(behind.host).target(p.number); t != 0 {
			port = t
		}
		if port != 0 && (w.healthy || behind.def.unhealthy) {
			add(w, w.addrs, port, behind.def.sans)
		}
	}
	return doors
}

// doorAt is a workload as a gateway, at one of the given addresses; without any, at its hostname. Whatever it says of its
// tunnel, a gateway is one.
func (s *Store) doorAt(w *workload, addrs []netip.Addr, port uint16, sans []identity.ID) (door, bool) {
	id := w.id.Value()
	if w.place.network == s.place.network || w.capacity == 0 || id.IsZero() {
		return door{}, false
	}
	d := door{weight: uint64(w.capacity)}
	d.gateway.Identities = append([]identity.ID{id}, sans...)
	if len(addrs) == 0 {
		d.gateway.Host, d.gateway.Tunnel = w.host, standIn(w.sequence, port)
		return d, resolvable(w.host)
	}
	a, ok := s.prefer(addrs, 0)
	d.gateway.Tunnel = netip.AddrPortFrom(a, port)
	return d, ok
}

// sorted lists the members by uid, so that a choice that is made twice alike falls on the same one.
func (v *service) sorted() []*workload {
	all := make([]*workload, 0, len(v.members))
	for _, w := range v.members {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *workload) int { return strings.Compare(a.uid, b.uid) })
	return all
}
