package authz

import (
	"fmt"
	"strconv"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// Policy is a compiled AgentAuthorizationPolicy. It is immutable, and may be attached to any number of services.
type Policy struct {
	name   string // namespace/name
	action v1alpha1.Action
	dryRun bool
	rules  []rule
	uris   bool // it compares beginnings or ends of resource URIs
}

// Name returns namespace/name.
func (p *Policy) Name() string { return p.name }

// Action returns what the policy does with what it matches.
func (p *Policy) Action() v1alpha1.Action { return p.action }

// DryRun reports whether the policy is only evaluated and recorded.
func (p *Policy) DryRun() bool { return p.dryRun }

// against reports whether the policy's rules speak against the caller: whatever is not an ALLOW.
func (p *Policy) against() bool { return p.action != v1alpha1.Allow }

// rule matches if any of from, any of to and all of when do.
type rule struct {
	name        string // rules[0]
	from        []source
	to          []operation
	when        []condition
	namesMethod bool // it asks for the method, in to or in when
}

// compiler carries what every part of one policy needs.
type compiler struct {
	problems
	namespace    string
	trustDomains []identity.TrustDomain
}

// Compile compiles one policy or returns everything that is wrong with it. The trust domains are the mesh's own and its
// aliases: a principal written in one of them, or in cluster.local, holds in all of them.
func Compile(p *v1alpha1.AgentAuthorizationPolicy, trustDomains ...identity.TrustDomain) (*Policy, []Problem) {
	k := &compiler{namespace: p.Namespace, trustDomains: trustDomains}
	out := &Policy{name: p.Namespace + "/" + p.Name, action: k.action(p.Spec.Action), dryRun: k.dryRun(p.Annotations)}
	if external := p.Spec.ExternalAuthorization != nil; external != (out.action == v1alpha1.Custom) {
		k.add("spec.externalAuthorization", "belongs to the action CUSTOM, which needs it")
	}
	k.targetRefs(p.Spec.TargetRefs)
	k.count("spec.rules", false, len(p.Spec.Rules), maxRules) // no rules is a rule too
	for i := range p.Spec.Rules {
		out.rules = append(out.rules, k.rule(i, &p.Spec.Rules[i]))
		out.uris = out.uris || out.rules[i].comparesURIs()
	}
	if len(k.problems) > 0 {
		return nil, k.problems
	}
	return out, nil
}

func (k *compiler) action(a v1alpha1.Action) v1alpha1.Action {
	switch a {
	case "":
		return v1alpha1.Allow
	case v1alpha1.Allow, v1alpha1.Deny, v1alpha1.Audit, v1alpha1.RequireApproval, v1alpha1.Custom:
		return a
	}
	k.add("spec.action", "must be ALLOW, DENY, AUDIT, REQUIRE_APPROVAL or CUSTOM, got %q", a)
	return v1alpha1.Deny
}

// dryRun reads the annotation. A value that is not a bool is a problem: "yes" must not quietly enforce.
func (k *compiler) dryRun(annotations map[string]string) bool {
	v, ok := annotations[v1alpha1.DryRunAnnotation]
	if !ok {
		return false
	}
	dry, err := strconv.ParseBool(v)
	if err != nil {
		k.add(fmt.Sprintf("metadata.annotations[%s]", v1alpha1.DryRunAnnotation), `must be "true" or "false", got %q`, v)
	}
	return dry
}

func (k *compiler) targetRefs(refs []v1alpha1.TargetRef) {
	groups := map[string]string{"Service": "", "ServiceEntry": "networking.istio.io", "Gateway": "gateway.networking.k8s.io"}
	if refs != nil && len(refs) == 0 {
		k.add("spec.targetRefs", "must not be empty; leave the field out to attach to the whole namespace")
	}
	k.count("spec.targetRefs", false, len(refs), maxTargets)
	for i, r := range refs {
		field := fmt.Sprintf("spec.targetRefs[%d]", i)
		group, ok := groups[r.Kind]
		switch {
		case !ok:
			k.add(field+".kind", "must be Service, ServiceEntry or Gateway, got %q", r.Kind)
		case r.Group != group:
			k.add(field+".group", "must be %q for a %s, got %q", group, r.Kind, r.Group)
		}
		if r.Name == "" {
			k.add(field+".name", "must not be empty")
		}
	}
}

func (k *compiler) rule(index int, r *v1alpha1.Rule) rule {
	out := rule{name: fmt.Sprintf("rules[%d]", index)}
	field := "spec." + out.name
	k.count(field+".from", r.From != nil, len(r.From), maxEntries)
	k.count(field+".to", r.To != nil, len(r.To), maxEntries)
	k.count(field+".when", r.When != nil, len(r.When), maxConditions)
	for i := range r.From {
		out.from = append(out.from, k.compileSource(fmt.Sprintf("%s.from[%d].source", field, i), &r.From[i].Source))
	}
	for i := range r.To {
		o := k.compileOperation(fmt.Sprintf("%s.to[%d].operation", field, i), &r.To[i].Operation)
		out.namesMethod = out.namesMethod || o.methods != nil
		out.to = append(out.to, o)
	}
	for i := range r.When {
		c, namesMethod := k.compileCondition(fmt.Sprintf("%s.when[%d]", field, i), &r.When[i])
		out.namesMethod = out.namesMethod || namesMethod
		out.when = append(out.when, c)
	}
	return out
}

// match returns what the rule says of the call. An error is in j.err, and counts against the caller.
func (r *rule) match(j *judgment) truth {
	j.err, j.twin = nil, ""
	if !r.matchFrom(j) {
		return no
	}
	t := r.matchTo(j)
	for _, c := range r.when {
		if t == no {
			return no
		}
		got, err := c.match(j)
		if err != nil {
			j.err = err
		}
		t = min(t, got)
	}
	return t
}

func (r *rule) matchFrom(j *judgment) bool {
	for i := range r.from {
		if r.from[i].match(j) {
			return true
		}
	}
	return r.from == nil
}

func (r *rule) matchTo(j *judgment) truth {
	if r.to == nil {
		return yes
	}
	t := no
	for i := range r.to {
		if t = max(t, r.to[i].match(j)); t == yes {
			break
		}
	}
	return t
}

// comparesURIs reports whether the rule compares beginnings or ends of resource URIs.
func (r *rule) comparesURIs() bool {
	for i := range r.to {
		if o := &r.to[i]; o.kind == call.Resource && (o.targets.partial() || o.notTargets.partial()) {
			return true
		}
	}
	for _, c := range r.when {
		if k, ok := c.(*keyed); ok && k.kind == call.Resource && (k.values.partial() || k.notValues.partial()) {
			return true
		}
	}
	return false
}
