package config

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh/static"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// loader collects the objects of a directory and what is wrong with them.
type loader struct {
	config     *Config
	objects    []*object
	first      map[static.Ref]*object
	gateways   []*object
	problems   Problems
	unreadable bool // something could be any object: what seems to be missing may be there
}

func (l *loader) add(d *document) Problems {
	o, problems := readObject(d)
	if len(problems) > 0 {
		l.unreadable = true
		return problems
	}
	ref := static.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	if before, twice := l.first[ref]; twice {
		return Problems{o.problem("metadata.name", "is given twice, first in %s:%d", before.file, before.root.Line)}
	}
	l.first[ref] = o
	l.objects = append(l.objects, o)
	l.config.Objects = append(l.config.Objects, Source{o.Kind, o.Namespace, o.Name, o.file, o.root.Line})
	problems = l.addKind(o)
	l.unreadable = l.unreadable || len(problems) > 0 && o.Kind != kindPolicy
	return problems
}

func (l *loader) addKind(o *object) Problems {
	switch o.Kind {
	case kindGateway:
		return l.addGateway(o)
	case kindService:
		spec := &networking.ServiceEntry{}
		if problems := o.decodeProto(spec); len(problems) > 0 {
			return problems
		}
		l.config.Services = append(l.config.Services, static.Service{
			Namespace: o.Namespace, Name: o.Name, Labels: o.Labels, Annotations: o.Annotations, Spec: spec,
		})
	case kindWorkload:
		spec := &networking.WorkloadEntry{}
		if problems := o.decodeProto(spec); len(problems) > 0 {
			return problems
		}
		l.config.Workloads = append(l.config.Workloads, static.Workload{
			Namespace: o.Namespace, Name: o.Name, Labels: o.Labels, Annotations: o.Annotations, Spec: spec,
		})
	case kindPolicy:
		return l.addPolicy(o)
	case kindAuthn:
		a := &v1alpha1.AgentAuthentication{ObjectMeta: o.metadata()}
		l.config.Authentications = append(l.config.Authentications, a)
		return o.decode(o.spec, "spec", &a.Spec)
	case kindExchange:
		x := &v1alpha1.TokenExchange{ObjectMeta: o.metadata()}
		l.config.Exchanges = append(l.config.Exchanges, x)
		return o.decode(o.spec, "spec", &x.Spec)
	case kindCatalog:
		c := &v1alpha1.ToolCatalog{ObjectMeta: o.metadata()}
		l.config.Catalogs = append(l.config.Catalogs, c)
		return o.decode(o.spec, "spec", &c.Spec)
	case kindRequests:
		return l.addRequests(o)
	}
	return nil
}

// addRequests reads Istio's own kind. One that is not attached to anything is for sidecars (contract ambient 6.1).
func (l *loader) addRequests(o *object) Problems {
	r := &RequestAuthentication{Namespace: o.Namespace, Name: o.Name, Spec: &security.RequestAuthentication{}}
	if problems := o.decodeProto(r.Spec); len(problems) > 0 {
		return problems
	}
	refs := r.Spec.TargetRefs
	if r.Spec.TargetRef != nil {
		refs = append(refs, r.Spec.TargetRef)
	}
	for i, ref := range refs {
		if ref.Namespace != "" && ref.Namespace != o.Namespace {
			return Problems{o.problem(fmt.Sprintf("spec.targetRefs[%d].namespace", i), "a policy targets what is in its own namespace")}
		}
		r.TargetRefs = append(r.TargetRefs, v1alpha1.TargetRef{Group: ref.Group, Kind: ref.Kind, Name: ref.Name})
	}
	if len(r.TargetRefs) == 0 {
		return Problems{o.problem("spec", "has no targetRefs: a waypoint carries out those that are attached to something")}
	}
	l.config.Requests = append(l.config.Requests, r)
	return nil
}

func (o *object) metadata() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, Labels: o.Labels, Annotations: o.Annotations}
}

func (l *loader) addPolicy(o *object) Problems {
	p := &v1alpha1.AgentAuthorizationPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion().String(), Kind: kindPolicy},
		ObjectMeta: o.metadata(),
	}
	problems := o.decode(o.spec, "spec", &p.Spec)
	if len(problems) > 0 {
		return problems
	}
	_, faults := authz.Compile(p, anyTrustDomain())
	for _, f := range faults {
		problems = append(problems, o.problem(f.Field, "%s", f.Text))
	}
	l.config.Policies = append(l.config.Policies, p)
	return problems
}

// anyTrustDomain stands in for the mesh's own while objects are checked: whether they are valid does not depend on it.
func anyTrustDomain() identity.TrustDomain { return identity.RequireTrustDomain("cluster.local") }
