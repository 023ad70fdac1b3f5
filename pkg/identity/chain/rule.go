package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

const defaultDepth = 8

// Presenter is the workload that holds the connection, as its certificate proves it.
type Presenter struct {
	ID         identity.ID
	Thumbprint string // SHA-256 of the certificate, base64url; "" if it is not known
}

// Refusal is why a chain is not good enough.
type Refusal struct {
	Code   call.Code
	Reason string // for the operator
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Reason }

func refuse(code call.Code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// Options say what is asked of a chain.
type Options struct {
	Spec         *v1alpha1.DelegationChain
	TrustDomains []identity.TrustDomain // the mesh's own and its aliases: whose service accounts count by name
}

// Rule is a compiled DelegationChain.
type Rule struct {
	steps     []matches
	inOrder   bool
	depth     int
	forbidden matches
	users     matches
	claims    []claim
	binding   binding
	maxAge    time.Duration
}

// claim is one that the token has to have.
type claim struct {
	path   []string
	values matches
}

// New compiles a rule, or says what is wrong with it.
func New(o Options) (*Rule, []string) {
	c := &compiler{}
	s := o.Spec
	r := &Rule{depth: defaultDepth, forbidden: c.matches("forbiddenActors", s.ForbiddenActors)}
	for i, step := range s.Actors {
		field := fmt.Sprintf("actors[%d].anyOf", i)
		if len(step.AnyOf) == 0 {
			c.add(field, "must have at least one")
		}
		r.steps = append(r.steps, c.matches(field, step.AnyOf))
	}
	if len(s.Actors) > MaxDepth {
		c.add("actors", "must be at most %d", MaxDepth)
	}
	switch s.Match {
	case "", "Exact":
	case "InOrder":
		r.inOrder = true
	default:
		c.add("match", "must be Exact or InOrder, got %q", s.Match)
	}
	if s.MaxDepth != nil {
		r.depth = int(*s.MaxDepth)
	}
	if r.depth < 0 || r.depth > MaxDepth {
		c.add("maxDepth", "must be from 0 to %d", MaxDepth)
	}
	if len(s.Actors) > r.depth {
		c.add("actors", "are more than maxDepth allows")
	}
	if s.User != nil {
		r.users = c.matches("user.subjects", s.User.Subjects)
		for i, m := range s.User.RequiredClaims {
			field := fmt.Sprintf("user.requiredClaims[%d]", i)
			r.claims = append(r.claims, claim{c.path(field+".claim", m.Claim), c.matches(field+".values", m.Values)})
			if len(m.Values) == 0 {
				c.add(field+".values", "must have at least one")
			}
		}
	}
	r.binding = c.binding(s.Binding, o.TrustDomains)
	r.maxAge = c.age(s.MaxAge)
	return r, c.problems
}

// Check returns why the chain of a verified token is refused, nil if it is not. p holds the connection.
func (r *Rule) Check(p Presenter, c *identity.Claims, now time.Time) *Refusal {
	if len(c.Actors) > r.depth {
		return refuse(call.DepthExceeded, "the chain has %d actors, and %d are allowed", len(c.Actors), r.depth)
	}
	for i := range c.Actors {
		a := &c.Actors[i]
		if a.Issuer != "" && a.Issuer != c.Issuer {
			return refuse(call.ChainInvalid, "an actor is named by an issuer that did not sign the token")
		}
		if r.forbidden != nil && r.forbidden.match(a.Subject) {
			return refuse(call.ActorNotAllowed, "%q may stand nowhere in the chain", clip(a.Subject))
		}
	}
	if f := r.user(c); f != nil {
		return f
	}
	if f := r.actors(c); f != nil {
		return f
	}
	if len(c.Actors) > 0 {
		if f := r.binding.check(p, &c.Actors[0]); f != nil {
			return f
		}
	}
	return r.fresh(c, now)
}

// actors compares them with the steps, in the order in which they acted.
func (r *Rule) actors(c *identity.Claims) *Refusal {
	if len(r.steps) == 0 {
		return nil
	}
	n := len(c.Actors)
	if n < len(r.steps) {
		return refuse(call.ChainInvalid, "the chain has %d actors, and %d are required", n, len(r.steps))
	}
	if !r.inOrder && n > len(r.steps) {
		return refuse(call.ChainInvalid, "the chain has %d actors, and exactly %d are required", n, len(r.steps))
	}
	// The last step is whoever calls us: others may stand before and between, never after it.
	at := 0
	for i := range r.steps {
		last := i == len(r.steps)-1
		for {
			if at == n {
				return refuse(call.ChainInvalid, "nobody in the chain is what actors[%d] asks for", i)
			}
			a := c.Actors[n-1-at].Subject
			at++
			if r.steps[i].match(a) && (!last || at == n) {
				break
			}
			if !r.inOrder {
				return refuse(call.ChainInvalid, "%q is not what actors[%d] asks for", clip(a), i)
			}
		}
	}
	return nil
}

func (r *Rule) user(c *identity.Claims) *Refusal {
	if r.users != nil && !r.users.match(c.Subject) {
		return refuse(call.ChainInvalid, "the user is none of user.subjects")
	}
	for i := range r.claims {
		if !Has(c.Raw, r.claims[i].path, r.claims[i].values.match) {
			return refuse(call.ChainInvalid, "the user has not what user.requiredClaims[%d] asks for", i)
		}
	}
	return nil
}

func (r *Rule) fresh(c *identity.Claims, now time.Time) *Refusal {
	switch {
	case r.maxAge == 0:
		return nil
	case c.IssuedAt.IsZero():
		return refuse(call.TokenInvalid, "the token does not say when it was issued, and maxAge asks for it")
	case now.Sub(c.IssuedAt) > r.maxAge:
		return refuse(call.TokenInvalid, "the token is older than %s", r.maxAge)
	}
	return nil
}

// Bound checks the binding of a token to a certificate (RFC 8705 section 3.1). required refuses a token without one.
func Bound(p Presenter, c *identity.Claims, required bool) *Refusal {
	switch {
	case c.Thumbprint == "" && required:
		return refuse(call.ChainUnbound, "the token is not bound to a certificate")
	case c.Thumbprint != "" && c.Thumbprint != p.Thumbprint:
		return refuse(call.ChainUnbound, "the token is bound to another certificate than the caller's")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// matches is a set of Istio's string matches: exact, "prefix*", "*suffix", and "*" for anything that is not empty.
type matches []string

func (m matches) match(s string) bool {
	return slices.ContainsFunc(m, func(v string) bool {
		switch {
		case v == "*":
			return s != ""
		case v[0] == '*':
			return strings.HasSuffix(s, v[1:])
		case v[len(v)-1] == '*':
			return strings.HasPrefix(s, v[:len(v)-1])
		}
		return s == v
	})
}
