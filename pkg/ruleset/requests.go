package ruleset

import (
	"context"
	"fmt"
	"strings"
	"time"

	security "istio.io/api/security/v1beta1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
)

// requests is a RequestAuthentication, compiled. Istio's means: a call without a token passes, one with a bad token does not,
// and all that apply are one.
type requests struct {
	name    string
	keys    *jwks.Verifier
	places  []authn.Location
	effects map[string]authn.Effect
}

// istioAlgorithms are those that Envoy verifies, but for the symmetric ones.
func istioAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (c *compiler) requests(o *config.RequestAuthentication) *requests {
	r := &requests{name: o.Namespace + "/" + o.Name, effects: map[string]authn.Effect{}}
	var sources []source
	options := jwks.Options{Now: c.with.now()}
	for i, rule := range o.Spec.GetJwtRules() {
		field := fmt.Sprintf("spec.jwtRules[%d]", i)
		in := jwks.Issuer{Issuer: rule.GetIssuer(), Audiences: rule.GetAudiences(), Algorithms: istioAlgorithms(), ClockSkew: jwks.MaxSkew}
		if len(in.Audiences) == 0 {
			in.AnyAudience = "a RequestAuthentication without audiences"
		}
		r.effects[rule.GetIssuer()] = c.istioEffect(field, rule)
		r.places = append(r.places, c.istioPlaces(field, rule)...)
		sources = append(sources, c.istioKeys(field, rule))
		options.Issuers = append(options.Issuers, in)
	}
	if len(sources) == 0 || len(c.problems) > 0 {
		return r
	}
	var err error
	r.keys, err = keep(c.with, "jwtRules", sources, func() (*jwks.Verifier, func(), error) { return c.with.verifier(sources, options) })
	if err != nil {
		c.add("spec.jwtRules", "%v", err)
	}
	return r
}

func (c *compiler) istioEffect(field string, rule *security.JWTRule) authn.Effect {
	e := authn.Effect{Strip: !rule.GetForwardOriginalToken(), Payload: rule.GetOutputPayloadToHeader()}
	if e.Payload != "" {
		c.settable(field+".outputPayloadToHeader", e.Payload)
	}
	for i, h := range rule.GetOutputClaimToHeaders() {
		c.settable(fmt.Sprintf("%s.outputClaimToHeaders[%d].header", field, i), h.GetHeader())
		e.Headers = append(e.Headers, authn.ClaimHeader{Claim: strings.Split(h.GetClaim(), "."), Header: h.GetHeader()})
	}
	return e
}

// istioPlaces are where Istio has a token looked for. A token in a query ends up in logs, and is not read.
func (c *compiler) istioPlaces(field string, rule *security.JWTRule) []authn.Location {
	if len(rule.GetFromParams()) > 0 {
		c.add(field+".fromParams", "is not carried out: a token in a query ends up in logs")
	}
	var out []authn.Location
	for i, h := range rule.GetFromHeaders() {
		if !validField(h.GetName()) {
			c.add(fmt.Sprintf("%s.fromHeaders[%d].name", field, i), "is not the name of a header")
		}
		out = append(out, authn.Location{Header: h.GetName(), Prefix: h.GetPrefix()})
	}
	for _, name := range rule.GetFromCookies() {
		out = append(out, authn.Location{Cookie: name})
	}
	if len(out) == 0 {
		out = append(out, authn.Bearer())
	}
	return out
}

func (c *compiler) istioKeys(field string, rule *security.JWTRule) source {
	s := source{Issuer: v1alpha1.Issuer{Issuer: rule.GetIssuer(), Audiences: rule.GetAudiences()}, Inline: rule.GetJwks()}
	switch {
	case rule.GetIssuer() == "":
		c.add(field+".issuer", "is missing")
	case (rule.GetJwks() == "") == (rule.GetJwksUri() == ""):
		c.add(field, "must have exactly one of jwks and jwksUri: keys are not discovered")
	case rule.GetJwksUri() != "":
		timeout := 5 * time.Second
		if t := rule.GetTimeout(); t != nil {
			timeout = min(max(t.AsDuration(), 10*time.Millisecond), 30*time.Second)
		}
		s.Place = c.istioURL(field+".jwksUri", rule.GetJwksUri())
		s.Place.Timeout, s.Refresh, s.Stale = timeout, 20*time.Minute, time.Hour // Istio asks every 20 minutes
	}
	return s
}

// istioURL is https, or http to a service of the mesh, which then is what protects it.
func (c *compiler) istioURL(field, uri string) place {
	if strings.HasPrefix(uri, "https://") {
		return place{URL: uri}
	}
	host, port, err := meshURL(uri)
	if err != nil {
		c.add(field, "%v", err)
	}
	return place{URL: uri, Host: host, Port: port}
}

// mergeRequests makes one policy of all that apply to a service. The first one that knows the issuer of a token judges it.
func mergeRequests(all []*requests) authn.Policy {
	p := authn.Policy{Name: all[0].name, Mode: v1alpha1.AuthenticationOptional, ByIssuer: map[string]authn.Effect{}}
	seen := map[string]bool{}
	for i := len(all) - 1; i >= 0; i-- {
		for issuer, e := range all[i].effects {
			p.ByIssuer[issuer] = e
		}
	}
	for _, r := range all {
		for _, at := range r.places {
			if key := strings.ToLower(at.Header + "\x00" + at.Prefix + "\x00" + at.Cookie); !seen[key] {
				seen[key] = true
				p.Locations = append(p.Locations, at)
			}
		}
	}
	p.Verify = func(ctx context.Context, _ *call.Call, token string) (*policy.Caller, error) {
		issuer, _ := jwks.Peek(token)
		for _, r := range all {
			if r.keys == nil || !r.keys.Knows(issuer) {
				continue
			}
			claims, err := r.keys.Verify(ctx, token)
			if err != nil {
				return nil, judged(err)
			}
			return &policy.Caller{Claims: claims, Chain: chain.Hops(claims)}, nil
		}
		return nil, &authn.Refusal{Code: call.TokenInvalid, Reason: "no RequestAuthentication knows its issuer"}
	}
	return p
}
