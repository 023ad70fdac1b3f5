package ruleset

import (
	"fmt"
	"maps"
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
	"waymark.dev/waypoint/pkg/policy/authz"
	"waymark.dev/waypoint/pkg/policy/exchange"
)

// protection is an object that puts stages before what it targets, compiled.
type protection struct {
	kind, namespace, name string
	refs                  []v1alpha1.TargetRef
	problems              []Problem // what it targets is refused as long as there are any

	authn    *authn.Policy // of an AgentAuthentication, without Verify
	verify   func(catalogs) authn.Verify
	requests *requests         // of a RequestAuthentication
	external policy.Stage      // of an AgentAuthentication with externalAuthorization, or of a policy with CUSTOM
	exchange *exchange.Options // of a TokenExchange
}

func (p *protection) String() string { return p.namespace + "/" + p.name }

// problem is the first thing that is wrong with it, "" if nothing is.
func (p *protection) problem() string {
	if len(p.problems) == 0 {
		return ""
	}
	return p.problems[0].String()
}

// protections are all of them, in the order of their objects.
type protections []*protection

// compileAuthentication, compileRequests, compileExchange and compileCustom compile one object each.
func compileAuthentication(o *v1alpha1.AgentAuthentication, d *Deps, refs *References) *protection {
	c := &compiler{kind: v1alpha1.KindAgentAuthentication, namespace: o.Namespace, name: o.Name, refs: refs, with: d.Authorities, deps: d}
	p := &protection{kind: c.kind, namespace: o.Namespace, name: o.Name, refs: o.Spec.TargetRefs}
	p.authn, p.verify = c.authentication(o), c.verification(&o.Spec)
	if o.Spec.ExternalAuthorization != nil {
		p.external = c.external(o.Spec.ExternalAuthorization, nil)
	}
	if len(o.Spec.Issuers) == 0 && o.Spec.Introspection == nil {
		p.authn = nil // the external service alone decides, and there is no token
		s := &o.Spec
		if s.Mode != "" && s.Mode != v1alpha1.AuthenticationStrict || s.TokenLocations != nil || s.ClaimsToHeaders != nil || s.StripHeaders != nil || s.ResourceMetadata != nil ||
			s.Token != "" && s.Token != "Forward" || s.ProofOfPossession == "Required" {
			c.add("spec.externalAuthorization", "alone knows no token: mode, tokenLocations, token, proofOfPossession, claimsToHeaders, stripHeaders and "+
				"resourceMetadata need issuers or introspection")
		}
	}
	p.problems = c.problems
	return p
}

func compileRequests(o *config.RequestAuthentication, d *Deps, refs *References) *protection {
	c := &compiler{namespace: o.Namespace, name: o.Name, refs: refs, with: d.Authorities, deps: d}
	p := &protection{kind: "RequestAuthentication", namespace: o.Namespace, name: o.Name, refs: o.TargetRefs}
	p.requests = c.requests(o)
	p.problems = c.problems
	return p
}

func compileExchange(o *v1alpha1.TokenExchange, d *Deps, refs *References) *protection {
	c := &compiler{kind: v1alpha1.KindTokenExchange, namespace: o.Namespace, name: o.Name, refs: refs, with: d.Authorities, deps: d}
	p := &protection{kind: c.kind, namespace: o.Namespace, name: o.Name, refs: o.Spec.TargetRefs}
	if (o.Spec.Exchange == nil) == (o.Spec.Grants == nil) {
		c.add("spec", "must have exactly one of exchange and grants")
	}
	if o.Spec.Exchange != nil {
		p.exchange = c.exchange(o)
	}
	p.problems = c.problems
	return p
}

