package config

import (
	"fmt"
	"slices"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
	"waymark.dev/waypoint/pkg/policy/urls"
)

// check looks at the objects together, after each was read by itself.
func (l *loader) check() {
	if !l.checkGateways() {
		return
	}
	view := l.checkMesh()
	l.checkURLHosts()
	for _, p := range l.config.Policies {
		l.checkTargets(static.Ref{Kind: kindPolicy, Namespace: p.Namespace, Name: p.Name}, p.Spec.TargetRefs, view)
	}
	for _, p := range l.config.Authentications {
		l.checkTargets(static.Ref{Kind: kindAuthn, Namespace: p.Namespace, Name: p.Name}, p.Spec.TargetRefs, view)
	}
	for _, p := range l.config.Catalogs {
		l.checkTargets(static.Ref{Kind: kindCatalog, Namespace: p.Namespace, Name: p.Name}, p.Spec.TargetRefs, view)
	}
	for _, p := range l.config.Requests {
		l.checkTargets(static.Ref{Kind: kindRequests, Namespace: p.Namespace, Name: p.Name}, p.TargetRefs, view)
	}
	for _, p := range l.config.Exchanges {
		if p.Spec.Exchange != nil { // grants are the token service's
			l.checkTargets(static.Ref{Kind: kindExchange, Namespace: p.Namespace, Name: p.Name}, p.Spec.TargetRefs, view)
		}
	}
}

// checkGateways reports whether there is the one Gateway that everything else refers to.
func (l *loader) checkGateways() bool {
	if len(l.gateways) == 0 {
		gateway := func(o *object) bool { return o.Kind == kindGateway }
		if !l.unreadable && !slices.ContainsFunc(l.objects, gateway) {
			l.problems = append(l.problems, Problem{Text: "no file has a Gateway of class " + GatewayClass +
				": it says which waypoint this is"})
		}
		return false
	}
	for _, o := range l.gateways[1:] {
		l.problems = append(l.problems, o.problem("", "a directory is for one waypoint, and %s stands in %s:%d already",
			l.gateways[0], l.gateways[0].file, l.gateways[0].root.Line))
	}
	return len(l.gateways) == 1
}

// checkMesh builds the view that the server will build. It returns nil if that has problems.
func (l *loader) checkMesh() *static.View {
	view, faults := static.New(static.Objects{
		Gateway: l.config.Gateway, TrustDomain: anyTrustDomain(), Services: l.config.Services, Workloads: l.config.Workloads,
	})
	for _, f := range faults {
		l.problems = append(l.problems, l.first[f.Object].problem(f.Field, "%s", f.Text))
	}
	return view
}

// checkURLHosts reads the hosts that objects list as the stage will that judges by them.
func (l *loader) checkURLHosts() {
	for _, o := range l.objects {
		if o.Kind != kindService && o.Kind != kindWorkload {
			continue
		}
		if _, err := urls.New(urls.Options{Hosts: mesh.URLHosts(o.Annotations)}); err != nil {
			l.problems = append(l.problems, o.problem(join("metadata.annotations", mesh.AnnURLHosts), "%v", err))
		}
	}
}

// checkTargets reports a policy that cannot take effect: what it names is not there, or not behind this waypoint.
func (l *loader) checkTargets(by static.Ref, refs []v1alpha1.TargetRef, view *static.View) {
	o, namespace := l.first[by], by.Namespace
	for i, ref := range refs {
		field := fmt.Sprintf("spec.targetRefs[%d]", i)
		switch {
		case !slices.Contains([]string{refService, kindService, kindGateway}, ref.Kind):
			if by.Kind != kindPolicy { // authz has said so already
				l.problems = append(l.problems, o.problem(field+".kind", "must be Service, ServiceEntry or Gateway, got %q", cut(ref.Kind, maxWord)))
			}
		case !l.exists(namespace, ref):
			if !l.unreadable {
				l.problems = append(l.problems, o.problem(field, "there is no %s", described(namespace, ref)))
			}
		case ref.Kind != kindGateway && view != nil && !l.reaches(namespace, ref, view):
			l.problems = append(l.problems, o.problem(field, "%s is not behind this waypoint: it has no label "+
				"istio.io/use-waypoint: %s", described(namespace, ref), l.config.Gateway.Name))
		}
	}
	if len(refs) == 0 && view != nil && !l.covers(namespace, view) {
		l.problems = append(l.problems, o.problem("", "applies to nothing: neither this waypoint nor anything behind it is in "+
			"namespace %s, and the policy has no targetRefs", namespace))
	}
}

func (l *loader) exists(namespace string, ref v1alpha1.TargetRef) bool {
	switch ref.Kind {
	case kindGateway:
		return l.config.scope().names(namespace, ref)
	case refService:
		return slices.ContainsFunc(l.config.Services, func(s static.Service) bool {
			return s.Namespace == namespace && slices.ContainsFunc(s.Spec.Hosts, func(h string) bool {
				return isService(h, namespace, ref.Name)
			})
		})
	}
	_, ok := l.first[static.Ref{Kind: ref.Kind, Namespace: namespace, Name: ref.Name}]
	return ok
}

func (l *loader) reaches(namespace string, ref v1alpha1.TargetRef, view *static.View) bool {
	return slices.ContainsFunc(view.Attached(), func(a static.Attached) bool {
		return l.config.scope().targets(namespace, ref, a.Attached)
	})
}

// covers reports whether a policy without targets has an effect. In the namespace of the waypoint or in the root namespace
// it always will have, on whatever is attached next.
func (l *loader) covers(namespace string, view *static.View) bool {
	scope := l.config.scope()
	return scope.Applies(namespace, nil, mesh.Attached{}) || slices.ContainsFunc(view.Attached(), func(a static.Attached) bool {
		return scope.Applies(namespace, nil, a.Attached)
	})
}

// described names a target in words. A Service is there as the ServiceEntry that has its host.
func described(namespace string, ref v1alpha1.TargetRef) string {
	switch ref.Kind {
	case refService:
		return fmt.Sprintf("ServiceEntry with the host of Service %s/%s (%s.%s.svc.<cluster domain>)",
			namespace, ref.Name, ref.Name, namespace)
	case kindGateway:
		return fmt.Sprintf("Gateway %s/%s in this directory", namespace, ref.Name)
	}
	return fmt.Sprintf("%s %s/%s", ref.Kind, namespace, ref.Name)
}
