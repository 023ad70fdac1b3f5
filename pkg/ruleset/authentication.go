package ruleset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
)

const (
	maxKeySet     = 1 << 20  // bytes of a key set
	maxTokenReply = 64 << 10 // bytes of what an authorization server says of one token
)

// authentication makes of an AgentAuthentication what the stage needs.
func (c *compiler) authentication(o *v1alpha1.AgentAuthentication) *authn.Policy {
	s := &o.Spec
	p := &authn.Policy{Name: o.Namespace + "/" + o.Name}
	p.Mode = v1alpha1.AuthenticationMode(c.oneOf("spec.mode", string(s.Mode), "Strict", "Optional", "Permissive"))
	p.Effect.Strip = c.oneOf("spec.token", s.Token, "Forward", "Strip") == "Strip"
	p.Locations = c.locations(s.TokenLocations)
	for i, h := range s.ClaimsToHeaders {
		field := fmt.Sprintf("spec.claimsToHeaders[%d]", i)
		c.settable(field+".header", string(h.Header))
		p.Effect.Headers = append(p.Effect.Headers, authn.ClaimHeader{Claim: c.claimPath(field+".claim", h.Claim), Header: string(h.Header)})
	}
	for i, h := range s.StripHeaders {
		c.settable(fmt.Sprintf("spec.stripHeaders[%d]", i), string(h))
		p.Remove = append(p.Remove, string(h))
	}
	if len(s.Issuers) == 0 && s.Introspection == nil && s.ExternalAuthorization == nil {
		c.add("spec", "one of issuers, introspection and externalAuthorization is needed")
	}
	p.Metadata = c.metadata(s.ResourceMetadata)
	required := c.oneOf("spec.proofOfPossession", s.ProofOfPossession, "IfPresent", "Required") == "Required"
	p.Chain = c.chain(s.Chain, required, p.Mode)
	return p
}

func (c *compiler) locations(list []v1alpha1.TokenLocation) []authn.Location {
	var out []authn.Location
	for i, l := range list {
		field := fmt.Sprintf("spec.tokenLocations[%d]", i)
		switch {
		case (l.Header == nil) == (l.Cookie == ""):
			c.add(field, "must have exactly one of header and cookie")
		case l.Header != nil:
			if !validField(string(l.Header.Name)) {
				c.add(field+".header.name", "is not the name of a header")
			}
			out = append(out, authn.Location{Header: string(l.Header.Name), Prefix: l.Header.Prefix})
		default:
			out = append(out, authn.Location{Cookie: string(l.Cookie)})
		}
	}
	return out
}

func (c *compiler) metadata(m *v1alpha1.ResourceMetadata) *authn.Metadata {
	if m == nil {
		return nil
	}
	if len(m.AuthorizationServers) == 0 {
		c.add("spec.resourceMetadata.authorizationServers", "must have at least one")
	}
	out := &authn.Metadata{Resource: m.Resource, DisplayName: m.DisplayName, Documentation: string(m.Documentation)}
	for _, s := range m.AuthorizationServers {
		out.AuthorizationServers = append(out.AuthorizationServers, string(s))
	}
	for i, s := range m.Scopes {
		if !validScope(string(s)) {
			c.add(fmt.Sprintf("spec.resourceMetadata.scopes[%d]", i), "is not a scope: printable characters without space, quote and backslash")
		}
		out.Scopes = append(out.Scopes, string(s))
	}
	return out
}

