package wds

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// Resolve finds what an authority names, see mesh.View. What is more specific wins: the address of a service, then that of a
// workload, then a range of addresses. Where a name or an address is that of services in several namespaces, it is one that is
// attached to us, and of those the canonical one.
func (s *Store) Resolve(authority string) (*mesh.Destination, error) {
	a, err := mesh.ParseAuthority(authority)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.isOwn(a.Addr) {
		return nil, fmt.Errorf("%w: %s is this waypoint's own pod", mesh.ErrOwnPort, a)
	}
	if !a.Addr.IsValid() {
		return s.among(s.hosts[a.Host], a)
	}
	key := netAddr{s.place.network, a.Addr}
	exact := s.vips[key]
	if w := s.owner(key); w != nil && w.attached && !slices.ContainsFunc(exact, isAttached) {
		return s.direct(w, a)
	}
	if len(exact) > 0 {
		return s.among(exact, a)
	}
	return s.among(s.matching(key), a)
}

func isAttached(v *service) bool { return v.attached }

// among chooses a service, the best one first, and one that has the port before one that does not.
func (s *Store) among(all []*service, a mesh.Authority) (*mesh.Destination, error) {
	err := mesh.ErrNotAttached
	for _, v := range all {
		if !v.attached {
			continue
		}
		d := v.ports[a.Port]
		if d == nil {
			err = mesh.ErrUnknownPort
			continue
		}
		if v.def.direct {
			return s.straight(v, d, a)
		}
		if mesh.Own(v.def.port(a.Port).target) {
			return nil, fmt.Errorf("%w: %s", mesh.ErrOwnPort, a)
		}
		return d, nil
	}
	return nil, fmt.Errorf("%w: %s", err, a)
}

// Locate finds a port of any service that istiod has told of, see mesh.Directory.
func (s *Store) Locate(host string, port uint16) (*mesh.Destination, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.hosts[strings.ToLower(host)]
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s", mesh.ErrUnknownHost, host)
	}
	for _, v := range all {
		if p := v.def.port(port); p != nil {
			d := &mesh.Destination{Service: v.service(), Picker: &servicePort{s, v.host, port}}
			d.Service.Port = port
			options, _ := mesh.ReadOptions(nil)
			options.Apply(d, p.protocol)
			return d, nil
		}
	}
	return nil, fmt.Errorf("%w: %s:%d", mesh.ErrUnknownPort, host, port)
}

// straight is a destination of a service without endpoints: what was asked for is what is dialled.
func (s *Store) straight(v *service, d *mesh.Destination, a mesh.Authority) (*mesh.Destination, error) {
	switch {
	case mesh.Own(a.Port):
		return nil, fmt.Errorf("%w: %s", mesh.ErrOwnPort, a)
	case !a.Addr.IsValid():
		return d, nil // picking from it says why that does not work
	case !s.elsewhere(a.Addr):
		return nil, fmt.Errorf("%w: %s is not the address of another place", mesh.ErrNotAttached, a)
	}
	own := *d
	own.Picker = &straightPort{s, v.host, netip.AddrPortFrom(a.Addr, a.Port)}
	return &own, nil
}

// direct is one port of a workload that is addressed itself, whatever services it belongs to.
func (s *Store) direct(w *workload, a mesh.Authority) (*mesh.Destination, error) {
	switch {
	case mesh.Own(a.Port):
		return nil, fmt.Errorf("%w: %s", mesh.ErrOwnPort, a)
	case !s.elsewhere(a.Addr):
		return nil, fmt.Errorf("%w: %s is not the address of another place", mesh.ErrNotAttached, a)
	}
	d := &mesh.Destination{Service: w.service(), Picker: &workloadPort{s, w.uid, netip.AddrPortFrom(a.Addr, a.Port)}}
	d.Service.Port = a.Port
	options, _ := mesh.ReadOptions(nil)
	options.Apply(d, mesh.Unknown)
	return d, nil
}

