package wds

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
)

// Kinds of objects behind services and workloads.
const (
	kindService      = "Service"
	kindServiceEntry = "ServiceEntry"
	kindPod          = "Pod"
)

// bind finds out whether a service is attached, makes what Resolve answers of it, and says whether either is another than
// before. A waypoint that is named with a weight of 0 is named: a share of 0 is no promise that nothing comes (contract
// ambient, section 1.4).
func (s *Store) bind(v *service, e *effects) (changed bool) {
	was := v.attached
	v.attached = v.def != nil && slices.ContainsFunc(v.def.waypoints, s.names.mean)
	if was != v.attached {
		s.stats.attached += map[bool]int{true: 1, false: -1}[v.attached]
		e.noteBound(v.attached, v.service())
	}
	v.what, v.ports = mesh.Attached{}, nil
	if v.attached {
		v.what, v.ports = v.attachment(), v.destinations(s)
	}
	return was != v.attached
}

// attachment says what is attached. The object is a guess until somebody has declared it.
func (v *service) attachment() mesh.Attached {
	at := mesh.Attached{Service: v.service(), Object: mesh.Ref{Kind: kindServiceEntry, Namespace: v.host.Namespace, Name: v.def.name}}
	if strings.HasPrefix(v.host.Hostname, v.def.name+"."+v.host.Namespace+".svc.") {
		at.Object.Kind = kindService
	}
	if d := v.declared; d != nil {
		at.Object, at.URLHosts, at.Faults = d.Object, d.Options.URLHosts(), d.Faults
	}
	return at
}

func (v *service) service() call.Service {
	name, _, _ := strings.Cut(v.host.Hostname, ".")
	return call.Service{Namespace: v.host.Namespace, Name: name, Hostname: v.host.Hostname}
}

// destinations makes those of all ports. A port that is listed twice is what it is first.
func (v *service) destinations(s *Store) map[uint16]*mesh.Destination {
	options, _ := mesh.ReadOptions(nil)
	if v.declared != nil {
		options = v.declared.Options
	}
	ports := make(map[uint16]*mesh.Destination, len(v.def.ports))
	for _, p := range v.def.ports {
		if ports[p.number] != nil {
			continue
		}
		d := &mesh.Destination{Service: v.service(), Picker: &servicePort{s, v.host, p.number}}
		d.Service.Port = p.number
		protocol := p.protocol
		if v.declared != nil && v.declared.Ports[p.number] != mesh.Unknown {
			protocol = v.declared.Ports[p.number]
		}
		options.Apply(d, protocol)
		ports[p.number] = d
	}
	return ports
}

// Declare says what the object behind a service says of it; nil takes that back. It may come before istiod knows the service.
func (s *Store) Declare(namespace, hostname string, d *mesh.Declared) {
	host := share(mesh.Host{Namespace: namespace, Hostname: strings.ToLower(hostname)})
	s.update(func(e *effects) {
		v := s.services[host]
		if d == nil && v == nil || v != nil && v.declared == d {
			return
		}
		v = s.entry(host)
		v.declared, v.indexes = d, nil
		s.bind(v, e)
		e.changed = v.attached
		s.tidy(v)
	})
}

func nameOf(w *workload) mesh.Host {
	return mesh.Host{Namespace: w.namespace.Value(), Hostname: w.name}
}

func (s *Store) bindWorkload(w *workload) {
	key := nameOf(w)
	if s.bound[key] == nil {
		s.bound[key] = map[string]*workload{}
	}
	s.bound[key][w.uid] = w
}

func (s *Store) unbind(w *workload) {
	if all := s.bound[nameOf(w)]; all != nil {
		delete(all, w.uid)
		if len(all) == 0 {
			delete(s.bound, nameOf(w))
		}
	}
}

func (w *workload) service() call.Service {
	return call.Service{Namespace: w.namespace.Value(), Name: w.name}
}

// attachment names the object by the uid, cluster/group/Kind/namespace/name. That is a habit of istiod's and no promise: what
// does not look so is taken for a Pod (contract ambient, section 2.4).
func (w *workload) attachment() mesh.Attached {
	at := mesh.Attached{Service: w.service(), Object: mesh.Ref{Kind: kindPod, Namespace: w.namespace.Value(), Name: w.name}}
	if parts := strings.Split(w.uid, "/"); len(parts) >= 5 && parts[3] == at.Object.Namespace {
		at.Object.Kind, at.Object.Name = parts[2], parts[4]
	}
	return at
}

// Find returns what is attached under a name, whatever the port.
func (s *Store) Find(c call.Service) (mesh.Attached, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c.Hostname != "" {
		v := s.services[mesh.Host{Namespace: c.Namespace, Hostname: c.Hostname}]
		if v == nil || !v.attached {
			return mesh.Attached{}, false
		}
		return v.what, true
	}
	all := s.bound[mesh.Host{Namespace: c.Namespace, Hostname: c.Name}]
	if len(all) == 0 {
		return mesh.Attached{}, false
	}
	return all[slices.Min(slices.Collect(maps.Keys(all)))].attachment(), true
}

// Attached lists what is attached, by namespace and name.
func (s *Store) Attached() []mesh.Attached {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []mesh.Attached
	for _, v := range s.services {
		if v.attached {
			list = append(list, v.what)
		}
	}
	for _, all := range s.bound {
		for _, w := range all {
			list = append(list, w.attachment())
		}
	}
	slices.SortFunc(list, func(a, b mesh.Attached) int {
		return cmp.Or(cmp.Compare(a.Service.Namespace, b.Service.Namespace), cmp.Compare(a.Service.Name, b.Service.Name),
			cmp.Compare(a.Service.Hostname, b.Service.Hostname), cmp.Compare(a.Object.String(), b.Object.String()))
	})
	return list
}
