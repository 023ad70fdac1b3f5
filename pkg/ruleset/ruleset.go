package ruleset

import (
	"errors"
	"fmt"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
	"waymark.dev/waypoint/pkg/policy/authz"
	"waymark.dev/waypoint/pkg/policy/urls"
)

// Deps is what a Ruleset needs besides the configuration. It outlives every Ruleset.
type Deps struct {
	Audit        policy.Stage           // writes the record of every decision
	Now          func() time.Time       // nil means time.Now
	TrustDomains []identity.TrustDomain // the mesh's own first, then its aliases; at least one
	Choice       mesh.Choice            // nil chooses endpoints at random
	Authorities  *Authorities           // nil asks nobody
	Self         func() identity.ID     // of this waypoint; nil: servers are not told who calls

	// Assumed is whom every bearer token speaks of, for explanations: nothing is verified then, and nobody is asked.
	Assumed *policy.Caller
}

// Ruleset is one immutable snapshot of configuration.
type Ruleset struct {
	generation string
	view       *static.View
	pipelines  map[key]*policy.Pipeline
	detached   *policy.Pipeline
	policies   []Attachment
}

// Attachment says what one policy judges, for people who look at what is in force.
type Attachment struct {
	Policy   string          `json:"policy"` // namespace/name
	Action   v1alpha1.Action `json:"action"`
	DryRun   bool            `json:"dryRun,omitzero"`
	Services []string        `json:"services"` // namespace/name, with the hostname in brackets if there is one
}

// key names what has a pipeline: policies judge every port alike.
type key struct{ namespace, name, hostname string }

func keyOf(s call.Service) key { return key{s.Namespace, s.Name, s.Hostname} }

