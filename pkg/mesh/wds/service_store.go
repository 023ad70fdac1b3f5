package wds

import (
	"cmp"
	"reflect"
	"slices"
	"waymark.dev/waypoint/pkg/identity"

	"waymark.dev/waypoint/pkg/mesh"
)

// service is what anybody has said of one: istiod, its workloads, and whoever reads the objects behind it. Each may be first.
type service struct {
	host     mesh.Host
	def      *definition          // nil until istiod has spoken
	declared *mesh.Declared       // nil if nothing was declared
	members  map[string]*workload // by uid

	attached bool
	what     mesh.Attached
	ports    map[uint16]*mesh.Destination // while it is attached
	indexes  map[uint16]*index            // of the ports that somebody has picked from
}

// vipRange is a range of addresses that leads to a service.
type vipRange struct {
	vip
	service *service
}

// entry returns what is known of a service, however little.
func (s *Store) entry(host mesh.Host) *service {
	v := s.services[host]
	if v == nil {
		v = &service{host: host, members: map[string]*workload{}}
		s.services[host] = v
	}
	return v
}

// tidy forgets a service of which nothing is known any more.
func (s *Store) tidy(v *service) {
	if v.def == nil && v.declared == nil && len(v.members) == 0 {
		delete(s.services, v.host)
	}
}

// define takes over what istiod says of a service.
func (s *Store) define(d *definition, e *effects) {
	v := s.entry(d.host)
	if v.def != nil && reflect.DeepEqual(v.def, d) {
		return
	}
	s.redefine(v, d, e)
}

// undefine forgets what istiod has said of a service.
func (s *Store) undefine(host mesh.Host, e *effects) {
	if v := s.services[host]; v != nil && v.def != nil {
		s.redefine(v, nil, e)
		s.tidy(v)
	}
}

func (s *Store) redefine(v *service, d *definition, e *effects) {
	moved := !slices.Equal(addressesOf(v.def), addressesOf(d))
	was := v.attached
	if v.def != nil {
		s.unlist(v)
	}
	v.def, v.indexes = d, nil
	if d != nil {
		s.list(v)
	}
	s.bind(v, e)
	// What is not attached matters too where ranges are: a single address that is somebody else's is not one of the range.
	if was || v.attached || moved && len(s.ranges) > 0 {
		e.changed = true
	}
	if _, ours := s.names.hosts[v.host]; ours && moved {
		s.rename(e)
	}
}

func addressesOf(d *definition) []vip {
	if d == nil {
		return nil
	}
	return d.vips
}

// list enters a service under its hostname and addresses. Of several, a canonical one comes first.
func (s *Store) list(v *service) {
	s.stats.services++
	s.hosts[v.host.Hostname] = insert(s.hosts[v.host.Hostname], v)
	for _, a := range v.def.vips {
		if !a.prefix.IsSingleIP() {
			s.ranges = append(s.ranges, vipRange{a, v})
			continue
		}
		key := netAddr{a.network, a.prefix.Addr()}
		s.vips[key] = insert(s.vips[key], v)
	}
	slices.SortStableFunc(s.ranges, func(a, b vipRange) int {
		return cmp.Or(b.prefix.Bits()-a.prefix.Bits(), first(a.service, b.service))
	})
}

func (s *Store) unlist(v *service) {
	s.stats.services--
	take(s.hosts, v.host.Hostname, v)
	for _, a := range v.def.vips {
		take(s.vips, netAddr{a.network, a.prefix.Addr()}, v)
	}
	s.ranges = slices.DeleteFunc(s.ranges, func(r vipRange) bool { return r.service == v })
}

func insert(list []*service, v *service) []*service {
	if slices.Contains(list, v) {
		return list
	}
	list = append(slices.Clone(list), v)
	slices.SortFunc(list, first)
	return list
}

func take[K comparable](m map[K][]*service, key K, v *service) {
	left := slices.DeleteFunc(slices.Clone(m[key]), func(o *service) bool { return o == v })
	if len(left) == 0 {
		delete(m, key)
		return
	}
	m[key] = left
}

// first orders services that cannot be told apart by what was asked for.
func first(a, b *service) int {
	if a.def.canonical != b.def.canonical {
		if a.def.canonical {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.host.Namespace, b.host.Namespace), cmp.Compare(a.host.Hostname, b.host.Hostname))
}

// join enters a workload in a service, changes what is known of it there, or takes it out where w is nil.
func (s *Store) join(v *service, uid string, w *workload) {
	if w != nil {
		v.members[uid] = w
	} else {
		delete(v.members, uid)
	}
	for port, x := range v.indexes {
		if x.epoch != s.epoch {
			delete(v.indexes, port) // whoever picks next makes another one
			continue
		}
		x.put(s, uid, w)
	}
}

// indexed returns the index of a port if it is of use.
func (v *service) indexed(s *Store, port uint16) *index {
	if x := v.indexes[port]; x != nil && x.epoch == s.epoch {
		return x
	}
	return nil
}

// makeIndex ranks the endpoints of a port. The port has to be one of the service.
func (s *Store) makeIndex(v *service, number uint16) *index {
	x := &index{
		epoch: s.epoch, def: v.def, port: *v.def.port(number), tunnels: v.tunnels(),
		ranks: make([]bucket, v.def.prefer.ranks()), where: make(map[string]spot, len(v.members)),
		ids: map[identity.ID][]identity.ID{},
	}
	for _, w := range v.sorted() {
		x.put(s, w.uid, w)
	}
	if v.indexes == nil {
		v.indexes = map[uint16]*index{}
	}
	v.indexes[number] = x
	return x
}

// tunnels is the port where tunnels to the workloads of the service end.
func (v *service) tunnels() uint16 {
	if v.declared != nil && v.declared.Options.HBONEPort() != 0 {
		return v.declared.Options.HBONEPort()
	}
	return mesh.DefaultHBONEPort
}

// matching yields the services of the longest range that has an address.
func (s *Store) matching(a netAddr) (all []*service) {
	bits := -1
	for i := range s.ranges {
		r := &s.ranges[i]
		if bits >= 0 && r.prefix.Bits() != bits {
			break
		}
		if r.network == a.network && r.prefix.Contains(a.ip) {
			bits = r.prefix.Bits()
			all = append(all, r.service)
		}
	}
	return all
}