// servicePort picks from the endpoints that a port of a service has at that moment.
type servicePort struct {
	store *Store
	host  mesh.Host
	port  uint16
}

// Pick is mesh.Picker's.
func (p *servicePort) Pick(tried []netip.AddrPort) (mesh.Endpoint, error) {
	s := p.store
	s.mu.RLock()
	if v := s.services[p.host]; v != nil {
		if x := v.indexed(s, p.port); x != nil {
			defer s.mu.RUnlock()
			return x.pick(s, tried)
		}
	}
	s.mu.RUnlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.services[p.host]
	switch {
	case v == nil || v.def == nil:
		return mesh.Endpoint{}, p.none("the service is gone")
	case v.def.port(p.port) == nil:
		return mesh.Endpoint{}, p.none("the port is gone")
	case v.def.direct:
		return mesh.Endpoint{}, p.none("the service has addresses only, and was asked for by its name")
	}
	x := v.indexed(s, p.port)
	if x == nil {
		x = s.makeIndex(v, p.port)
	}
	return x.pick(s, tried)
}

func (p *servicePort) none(why string) error {
	return fmt.Errorf("%w of %s/%s port %d: %s", mesh.ErrNoEndpoint, p.host.Namespace, p.host.Hostname, p.port, why)
}

// workloadPort is a port of a workload, for as long as the workload has the address.
type workloadPort struct {
	store *Store
	uid   string
	at    netip.AddrPort
}

// Pick is mesh.Picker's.
func (p *workloadPort) Pick(tried []netip.AddrPort) (mesh.Endpoint, error) {
	s := p.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := s.owner(netAddr{s.place.network, p.at.Addr()})
	switch {
	case w == nil || w.uid != p.uid:
		return mesh.Endpoint{}, fmt.Errorf("%w at %s: the workload is gone", mesh.ErrNoEndpoint, p.at)
	case slices.Contains(tried, p.at):
		return mesh.Endpoint{}, fmt.Errorf("%w at %s: 1 usable, %d tried already", mesh.ErrNoEndpoint, p.at, len(tried))
	}
	return w.endpoint(p.at)
}

// endpoint is a workload that is addressed itself.
func (w *workload) endpoint(at netip.AddrPort) (mesh.Endpoint, error) {
	e := mesh.Endpoint{Address: at, Workload: w.full, Weight: 1}
	switch w.tunnel {
	case hbone:
		e.Tunnel = netip.AddrPortFrom(at.Addr(), mesh.DefaultHBONEPort)
		e.Identities = []identity.ID{w.id.Value()}
	case strange:
		return mesh.Endpoint{}, fmt.Errorf("%w at %s: its tunnel is of a kind that is not known here", mesh.ErrNoEndpoint, at)
	}
	return e, nil
}

// straightPort is an address that a caller has asked for, for as long as the service passes on to such.
type straightPort struct {
	store *Store
	host  mesh.Host
	at    netip.AddrPort
}

// Pick is mesh.Picker's. What is known of the address is used: in a mesh it may be that of a workload with a tunnel.
func (p *straightPort) Pick(tried []netip.AddrPort) (mesh.Endpoint, error) {
	s := p.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.services[p.host]
	switch {
	case v == nil || v.def == nil || !v.def.direct || v.def.port(p.at.Port()) == nil:
		return mesh.Endpoint{}, fmt.Errorf("%w at %s: %s/%s does not lead there any more",
			mesh.ErrNoEndpoint, p.at, p.host.Namespace, p.host.Hostname)
	case slices.Contains(tried, p.at):
		return mesh.Endpoint{}, fmt.Errorf("%w at %s: 1 usable, %d tried already", mesh.ErrNoEndpoint, p.at, len(tried))
	}
	if w := s.owner(netAddr{s.place.network, p.at.Addr()}); w != nil {
		return w.endpoint(p.at)
	}
	return mesh.Endpoint{Address: p.at, Weight: 1}, nil
}
