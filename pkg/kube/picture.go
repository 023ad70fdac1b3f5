package kube

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
)

// picture puts together what is handed over; nil before every kind was read once, and while it waits for what it refers to, which
// is in refs. until is when to look again without a change: when a restriction ends by itself, or the waiting; zero if never.
func (s *Source) picture(now time.Time) (c *config.Cluster, refs map[config.DataRef]bool, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.followers {
		if !f.listed {
			return nil, nil, time.Time{}
		}
	}
	p := pictured{now: now, declarations: map[mesh.Host]*declaration{}, Cluster: config.Cluster{
		Gateway: config.ClusterGateway{Namespace: s.opt.Namespace, Name: s.opt.Gateway},
	}}
	for _, f := range s.followers {
		if f.kind.aside {
			continue
		}
		for _, kept := range f.objects {
			p.add(kept)
		}
	}
	p.finish()
	refs = p.references()
	if p.Data, until = s.known(refs, now); !until.IsZero() {
		return nil, refs, until
	}
	s.version++
	s.tellShadowed(p.shadows())
	return &p.Cluster, refs, p.until
}

// pictured is a picture that is being made.
type pictured struct {
	config.Cluster
	now, until   time.Time
	declarations map[mesh.Host]*declaration
	shadowed     []shadow
}

func (p *pictured) add(kept any) {
	switch k := kept.(type) {
	case *config.Policy:
		p.Policies = append(p.Policies, *k)
	case *config.Authentication:
		p.Authentications = append(p.Authentications, *k)
	case *config.Requests:
		p.Requests = append(p.Requests, *k)
	case *config.Exchange:
		p.Exchanges = append(p.Exchanges, *k)
	case *config.Catalog:
		p.Catalogs = append(p.Catalogs, *k)
	case *config.ReferenceGrant:
		p.Grants = append(p.Grants, k)
	case *config.ClusterGateway:
		p.Gateway = *k
	case *declaration:
		for _, h := range k.hosts {
			p.declare(h, k)
		}
	case *restriction:
		if k.over(p.now) {
			return
		}
		p.Unenforced = append(p.Unenforced, k.Unenforced)
		if !k.until.IsZero() && (p.until.IsZero() || k.until.Before(p.until)) {
			p.until = k.until
		}
	}
}

// references are the ConfigMaps and Secrets that objects need.
func (p *pictured) references() map[config.DataRef]bool {
	all := map[config.DataRef]bool{}
	for i := range p.Authentications {
		for _, ref := range p.Authentications[i].Refs {
			all[ref] = true
		}
	}
	for i := range p.Exchanges {
		for _, ref := range p.Exchanges[i].Refs {
			all[ref] = true
		}
	}
	return all
}

// declare keeps one of the objects that declare a host.
func (p *pictured) declare(h mesh.Host, d *declaration) {
	other := p.declarations[h]
	if other != nil && other.before(d) {
		d, other = other, d
	}
	p.declarations[h] = d
	if other != nil {
		p.shadowed = append(p.shadowed, shadow{h, other.declared.Object})
	}
}

// shadow is an object that declares a host which belongs to another one.
type shadow struct {
	host   mesh.Host
	object mesh.Ref
}

// finish puts everything in an order that does not depend on when it came.
func (p *pictured) finish() {
	slices.SortFunc(p.Policies, func(a, b config.Policy) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	slices.SortFunc(p.Authentications, func(a, b config.Authentication) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	slices.SortFunc(p.Requests, func(a, b config.Requests) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	slices.SortFunc(p.Exchanges, func(a, b config.Exchange) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	slices.SortFunc(p.Catalogs, func(a, b config.Catalog) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	slices.SortFunc(p.Unenforced, func(a, b config.Unenforced) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	p.Declared = make(map[mesh.Host]*mesh.Declared, len(p.declarations))
	for h, d := range p.declarations {
		p.Declared[h] = d.declared
	}
}

// shadows says of each object that has no effect for a host which one has.
func (p *pictured) shadows() []string {
	var texts []string
	for _, s := range p.shadowed {
		texts = append(texts, fmt.Sprintf("%s: the host %s is that of %s", s.object, s.host.Hostname, p.Declared[s.host].Object))
	}
	slices.Sort(texts)
	return texts
}

// tellShadowed logs each object whose host belongs to another one, once for as long as it lasts. istiod knows one service
// of a name in a namespace; so policies and annotations of the others have no effect.
func (s *Source) tellShadowed(now []string) {
	for _, text := range now {
		if !slices.Contains(s.shadowed, text) {
			s.log.Warn("an object has no effect", "cause", text)
		}
	}
	s.shadowed = now
}