// chain is what every token has to prove of its actors. A token that is bound to a certificate is good on that one only, with
// or without a rule about chains.
func (c *compiler) chain(spec *v1alpha1.DelegationChain, required bool, mode v1alpha1.AuthenticationMode) authn.Chain {
	var rule *chain.Rule
	if spec != nil {
		if mode != v1alpha1.AuthenticationStrict {
			c.add("spec.chain", "needs mode Strict: in another mode a call without a token has no chain")
		}
		var problems []string
		rule, problems = chain.New(chain.Options{Spec: spec, TrustDomains: c.deps.TrustDomains})
		for _, p := range problems {
			c.add("spec.chain", "%s", p)
		}
	}
	return func(cl *call.Call, claims *identity.Claims, now time.Time) *authn.Refusal {
		p := chain.Presenter{ID: cl.Principal, Thumbprint: cl.Proof}
		if r := chain.Bound(p, claims, required); r != nil {
			return &authn.Refusal{Code: r.Code, Reason: r.Reason}
		}
		if rule == nil {
			return nil
		}
		if r := rule.Check(p, claims, now); r != nil {
			return &authn.Refusal{Code: r.Code, Reason: r.Reason}
		}
		return nil
	}
}

// verification says whom a token is shown to: to the keys of its issuer, to its authorization server, or to both.
// What it makes needs to know the tools of the service that is called.
func (c *compiler) verification(s *v1alpha1.AgentAuthenticationSpec) func(catalogs) authn.Verify {
	var keys *jwks.Verifier
	var asked *oauth.Introspector
	meant := func(*identity.Claims) bool { return false }
	if len(s.Issuers) > 0 {
		keys = c.issuers(s.Issuers)
	}
	all := false
	var tiers []v1alpha1.RiskTier
	if s.Introspection != nil {
		asked = c.introspection(s.Introspection)
		meant = c.audiences(s)
		all = c.oneOf("spec.introspection.tokens", s.Introspection.Tokens, "Opaque", "All") == "All"
		if tiers = s.Introspection.RiskTiers; tiers != nil && !all {
			c.add("spec.introspection.riskTiers", "belongs to tokens All: opaque tokens are always asked about")
		}
	}
	return func(tools catalogs) authn.Verify {
		return func(ctx context.Context, cl *call.Call, token string) (*policy.Caller, error) {
			asks := all && (tiers == nil || keys == nil || tools.within(cl, tiers)) // without keys there is nobody else to show it to
			return verify(ctx, token, keys, asked, asks, meant)
		}
	}
}

// verify shows a token to the keys of its issuer, to its authorization server, or to both.
func verify(ctx context.Context, token string, keys *jwks.Verifier, asked *oauth.Introspector, all bool, meant func(*identity.Claims) bool) (*policy.Caller, error) {
	_, jwt := jwks.Peek(token)
	var claims *identity.Claims
	var err error
	switch {
	case jwt && keys != nil:
		if claims, err = keys.Verify(ctx, token); err == nil && all {
			_, err = asked.Introspect(ctx, token)
		}
	case asked != nil && (!jwt || all):
		if claims, err = asked.Introspect(ctx, token); err == nil && !meant(claims) {
			return nil, &authn.Refusal{Code: call.TokenInvalid, Reason: "the token is of another issuer, or for another audience"}
		}
	case jwt:
		return nil, &authn.Refusal{Code: call.TokenInvalid, Reason: "a JWT, and no issuer is configured"}
	default:
		return nil, &authn.Refusal{Code: call.TokenInvalid, Reason: "an opaque token, and nobody is there to ask about it"}
	}
	if err != nil {
		return nil, judged(err)
	}
	return &policy.Caller{Claims: claims, Chain: chain.Hops(claims)}, nil
}

// Issuers verifies tokens of the issuers that an AgentAuthentication names, for a token service.
type Issuers struct {
	keys        *jwks.Verifier
	transaction []string // the path of the claim; nil is txn
}

// Verify returns what a token says. Its error wraps [jwks.ErrInvalid] if the token is no good, and nothing else is known of it if not.
func (i *Issuers) Verify(ctx context.Context, token string) (*identity.Claims, error) {
	claims, err := i.keys.Verify(ctx, token)
	if err != nil || i.transaction == nil {
		return claims, err
	}
	said := *claims // what is remembered is for others, too
	said.Transaction, _ = authn.Scalar(claims.Raw, i.transaction)
	return &said, nil
}

