package wds

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// index holds the endpoints of one port of a service, by rank. It is made when somebody first picks from the port, and from
// then on each change of a workload changes one item of it. A change of the service, or of where we are, makes it stale.
type index struct {
	epoch   uint64
	def     *definition
	port    port
	tunnels uint16 // the port where tunnels end
	ranks   []bucket
	where   map[string]spot // by uid
	ids     map[identity.ID][]identity.ID
}

type spot struct{ rank, at int }

// item is one endpoint. One that is behind a gateway has no address before a gateway is chosen.
type item struct {
	uid      string
	endpoint mesh.Endpoint
	gateway  gateway
}

func (it *item) weight() uint64 { return uint64(it.endpoint.Weight) }

// put enters a workload, takes it out, or changes what is known of it. w is nil if it does not belong to the service any more.
func (x *index) put(s *Store, uid string, w *workload) {
	if at, ok := x.where[uid]; ok {
		delete(x.where, uid)
		b := &x.ranks[at.rank]
		if moved := b.drop(at.at); moved != nil {
			x.where[moved.uid] = at
		}
		b.clip()
	}
	if w == nil {
		return
	}
	it, ok := x.item(s, w)
	if !ok {
		return
	}
	rank, ok := x.def.prefer.rank(&s.place, &w.place)
	if ok {
		x.where[uid] = spot{rank, x.ranks[rank].put(it)}
	}
}

// item makes an endpoint of a workload, if it is one for us.
func (x *index) item(s *Store, w *workload) (item, bool) {
	it := item{uid: w.uid, endpoint: mesh.Endpoint{Workload: w.full, Weight: w.capacity}}
	if !w.healthy && !x.def.unhealthy || w.capacity == 0 || w.tunnel == strange {
		return it, false
	}
	if w.place.network != s.place.network {
		it.gateway = w.gateway
		it.endpoint.Identities = x.inner(w)
		return it, w.tunnel == hbone && s.passable(w.gateway)
	}
	if w.at(s.self.PodIP) { // that is us, whatever other addresses we have
		return it, false
	}
	l := w.member(x.def.host)
	target := x.port.target
	if t := l.target(x.port.number); t != 0 {
		target = t
	}
	if target == 0 || mesh.Own(target) || target == x.tunnels {
		return it, false
	}
	if len(w.addrs) == 0 {
		it.endpoint.Host, it.endpoint.Address = w.host, standIn(w.sequence, target)
		return it, w.tunnel == plain && resolvable(w.host)
	}
	a, ok := s.prefer(w.addrs, x.def.families)
	it.endpoint.Address = netip.AddrPortFrom(a, target)
	if w.tunnel == hbone {
		it.endpoint.Tunnel = netip.AddrPortFrom(a, x.tunnels)
		it.endpoint.Identities = x.identities(w)
	}
	return it, ok
}

// identities are those who may answer at a workload: itself, and whom the service names besides.
func (x *index) identities(w *workload) []identity.ID {
	id := w.id.Value()
	ids := x.ids[id]
	if ids == nil {
		ids = append([]identity.ID{id}, x.def.sans...)
		x.ids[id] = ids
	}
	return ids
}

// inner are those who may answer behind a gateway: whom the service names, because the gateway chooses among the workloads of
// its network. Only where it names nobody it is the workload itself.
func (x *index) inner(w *workload) []identity.ID {
	if len(x.def.sans) > 0 {
		return x.def.sans
	}
	return x.identities(w)
}