// compileCustom compiles what a policy with CUSTOM asks; its rules are compiled already. It is nil for every other policy, and for
// one that is only noted.
func compileCustom(o *v1alpha1.AgentAuthorizationPolicy, rules *authz.Policy, d *Deps, refs *References) *protection {
	if o.Spec.ExternalAuthorization == nil || rules == nil || rules.DryRun() {
		return nil
	}
	c := &compiler{kind: v1alpha1.KindAgentAuthorizationPolicy, namespace: o.Namespace, name: o.Name, refs: refs, with: d.Authorities, deps: d}
	p := &protection{kind: c.kind, namespace: o.Namespace, name: o.Name, refs: o.Spec.TargetRefs}
	p.external = c.external(o.Spec.ExternalAuthorization, rules.Concerns)
	p.problems = c.problems
	return p
}

// around is what stands around the rules of what is attached.
type around struct {
	before, after []policy.Entry
	askable       []string // scopes that callers may be told they need
}

// stages are those around the rules of what is attached. Anything that is wrong with an object that concerns it closes it.
func (all protections) stages(s config.Scope, a mesh.Attached, known catalogs, d *Deps) (out around, refused *closed) {
	var asked []authn.Policy
	var merged []*requests
	var external []policy.Entry
	var trade *exchange.Options
	described := false // by metadata: the first one makes the challenge
	for _, p := range all {
		if !s.Applies(p.namespace, p.refs, a) {
			continue
		}
		if why := p.problem(); why != "" {
			return out, &closed{p.String(), "the " + p.kind + " cannot be used: " + why}
		}
		if p.authn != nil {
			verified := *p.authn
			verified.Verify = p.verify(known.of(s, a))
			asked = append(asked, verified)
			if m := p.authn.Metadata; m != nil && !described {
				out.askable, described = m.Scopes, true
			}
		}
		if p.requests != nil {
			merged = append(merged, p.requests)
		}
		if p.external != nil {
			external = append(external, policy.Entry{Stage: p.external})
		}
		if p.exchange != nil {
			if trade != nil {
				return out, &closed{p.String(), "two TokenExchanges apply: nobody knows which token goes on"}
			}
			trade = p.exchange
		}
	}
	if len(merged) > 0 {
		asked = append(asked, mergeRequests(merged))
	}
	if d.Assumed != nil {
		assume(asked, d.Assumed)
		for i, e := range external {
			external[i].Stage = unasked{e.Stage.Name()}
		}
		if trade != nil {
			out.after = append(out.after, policy.Entry{Stage: unasked{"exchange"}})
			trade = nil
		}
	}
	if trade != nil {
		stage, err := exchange.New(trading(*trade, asked))
		if err != nil {
			return out, &closed{trade.Policy, err.Error()}
		}
		out.after = append(out.after, policy.Entry{Stage: stage})
	}
	if len(asked) > 0 {
		stage, err := authn.New(authn.Options{Policies: asked, Now: d.Now})
		if err != nil {
			return out, &closed{"", err.Error()}
		}
		out.before = append(out.before, policy.Entry{Stage: stage, Standing: true})
	}
	out.before = append(out.before, external...)
	return out, nil
}

// trading makes the exchange look where the policies that apply do, and leaves it the token, which it takes away itself.
func trading(o exchange.Options, asked []authn.Policy) exchange.Options {
	for i := range asked {
		p := &asked[i]
		for _, l := range p.Locations {
			o.Locations = append(o.Locations, exchange.Location{Header: l.Header, Prefix: l.Prefix, Cookie: l.Cookie})
		}
		p.Effect.Strip = false
		p.ByIssuer = maps.Clone(p.ByIssuer)
		for issuer, e := range p.ByIssuer {
			e.Strip = false
			p.ByIssuer[issuer] = e
		}
	}
	return o
}

// sentences are what is wrong with them, for the log.
func (all protections) sentences() []string {
	var out []string
	for _, p := range all {
		if why := p.problem(); why != "" {
			out = append(out, fmt.Sprintf("%s %s: %s", p.kind, p, strings.TrimSuffix(why, ".")))
		}
	}
	return out
}