// NewIssuers compiles the issuers that an AgentAuthentication names, or returns everything that is wrong with them.
func NewIssuers(o *v1alpha1.AgentAuthentication, refs *References, a *Authorities) (*Issuers, []Problem) {
	a.begin()
	d := Deps{Authorities: a}
	k := &compiler{kind: v1alpha1.KindAgentAuthentication, namespace: o.Namespace, name: o.Name, refs: refs, with: a, deps: &d}
	if len(o.Spec.Issuers) == 0 {
		k.add("spec.issuers", "must have at least one")
	}
	out := &Issuers{keys: k.issuers(o.Spec.Issuers)}
	if c := o.Spec.Chain; c != nil && c.TransactionClaim != "" && c.TransactionClaim != "txn" {
		out.transaction = k.claimPath("spec.chain.transactionClaim", c.TransactionClaim)
	}
	if len(k.problems) > 0 {
		return nil, k.problems
	}
	a.retain()
	return out, nil
}

// audiences says whether an answer about a token is for us: by the audiences of introspection, or by those of the issuers.
func (c *compiler) audiences(s *v1alpha1.AgentAuthenticationSpec) func(*identity.Claims) bool {
	i := s.Introspection
	switch {
	case len(i.Audiences) > 0 && i.AnyAudience != nil, len(i.Audiences) == 0 && i.AnyAudience == nil && len(s.Issuers) == 0:
		c.add("spec.introspection.audiences", "exactly one of audiences and anyAudience is needed without issuers, and at most one with them")
	case i.AnyAudience != nil && i.AnyAudience.Reason == "":
		c.add("spec.introspection.anyAudience.reason", "is missing")
	}
	has := func(claims *identity.Claims, audiences []string) bool {
		return slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(audiences, a) })
	}
	return func(claims *identity.Claims) bool {
		known := len(s.Issuers) == 0
		for k := range s.Issuers {
			one := &s.Issuers[k]
			if claims.Issuer != "" && claims.Issuer != one.Issuer {
				continue
			}
			known = true
			if len(i.Audiences) == 0 && i.AnyAudience == nil && (one.AnyAudience != nil || has(claims, one.Audiences)) {
				return true
			}
		}
		return known && (i.AnyAudience != nil || has(claims, i.Audiences))
	}
}

// judged turns what a verifier says into a refusal. That nothing is known of a token is not its holder's fault.
func judged(err error) *authn.Refusal {
	switch {
	case errors.Is(err, jwks.ErrNoToken):
		return &authn.Refusal{Code: call.Unauthenticated, Reason: err.Error()}
	case errors.Is(err, jwks.ErrInvalid), errors.Is(err, oauth.ErrInactive):
		return &authn.Refusal{Code: call.TokenInvalid, Reason: err.Error()}
	}
	return &authn.Refusal{Code: call.UpstreamUnavailable, Reason: "nothing is known of the token: " + err.Error()}
}

// source is an issuer with everything it names looked up.
type source struct {
	Issuer  v1alpha1.Issuer
	Inline  string
	Place   place
	Refresh time.Duration
	Stale   time.Duration
}