// pick chooses among the best endpoints that were not tried yet.
func (x *index) pick(s *Store, tried []netip.AddrPort) (mesh.Endpoint, error) {
	for i := len(x.ranks) - 1; i >= 0 && len(tried) == 0; i-- {
		b := &x.ranks[i]
		if len(b.items) == 0 {
			continue
		}
		it := &b.items[b.weights.find(s.choose(b.weights.total()))]
		if it.gateway.none() {
			return it.endpoint, nil
		}
		if e, ok := x.through(s, it, nil); ok {
			return e, nil
		}
		break // somebody has to look which gateways there are
	}
	for i := len(x.ranks) - 1; i >= 0; i-- {
		if e, ok := x.scan(s, &x.ranks[i], tried); ok {
			return e, nil
		}
	}
	known := 0
	for i := range x.ranks {
		known += len(x.ranks[i].items)
	}
	return mesh.Endpoint{}, fmt.Errorf("%w of %s/%s port %d: %d usable, %d tried already",
		mesh.ErrNoEndpoint, x.def.host.Namespace, x.def.host.Hostname, x.port.number, known, len(tried))
}

// scan chooses among what is left of a rank. It looks at each endpoint: that happens where one has failed.
func (x *index) scan(s *Store, b *bucket, tried []netip.AddrPort) (mesh.Endpoint, bool) {
	left := func(it *item) bool {
		if it.gateway.none() {
			return !slices.Contains(tried, it.endpoint.Address)
		}
		return s.open(it.gateway, tried)
	}
	var total uint64
	for i := range b.items {
		if left(&b.items[i]) {
			total += b.items[i].weight()
		}
	}
	if total == 0 {
		return mesh.Endpoint{}, false
	}
	at := s.choose(total)
	for i := range b.items {
		it := &b.items[i]
		if !left(it) {
			continue
		}
		if at < it.weight() {
			if it.gateway.none() {
				return it.endpoint, true
			}
			return x.through(s, it, tried)
		}
		at -= it.weight()
	}
	panic("wds: internal error: a choice outside its range")
}

// through completes an endpoint on another network by a gateway of that network.
func (x *index) through(s *Store, it *item, tried []netip.AddrPort) (mesh.Endpoint, bool) {
	e := it.endpoint
	g, ok := s.door(it.gateway, tried)
	if !ok {
		return e, false
	}
	g.Authority = mesh.Authority{Host: x.def.host.Hostname, Port: x.port.number}.String()
	e.Address, e.Gateway = g.Tunnel, &g
	return e, true
}

func (s *Store) choose(n uint64) uint64 {
	if s.opt.Choice != nil {
		return s.opt.Choice(n)
	}
	return rand.Uint64N(n)
}

// prefer chooses one of a workload's addresses: of the family that our own pod has, if the service is offered in it. It is
// false if none can be dialled.
func (s *Store) prefer(addrs []netip.Addr, f families) (chosen netip.Addr, ok bool) {
	for _, a := range addrs {
		if !f.accept(a) || !s.elsewhere(a) {
			continue
		}
		if !ok || s.self.PodIP.IsValid() && a.Is4() == s.self.PodIP.Is4() && chosen.Is4() != a.Is4() {
			chosen, ok = a, true
		}
	}
	return chosen, ok
}

// elsewhere reports whether an address is that of one place, and not our own. Whoever can write a ServiceEntry could otherwise
// have us talk to what listens in our own pod. A waypoint whose own address is a loopback one is a test's.
func (s *Store) elsewhere(a netip.Addr) bool {
	switch {
	case a == s.self.PodIP, a.IsUnspecified(), a.IsMulticast():
		return false
	}
	return !a.IsLoopback() || s.self.PodIP.IsLoopback()
}

// resolvable reports whether a hostname may be looked up. One that can only mean ourselves may not.
func resolvable(host string) bool {
	return mesh.ValidHost(host) && host != "localhost" && !isUnder(host, "localhost")
}

func isUnder(host, domain string) bool {
	n := len(host) - len(domain)
	return n > 0 && host[n-1] == '.' && host[n:] == domain
}

// standIn makes the Address of an endpoint that has a hostname only. It differs from that of every other endpoint, so that
// those that were tried can be told from the rest, and what dialled it all the same would reach nothing (RFC 6666).
func standIn(number uint64, target uint16) netip.AddrPort {
	b := [16]byte{0: 0x01}
	binary.BigEndian.PutUint64(b[8:], number)
	return netip.AddrPortFrom(netip.AddrFrom16(b), target)
}
