package wds

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"unique"

	"waymark.dev/waypoint/pkg/mesh"
)

// names are what the waypoint field of services and workloads has to say to mean us.
type names struct {
	hosts map[mesh.Host]struct{}
	addrs map[netAddr]struct{}
}

// mean reports whether an address is ours.
func (n *names) mean(g gateway) bool {
	if g.none() {
		return false
	}
	a := g.Value()
	if a.host.Hostname != "" {
		_, ok := n.hosts[a.host]
		return ok
	}
	_, ok := n.addrs[a.at]
	return ok
}

// SetSelf says that we are known by other names or that our pod is another one.
func (s *Store) SetSelf(self Self) {
	s.update(func(e *effects) {
		if !s.self.equal(self) {
			s.become(self, e)
		}
	})
}

func (a Self) equal(b Self) bool {
	return a.Namespace == b.Namespace && a.Gateway == b.Gateway && a.PodIP == b.PodIP && a.Network == b.Network &&
		a.Cluster == b.Cluster && slices.Equal(a.Hosts, b.Hosts) && slices.Equal(a.Addresses, b.Addresses)
}

func (s *Store) become(self Self, e *effects) {
	self.PodIP = self.PodIP.Unmap()
	self.Hosts, self.Addresses = slices.Clone(self.Hosts), slices.Clone(self.Addresses)
	s.self = self
	e.changed = true
	clear(s.ours)
	for _, w := range s.workloads {
		if w.at(self.PodIP) {
			s.ours[w.uid] = w
		}
	}
	s.epoch++ // our own pod is an endpoint of nothing
	s.locate(e)
	s.rename(e)
}

// locate finds our own workload, and takes from it where we are.
func (s *Store) locate(e *effects) {
	none := unique.Make("")
	here := place{none, none, none, none, unique.Make(s.self.Cluster), unique.Make(s.self.Network)}
	w := s.own()
	if w != nil {
		here = w.place
	}
	if here == s.place {
		return
	}
	e.note(slog.LevelInfo, "where we are", "known", w != nil, "network", here.network.Value(), "cluster", here.cluster.Value(),
		"region", here.region.Value(), "zone", here.zone.Value(), "node", here.node.Value())
	moved := here.network != s.place.network
	s.place = here
	s.epoch++ // what is near is another matter now
	if moved {
		e.changed = true
		s.rename(e)
	}
}

// own returns our own workload among those that have our address, which on other networks may be others.
func (s *Store) own() *workload {
	var best *workload
	for _, w := range s.ours {
		if w.hostNet || s.self.Namespace != "" && w.namespace.Value() != s.self.Namespace {
			continue
		}
		if best == nil || s.closer(w, best) {
			best = w
		}
	}
	return best
}

func (s *Store) closer(a, b *workload) bool {
	score := func(w *workload) (n int) {
		if w.place.network.Value() == s.self.Network {
			n += 2
		}
		if w.place.cluster.Value() == s.self.Cluster {
			n++
		}
		return n
	}
	return cmp.Or(score(a)-score(b), cmp.Compare(a.sequence, b.sequence), strings.Compare(b.uid, a.uid)) > 0
}

// rename finds out again what names us: hostnames of our own services, and addresses on our network or of those services.
func (s *Store) rename(e *effects) {
	s.names = names{map[mesh.Host]struct{}{}, map[netAddr]struct{}{}}
	for _, h := range s.self.Hosts {
		host := mesh.Host{Namespace: s.self.Namespace, Hostname: strings.ToLower(h)}
		s.names.hosts[host] = struct{}{}
		if v := s.services[host]; v != nil {
			for _, a := range addressesOf(v.def) {
				if a.prefix.IsSingleIP() {
					s.names.addrs[netAddr{a.network, a.prefix.Addr()}] = struct{}{}
				}
			}
		}
	}
	for _, a := range s.self.Addresses {
		s.names.addrs[netAddr{s.place.network, a.Unmap()}] = struct{}{}
	}
	s.rebind(e)
}

// rebind finds out again what is attached.
func (s *Store) rebind(e *effects) {
	for _, w := range s.workloads {
		if now := s.names.mean(w.waypoint); now != w.attached {
			e.changed = true
			s.unbind(w)
			if w.attached = now; now {
				s.bindWorkload(w)
			}
			e.noteBound(now, w.service())
		}
	}
	for _, v := range s.services {
		if s.bind(v, e) {
			e.changed = true
		}
	}
}

// isOwn reports whether an address is that of our own pod.
func (s *Store) isOwn(a netip.Addr) bool { return a.IsValid() && a == s.self.PodIP }
