package ruleset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"slices"
	"sync"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
	"waymark.dev/waypoint/pkg/policy/urls"
)

// Landscape is a view of the mesh that changes by itself; *wds.Store is one.
type Landscape interface {
	mesh.View
	// Find returns what is attached under the name of a service or workload, whatever its port.
	Find(call.Service) (mesh.Attached, bool)
}

// Cluster is one immutable snapshot of the policies of a cluster, over a view that lives. Pipelines are made when they are
// first asked for, so that one changed policy costs no more than the calls it concerns.
type Cluster struct {
	generation string
	scope      config.Scope
	tells      bool // servers by x-forwarded-client-cert who calls
	view       Landscape
	deps       Deps
	policies   []*held
	protects   protections
	catalogs   catalogs
	lines      []string // what names them and their content in the generation
	unenforced []config.Unenforced
	problems   []string
	detached   *policy.Pipeline

	mu        sync.RWMutex
	pipelines map[key]made
}

// held is one policy as far as it can be used.
type held struct {
	source   config.Policy
	compiled *authz.Policy // nil if nothing of it can be used
	problem  string        // what is wrong with it; "" if nothing is
	line     string        // what names it and its content in the generation
}

// made is a pipeline, and what it was made for.
type made struct {
	attached mesh.Attached
	pipeline *policy.Pipeline
}

// Assemble makes the rules of a cluster. An object with a mistake in it is no error: Problems lists it, and what it was to
// restrict is refused. before is the snapshot in force, or nil: what did not change is not compiled again.
func Assemble(c *config.Cluster, view Landscape, d Deps, before *Cluster) (*Cluster, error) {
	if err := d.complete(); err != nil {
		return nil, err
	}
	r := &Cluster{
		scope: config.Scope{Namespace: c.Gateway.Namespace, Gateway: c.Gateway.Name},
		tells: c.Gateway.ClientIdentity, view: view, deps: d, unenforced: c.Unenforced, pipelines: map[key]made{},
	}
	known := before.compiled()
	for _, p := range c.Policies {
		h := known[p.Object]
		if h == nil || h.source != p {
			h = hold(p, d)
		}
		r.policies = append(r.policies, h)
		if h.problem != "" {
			r.problems = append(r.problems, fmt.Sprintf("AgentAuthorizationPolicy %s/%s: %s", p.Object.Namespace, p.Object.Name, h.problem))
		}
	}
	r.protect(c)
	r.generation = r.generationOf(c)
	r.detached = r.pipeline(policy.Entry{Stage: detached{}, Standing: true})
	for _, u := range c.Unenforced {
		r.problems = append(r.problems, fmt.Sprintf("%s %s/%s: is not carried out by this version: what it targets is refused", u.Kind, u.Namespace, u.Name))
	}
	return r, nil
}

func (r *Cluster) compiled() map[*v1alpha1.AgentAuthorizationPolicy]*held {
	if r == nil {
		return nil
	}
	known := make(map[*v1alpha1.AgentAuthorizationPolicy]*held, len(r.policies))
	for _, h := range r.policies {
		known[h.source.Object] = h
	}
	return known
}

// hold compiles a policy. Of an ALLOW with a mistake in it remains an ALLOW that matches nothing: what it was to permit is
// refused unless another one permits it. Anything else with a mistake refuses everything it targets, see pipelines.
func hold(p config.Policy, d Deps) *held {
	h := &held{source: p, problem: p.Problem, line: lineOf(p)}
	if h.problem == "" {
		compiled, problems := authz.Compile(p.Object, d.TrustDomains...)
		if len(problems) == 0 {
			h.compiled = compiled
			return h
		}
		h.problem = problems[0].String()
	}
	if (p.Object.Spec.Action == v1alpha1.Allow || p.Object.Spec.Action == "") && !p.Blind {
		empty := &v1alpha1.AgentAuthorizationPolicy{ObjectMeta: p.Object.ObjectMeta}
		empty.Spec.Action = v1alpha1.Allow
		h.compiled, _ = authz.Compile(empty, d.TrustDomains...) // nil if it is the metadata that is wrong
	}
	return h
}

