package sts

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
)

// Grant is one permission, compiled from an ExchangeGrant.
type Grant struct {
	Name          string // namespace/name of the object, and the grant's own
	clients       []string
	forwarders    []string
	audiences     []string
	scopes        []string
	issuers       []string
	subjects      []string
	impersonation bool
	mayActAbsent  bool // a token that does not say who may act is exchanged too
	next          string
	depth         int
	lifetime      time.Duration
	perMinute     int
}

// CompileGrants makes grants of the objects that have any, or says what is wrong with them, one sentence each.
func CompileGrants(objects []*v1alpha1.TokenExchange) ([]*Grant, []string) {
	var grants []*Grant
	var problems []string
	for _, o := range objects {
		for i := range o.Spec.Grants {
			g, faults := compileGrant(o.Namespace+"/"+o.Name, &o.Spec.Grants[i])
			for _, f := range faults {
				problems = append(problems, fmt.Sprintf("TokenExchange %s/%s: spec.grants[%d].%s", o.Namespace, o.Name, i, f))
			}
			grants = append(grants, g)
		}
	}
	return grants, problems
}

func compileGrant(object string, s *v1alpha1.ExchangeGrant) (*Grant, []string) {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	g := &Grant{
		Name: object + "/" + string(s.Name), audiences: s.Audiences, issuers: s.Issuers, depth: 8, lifetime: DefaultLifetime, perMinute: 600,
		next: s.NextActor,
	}
	patterns := func(field string, list []v1alpha1.StringMatch) []string {
		var out []string
		for i, m := range list {
			if at := strings.IndexByte(string(m), '*'); m == "" || at >= 0 && m != "*" && (strings.Count(string(m), "*") > 1 || at > 0 && at < len(m)-1) {
				add("%s[%d]: must be exact, \"prefix*\", \"*suffix\" or \"*\"", field, i)
				continue
			}
			out = append(out, string(m))
		}
		return out
	}
	g.clients, g.forwarders = patterns("clients", s.Clients), patterns("forwarders", s.Forwarders)
	g.subjects = patterns("subjects", s.Subjects)
	if len(g.clients) == 0 {
		add("clients: must have at least one")
	}
	if len(g.audiences) == 0 || slices.Contains(g.audiences, "") {
		add("audiences: must have at least one, and none that is empty")
	}
	for _, scope := range s.Scopes {
		g.scopes = append(g.scopes, string(scope))
	}
	switch s.Semantics {
	case "", "Delegation":
	case "Impersonation":
		g.impersonation = true
	default:
		add("semantics: must be Delegation or Impersonation, got %q", s.Semantics)
	}
	switch s.MayAct {
	case "", "Required":
	case "IfPresent":
		g.mayActAbsent = true
	default:
		add("mayAct: must be Required or IfPresent, got %q", s.MayAct)
	}
	if s.MaxDepth != nil {
		g.depth = int(*s.MaxDepth)
	}
	if g.depth < 1 || g.depth > 16 {
		add("maxDepth: must be from 1 to 16")
	}
	if s.MaxLifetime != "" {
		var err error
		if g.lifetime, err = time.ParseDuration(string(s.MaxLifetime)); err != nil || g.lifetime < time.Second || g.lifetime > 24*time.Hour {
			add("maxLifetime: must be a length of time from 1s to 24h")
		}
	}
	if s.PerMinute != nil {
		g.perMinute = int(*s.PerMinute)
	}
	if g.perMinute < 1 || g.perMinute > 1_000_000 {
		add("perMinute: must be from 1 to 1000000")
	}
	return g, problems
}

// matches compares a text with Istio's string matches.
func matches(list []string, s string) bool {
	return s != "" && slices.ContainsFunc(list, func(m string) bool {
		switch {
		case m == "*":
			return true
		case m[0] == '*':
			return strings.HasSuffix(s, m[1:])
		case m[len(m)-1] == '*':
			return strings.HasPrefix(s, m[:len(m)-1])
		}
		return m == s
	})
}

// names are what a party may be called in a grant: a workload by its SPIFFE identity with or without scheme, any other client by
// its client_id.
func (p *party) names() []string {
	if p.id.IsZero() {
		return []string{p.name}
	}
	full := p.id.String()
	return []string{full, strings.TrimPrefix(full, "spiffe://")}
}

func matchesAny(list, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return matches(list, n) })
}

// party is a client or an actor.
type party struct {
	id   identity.ID
	name string // client_id of one without an identity
}

func (p *party) String() string {
	if p.id.IsZero() {
		return p.name
	}
	return p.id.String()
}

// choose returns the grant by which an actor may have a token for these audiences, for what the subject token says.
func choose(grants []*Grant, actor *party, forwarder *party, q *request, issuer, own, subject string) (*Grant, *fault) {
	code, cause := unauthorizedClient, "no grant names this client"
	if forwarder != nil { // who asks may do so for others: it is whom it asks for that may not
		code, cause = invalidGrant, "no grant names the actor"
	}
	for _, g := range grants {
		if !matchesAny(g.clients, actor.names()) {
			continue
		}
		if forwarder != nil && !matchesAny(g.forwarders, forwarder.names()) {
			if code == invalidGrant {
				code, cause = unauthorizedClient, "no grant lets this client speak for the actor"
			}
			continue
		}
		code = invalidTarget
		if slices.ContainsFunc(q.audiences, func(a string) bool { return !slices.Contains(g.audiences, a) }) {
			cause = "no grant of this client has all of these audiences"
			continue
		}
		switch {
		case g.issuers != nil && issuer != own && !slices.Contains(g.issuers, issuer):
			cause = "no grant of this client for this audience takes tokens of this issuer"
		case g.subjects != nil && !matches(g.subjects, subject):
			cause = "no grant of this client for this audience is for this user"
		default:
			return g, nil
		}
	}
	return nil, refuse(code, "%s", cause)
}

// rates count what each client gets by each grant. They are per replica.
type rates struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func (r *rates) take(client string, g *Grant, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buckets == nil {
		r.buckets = map[string]*bucket{}
	}
	if now.Sub(r.swept) > time.Minute {
		for k, b := range r.buckets {
			if now.Sub(b.at) > 2*time.Minute {
				delete(r.buckets, k)
			}
		}
		r.swept = now
	}
	key := client + "\x00" + g.Name
	b := r.buckets[key]
	if b == nil {
		b = &bucket{tokens: float64(g.perMinute), at: now}
		r.buckets[key] = b
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(float64(g.perMinute), b.tokens+passed.Minutes()*float64(g.perMinute))
		b.at = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