// complete checks what every snapshot needs, and fills in the rest.
func (d *Deps) complete() error {
	if len(d.TrustDomains) == 0 {
		return errors.New("ruleset: no trust domain: identities could not be told apart")
	}
	if d.Audit == nil {
		return errors.New("ruleset: no audit stage: decisions would leave no record")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Authorities == nil {
		d.Authorities = &Authorities{}
	}
	return nil
}

// Build assembles a Ruleset, or says why that is not possible. A configuration that config.Load returned has no problems
// of its own.
func Build(c *config.Config, d Deps) (*Ruleset, error) {
	if err := d.complete(); err != nil {
		return nil, err
	}
	b := &builder{config: c, deps: d}
	view, problems := static.New(static.Objects{
		Gateway: c.Gateway, TrustDomain: d.TrustDomains[0], Services: c.Services, Workloads: c.Workloads, Choice: d.Choice,
	})
	if len(problems) > 0 {
		return nil, fmt.Errorf("ruleset: %s", problems[0])
	}
	if err := b.compile(); err != nil {
		return nil, err
	}
	r, err := b.assemble(view)
	if err == nil {
		b.deps.Authorities.retain()
	}
	return r, err
}

// Check says what is wrong with a configuration beyond what config.Load sees. Nobody is asked anything.
func Check(c *config.Config) config.Problems {
	d := Deps{TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")}, Authorities: &Authorities{Loopback: true}}
	rules := make(map[*v1alpha1.AgentAuthorizationPolicy]*authz.Policy)
	for _, p := range c.Policies {
		rules[p], _ = authz.Compile(p, d.TrustDomains...) // config.Load has said what is wrong with those
	}
	return problemsOf(c, protect(c, rules, &d))
}

// Generation names the configuration this Ruleset was built from.
func (r *Ruleset) Generation() string { return r.generation }

// View is where authorities lead.
func (r *Ruleset) View() mesh.View { return r.view }

// Attached lists the services and workloads behind this waypoint.
func (r *Ruleset) Attached() []static.Attached { return r.view.Attached() }

// Policies lists every policy with what it judges.
func (r *Ruleset) Policies() []Attachment { return r.policies }

// Pipeline returns the stages that judge calls to a service; its port plays no part. What is not behind this waypoint gets
// a pipeline that denies everything.
func (r *Ruleset) Pipeline(s call.Service) *policy.Pipeline {
	if p, ok := r.pipelines[keyOf(s)]; ok {
		return p
	}
	return r.detached
}

type builder struct {
	config   *config.Config
	deps     Deps
	compiled map[*v1alpha1.AgentAuthorizationPolicy]*authz.Policy
	protects protections
	catalogs catalogs
}

func (b *builder) compile() error {
	b.compiled = map[*v1alpha1.AgentAuthorizationPolicy]*authz.Policy{}
	for _, p := range b.config.Policies {
		compiled, problems := authz.Compile(p, b.deps.TrustDomains...)
		if len(problems) > 0 {
			return fmt.Errorf("ruleset: AgentAuthorizationPolicy %s/%s: %s", p.Namespace, p.Name, problems[0])
		}
		b.compiled[p] = compiled
	}
	b.deps.Authorities.begin()
	b.protects = protect(b.config, b.compiled, &b.deps)
	for _, o := range b.config.Catalogs {
		b.catalogs = append(b.catalogs, newCatalog(o))
	}
	if problems := problemsOf(b.config, b.protects); len(problems) > 0 {
		return problems
	}
	return nil
}

// protect compiles what comes before and after the rules.
func protect(c *config.Config, rules map[*v1alpha1.AgentAuthorizationPolicy]*authz.Policy, d *Deps) protections {
	refs := ReferencesIn(c)
	var all protections
	for _, o := range c.Authentications {
		all = append(all, compileAuthentication(o, d, refs))
	}
	for _, o := range c.Requests {
		all = append(all, compileRequests(o, d, refs))
	}
	for _, o := range c.Exchanges {
		all = append(all, compileExchange(o, d, refs))
	}
	for _, o := range c.Policies {
		if p := compileCustom(o, rules[o], d, refs); p != nil {
			all = append(all, p)
		}
	}
	return all
}

// ReferencesIn looks in a directory.
func ReferencesIn(c *config.Config) *References {
	return &References{
		Host:      func(_, namespace string, ref v1alpha1.BackendRef) (string, error) { return c.HostOf(namespace, ref) },
		ConfigMap: func(namespace, name, key string) ([]byte, error) { return c.Entry("ConfigMap", namespace, name, key) },
		Secret:    func(namespace, name, key string) ([]byte, error) { return c.Entry("Secret", namespace, name, key) },
	}
}

// problemsOf places what is wrong with objects in their files.
func problemsOf(c *config.Config, all protections) config.Problems {
	var problems config.Problems
	for _, p := range all {
		for _, q := range p.problems {
			problems = append(problems, c.Problem(p.kind, p.namespace, p.name, q.Field, q.Text))
		}
	}
	return problems
}

func (b *builder) assemble(view *static.View) (*Ruleset, error) {
	r := &Ruleset{
		generation: b.config.Generation(), view: view, pipelines: map[key]*policy.Pipeline{},
		detached: b.pipeline(policy.Entry{Stage: detached{}, Standing: true}),
	}
	for _, a := range view.Attached() {
		p, err := b.judging(a)
		if err != nil {
			return nil, err
		}
		r.pipelines[keyOf(a.Service)] = p
	}
	for _, p := range b.config.Policies {
		r.policies = append(r.policies, b.attachment(p, view))
	}
	return r, nil
}

// judging is the pipeline of what is attached: who may do what first, then what may be said.
func (b *builder) judging(a static.Attached) (*policy.Pipeline, error) {
	var attached []*authz.Policy
	for _, p := range b.config.Applying(a) {
		attached = append(attached, b.compiled[p])
	}
	shown, err := urls.New(urls.Options{Hosts: a.URLHosts})
	if err != nil {
		return nil, fmt.Errorf("ruleset: %s: annotation %s: %w", a.Object, mesh.AnnURLHosts, err)
	}
	around, refused := b.protects.stages(config.Scope{Namespace: b.config.Gateway.Namespace, Gateway: b.config.Gateway.Name}, a.Attached, b.catalogs, &b.deps)
	if refused != nil {
		return b.pipeline(policy.Entry{Stage: *refused, Standing: true}), nil
	}
	around.before = b.deps.told(b.config.Gateway.ClientIdentity, around.before)
	return b.pipeline(around.stages(authz.New(attached, around.askable...), shown)...), nil
}

// told puts in front of everything what tells servers who calls, if the Gateway asks for it.
func (d *Deps) told(asked bool, stages []policy.Entry) []policy.Entry {
	if !asked || d.Self == nil {
		return stages
	}
	return append([]policy.Entry{{Stage: authn.Forwarded{By: d.Self}}}, stages...)
}

// stages is the order in which a call is judged: who asks, and what others say of it; who may do what; what may be said; and
// last, which token goes on.
func (a *around) stages(rules *authz.Stage, shown *urls.Stage) []policy.Entry {
	return append(append(a.before, policy.Entry{Stage: rules, Standing: true}, policy.Entry{Stage: shown}), a.after...)
}

func (b *builder) pipeline(judges ...policy.Entry) *policy.Pipeline {
	return assembled(b.config.Generation(), b.deps, judges)
}

// assembled puts audit before the stages that judge, so that it is always entered and observes last.
func assembled(generation string, d Deps, judges []policy.Entry) *policy.Pipeline {
	return policy.NewPipeline(generation, d.Now, append([]policy.Entry{{Stage: d.Audit}}, judges...)...)
}

func (b *builder) attachment(p *v1alpha1.AgentAuthorizationPolicy, view *static.View) Attachment {
	a := Attachment{Policy: p.Namespace + "/" + p.Name, Action: p.Spec.Action, DryRun: b.compiled[p].DryRun(), Services: []string{}}
	if a.Action == "" {
		a.Action = v1alpha1.Allow
	}
	for _, s := range view.Attached() {
		if b.config.Applies(p, s) {
			a.Services = append(a.Services, described(s.Service))
		}
	}
	return a
}

func described(s call.Service) string {
	if s.Hostname == "" {
		return s.String()
	}
	return s.String() + " (" + s.Hostname + ")"
}