// generationOf names the policies that are in force: the first 12 hexadecimal digits of a SHA-256. Replicas that have seen
// the same objects say the same.
func (r *Cluster) generationOf(c *config.Cluster) string {
	lines := slices.Clone(r.lines)
	for _, h := range r.policies {
		lines = append(lines, h.line)
	}
	for _, u := range c.Unenforced {
		lines = append(lines, fmt.Sprintf("%s %s/%s %v", u.Kind, u.Namespace, u.Name, u.TargetRefs))
	}
	slices.Sort(lines)
	h := sha256.New()
	fmt.Fprintln(h, c.Gateway.Namespace, c.Gateway.Name, c.Gateway.ClientIdentity)
	for _, l := range lines {
		fmt.Fprintln(h, l)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// lineOf has the content of a policy as well as its number: while a CRD changes, an API server may hand on one number with two
// contents, and who was let in by the wider one has to be judged again.
func lineOf(p config.Policy) string {
	o := p.Object
	spec, err := json.Marshal(&o.Spec, json.Deterministic(true))
	if err != nil {
		spec = jsontext.Value(err.Error())
	}
	return fmt.Sprintf("%s/%s %s %d %q %x %q %v", o.Namespace, o.Name, o.UID, o.Generation, o.Annotations[v1alpha1.DryRunAnnotation],
		sha256.Sum256(spec), p.Problem, p.Blind)
}

// Generation names the policies in force.
func (r *Cluster) Generation() string { return r.generation }

// View is where authorities lead.
func (r *Cluster) View() mesh.View { return r.view }

// Problems lists the objects that cannot be used, or cannot be carried out, one sentence each.
func (r *Cluster) Problems() []string { return r.problems }

// Pipeline returns the stages that judge calls to a service; its port plays no part. What is not behind this waypoint gets
// a pipeline that denies everything.
func (r *Cluster) Pipeline(s call.Service) *policy.Pipeline {
	a, ok := r.view.Find(s)
	if !ok {
		return r.detached
	}
	k := keyOf(s)
	if s.Hostname == "" { // workloads come and go, and no policy names one: those of a namespace are judged alike
		k.name, a.Object = "", mesh.Ref{}
	}
	r.mu.RLock()
	m, ok := r.pipelines[k]
	r.mu.RUnlock()
	if ok && same(m.attached, a) {
		return m.pipeline
	}
	m = made{a, r.judging(a)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pipelines[k] = m
	return m.pipeline
}

func same(a, b mesh.Attached) bool {
	return a.Object == b.Object && slices.Equal(a.URLHosts, b.URLHosts) && slices.Equal(a.Faults, b.Faults)
}

// judging is the pipeline of what is attached, closed as long as something that restricts it cannot be carried out.
func (r *Cluster) judging(a mesh.Attached) *policy.Pipeline {
	var attached []*authz.Policy
	for _, h := range r.policies {
		switch {
		case !h.concerns(r.scope, a):
		case h.compiled != nil:
			attached = append(attached, h.compiled)
		case !h.observes():
			return r.closed(nameOf(h.source.Object), "the policy cannot be used: "+h.problem)
		}
	}
	for _, u := range r.unenforced {
		if r.scope.Applies(u.Namespace, u.TargetRefs, a) {
			return r.closed(u.Namespace+"/"+u.Name, u.Kind+" is not carried out by this version")
		}
	}
	if len(a.Faults) > 0 {
		return r.closed("", fmt.Sprintf("%s: %s", a.Object, a.Faults[0]))
	}
	shown, err := urls.New(urls.Options{Hosts: a.URLHosts})
	if err != nil {
		return r.closed("", fmt.Sprintf("%s: metadata.annotations[%s]: %v", a.Object, mesh.AnnURLHosts, err))
	}
	around, refused := r.protects.stages(r.scope, a, r.catalogs, &r.deps)
	if refused != nil {
		return r.closed(refused.policy, refused.reason)
	}
	around.before = r.deps.told(r.tells, around.before)
	return r.pipeline(around.stages(authz.New(attached, around.askable...), shown)...)
}

func (h *held) concerns(s config.Scope, a mesh.Attached) bool {
	refs := h.source.Object.Spec.TargetRefs
	if h.source.Blind {
		refs = nil
	}
	return s.Applies(h.source.Object.Namespace, refs, a)
}

// observes reports whether a policy only records, so that nothing is lost to the mesh if it cannot.
func (h *held) observes() bool {
	o := h.source.Object
	return !h.source.Blind && (o.Spec.Action == v1alpha1.Audit || o.Annotations[v1alpha1.DryRunAnnotation] == "true")
}

func (r *Cluster) closed(by, reason string) *policy.Pipeline {
	return r.pipeline(policy.Entry{Stage: closed{by, reason}, Standing: true})
}

func (r *Cluster) pipeline(judges ...policy.Entry) *policy.Pipeline {
	return assembled(r.generation, r.deps, judges)
}

func nameOf(p *v1alpha1.AgentAuthorizationPolicy) string { return p.Namespace + "/" + p.Name }