func (c *compiler) issuers(list []v1alpha1.Issuer) *jwks.Verifier {
	var sources []source
	options := jwks.Options{Now: c.with.now()}
	for i := range list {
		field := fmt.Sprintf("spec.issuers[%d]", i)
		spec := &list[i]
		s := source{Issuer: *spec}
		in := jwks.Issuer{
			Issuer: spec.Issuer, Audiences: spec.Audiences, Types: spec.Types,
			ClockSkew:   c.duration(field+".clockSkew", spec.ClockSkew, 10*time.Second, 0, jwks.MaxSkew),
			MaxLifetime: c.duration(field+".maxLifetime", spec.MaxLifetime, 0, time.Second, 365*24*time.Hour),
		}
		if spec.AnyAudience != nil {
			in.AnyAudience = spec.AnyAudience.Reason
		}
		for _, alg := range spec.Algorithms {
			in.Algorithms = append(in.Algorithms, string(alg))
		}
		if len(in.Algorithms) == 0 {
			in.Algorithms = []string{"RS256", "ES256"}
		}
		for k, m := range spec.RequiredClaims {
			at := fmt.Sprintf("%s.requiredClaims[%d]", field, k)
			in.RequiredClaims = append(in.RequiredClaims, jwks.RequiredClaim{
				Path: c.claimPath(at+".claim", m.Claim), Match: c.patterns(at+".values", m.Values),
			})
		}
		c.keys(field+".jwks", &spec.JWKS, &s)
		sources = append(sources, s)
		options.Issuers = append(options.Issuers, in)
	}
	if len(c.problems) > 0 {
		return nil
	}
	v, err := keep(c.with, "issuers", sources, func() (*jwks.Verifier, func(), error) { return c.with.verifier(sources, options) })
	if err != nil {
		c.add("spec.issuers", "%v", err)
	}
	return v
}

// keys looks up where the keys of an issuer are.
func (c *compiler) keys(field string, j *v1alpha1.JWKS, s *source) {
	n := 0
	for _, there := range []bool{j.Remote != nil, j.Inline != "", j.ConfigMapRef != nil} {
		if there {
			n++
		}
	}
	switch {
	case n != 1:
		c.add(field, "must have exactly one of remote, inline and configMapRef")
	case j.Inline != "":
		s.Inline = j.Inline
	case j.ConfigMapRef != nil:
		b, err := c.refs.configMap(c.namespace, *j.ConfigMapRef)
		if err != nil {
			c.add(field+".configMapRef", "%v", err)
		}
		s.Inline = string(b)
	default:
		s.Place = c.placeOf(field+".remote.endpoint", &j.Remote.Endpoint, "/")
		s.Refresh = c.duration(field+".remote.refreshInterval", j.Remote.RefreshInterval, 5*time.Minute, 10*time.Second, 24*time.Hour)
		s.Stale = c.duration(field+".remote.maxStale", j.Remote.MaxStale, time.Hour, 0, 24*time.Hour)
	}
}

// verifier makes a verifier that fetches the keys it needs until it is closed.
func (a *Authorities) verifier(sources []source, o jwks.Options) (*jwks.Verifier, func(), error) {
	for i, s := range sources {
		if s.Inline != "" {
			o.Issuers[i].Keys.Inline = []byte(s.Inline)
			continue
		}
		client, err := a.client(s.Place, false, maxKeySet)
		if err != nil {
			return nil, nil, err
		}
		issuer := s.Issuer.Issuer
		o.Issuers[i].Keys.Remote = &jwks.Remote{
			Fetch:           func(ctx context.Context) ([]byte, http.Header, error) { return client.Get(ctx) },
			RefreshInterval: s.Refresh, MaxStale: s.Stale, Timeout: min(s.Place.Timeout, 30*time.Second),
			Report: func(err error) { a.log().Warn("keys of an issuer", "issuer", issuer, "cause", err) },
		}
	}
	v, err := jwks.New(o)
	if err != nil {
		return nil, nil, err
	}
	return v, running(v.Run, v.Close), nil
}

// running runs f and returns what ends it.
func running(f func(context.Context) error, end func()) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f(ctx)
	}()
	return func() {
		cancel()
		end()
		<-done
	}
}

func validField(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func validScope(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

// settable refuses header fields that frame or route a request, or say who somebody is.
func (c *compiler) settable(field, name string) {
	if !validField(name) {
		c.add(field, "is not the name of a header")
	}
	for _, reserved := range []string{
		"Authorization", "Connection", "Content-Length", "Cookie", "Forwarded", "Host", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade", "X-Forwarded-Client-Cert", "X-Forwarded-For",
	} {
		if policy.SameField(name, reserved) {
			c.add(field, "must not be one that frames or routes a request, or carries credentials or identities")
		}
	}
}
