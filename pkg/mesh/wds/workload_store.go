package wds

import (
	"net/netip"
	"slices"

	"waymark.dev/waypoint/pkg/mesh"
)

// putWorkload takes over what istiod says of a workload.
func (s *Store) putWorkload(w *workload, e *effects) {
	old := s.workloads[w.uid]
	if old != nil && old.hostNet == w.hostNet && old.place.network == w.place.network && slices.Equal(old.addrs, w.addrs) {
		w.sequence = old.sequence
	} else {
		s.sequence++
		w.sequence = s.sequence
	}
	w.attached = s.names.mean(w.waypoint)
	s.replace(old, w, e)
}

func (s *Store) removeWorkload(w *workload, e *effects) { s.replace(w, nil, e) }

// replace puts one state of a workload in the place of another; either may be nil.
func (s *Store) replace(old, now *workload, e *effects) {
	keys := append(keysOf(old), keysOf(now)...)
	before := make([]answer, len(keys))
	for i, k := range keys {
		before[i] = s.answer(k)
	}
	s.leave(old, now)
	s.enter(old, now)
	for i, k := range keys {
		if before[i] != s.answer(k) {
			e.changed = true
		}
	}
	if bound(old) != bound(now) {
		e.changed = true
		if bound(old) != (answer{}) {
			e.noteBound(false, old.service())
		}
		if bound(now) != (answer{}) {
			e.noteBound(true, now.service())
		}
	}
	e.gone = append(e.gone, goneFrom(old, now)...)
	if old.at(s.self.PodIP) || now.at(s.self.PodIP) {
		s.locate(e)
	}
}

// answer is what an address leads to, as far as Resolve says it.
type answer struct{ uid, full string }

func (s *Store) answer(a netAddr) answer {
	if w := s.owner(a); w != nil && w.attached {
		return answer{w.uid, w.full}
	}
	return answer{}
}

// bound is what Find says of a workload.
func bound(w *workload) answer {
	if w == nil || !w.attached {
		return answer{}
	}
	return answer{w.uid, w.full}
}

// leave takes the old state out of everything that the new one is not in.
func (s *Store) leave(old, now *workload) {
	if old == nil {
		return
	}
	for _, k := range keysOf(old) {
		without(s.at, k, old)
	}
	if len(old.addrs) == 0 {
		without(s.resolved, mesh.Host{Namespace: old.namespace.Value(), Hostname: old.host}, old)
	}
	delete(s.ours, old.uid)
	s.unbind(old)
	for i := range old.links {
		host := old.links[i].host
		if now == nil || now.member(host) == nil {
			v := s.entry(host)
			s.join(v, old.uid, nil)
			s.tidy(v)
		}
	}
	if now == nil {
		delete(s.workloads, old.uid)
	}
}

func (s *Store) enter(old, now *workload) {
	if now == nil {
		return
	}
	s.workloads[now.uid] = now
	for _, k := range keysOf(now) {
		with(s.at, k, now)
	}
	if len(now.addrs) == 0 {
		with(s.resolved, mesh.Host{Namespace: now.namespace.Value(), Hostname: now.host}, now)
	}
	if now.at(s.self.PodIP) {
		s.ours[now.uid] = now
	}
	if now.attached {
		s.bindWorkload(now)
	}
	for i := range now.links {
		s.join(s.entry(now.links[i].host), now.uid, now)
	}
}

// owner is the workload at an address: the one that came last, because the removal of the one before may be late (contract
// ambient, section 9, number 1).
func (s *Store) owner(a netAddr) *workload {
	if all := s.at[a]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

func (w *workload) at(a netip.Addr) bool { return w != nil && slices.Contains(w.addrs, a) }

// keysOf lists the addresses by which a workload may be looked up.
func keysOf(w *workload) []netAddr {
	if w == nil || w.hostNet {
		return nil
	}
	keys := make([]netAddr, len(w.addrs))
	for i, a := range w.addrs {
		keys[i] = netAddr{w.place.network, a}
	}
	return keys
}

// goneFrom lists the addresses where connections to the old state are not to be used again.
func goneFrom(old, now *workload) []netip.Addr {
	if old == nil {
		return nil
	}
	if now == nil || old.id != now.id || old.tunnel != now.tunnel || old.place.network != now.place.network ||
		old.healthy && !now.healthy {
		return old.addrs
	}
	var gone []netip.Addr
	for _, a := range old.addrs {
		if !now.at(a) {
			gone = append(gone, a)
		}
	}
	return gone
}

// with enters a workload in the order in which they came.
func with[K comparable](m map[K][]*workload, key K, w *workload) {
	list := m[key]
	i, _ := slices.BinarySearchFunc(list, w.sequence, func(o *workload, n uint64) int {
		if o.sequence < n {
			return -1
		}
		return 1
	})
	m[key] = slices.Insert(list, i, w)
}

func without[K comparable](m map[K][]*workload, key K, w *workload) {
	left := slices.DeleteFunc(m[key], func(o *workload) bool { return o == w })
	if len(left) == 0 {
		delete(m, key)
		return
	}
	m[key] = left
}

// Workload is who is at an address, for records.
type Workload struct {
	Name, Namespace, ServiceAccount  string
	Cluster, Node, Network           string
	CanonicalName, CanonicalRevision string
}

// WorkloadAt returns the workload at an address of our network, if it is the only one that can be there.
func (s *Store) WorkloadAt(a netip.Addr) (Workload, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := s.owner(netAddr{s.place.network, a.Unmap()})
	if w == nil {
		return Workload{}, false
	}
	return Workload{
		Name: w.name, Namespace: w.namespace.Value(), ServiceAccount: w.account.Value(),
		Cluster: w.place.cluster.Value(), Node: w.place.node.Value(), Network: w.place.network.Value(),
		CanonicalName: w.canonical.Value(), CanonicalRevision: w.revision.Value(),
	}, true
}
