package authn

import (
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"slices"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// maxHeaderValue bounds a claim that goes on as a header field, in bytes.
const maxHeaderValue = 8 << 10

// SelfAsserted lists the header fields by which proxies and login gateways commonly tell an application who its user is. Inside
// the mesh nobody but the waypoint may say so: what a caller writes there is its own word.
func SelfAsserted() []string {
	return []string{
		"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token",
		"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
		"X-Auth-Request-Access-Token", "X-Remote-User", "Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name",
		"X-Authenticated-User", "X-Authenticated-Userid", "X-Authenticated-Groups", "X-User", "X-User-Id", "X-User-Email", "X-User-Groups",
		"X-User-Roles", "X-Username", "X-Webauth-User", "X-Jwt-Payload", "X-Jwt-Claims", "X-Endpoint-Api-Userinfo",
		"X-Apigateway-Api-Userinfo", "X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id", "X-Goog-Iap-Jwt-Assertion",
		"X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Id",
		"X-Ms-Client-Principal-Name", "X-Ms-Token-Aad-Access-Token", "Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion",
		"X-Agent-Id", "X-Actor", "X-On-Behalf-Of", "X-Impersonate-User", "Impersonate-User", "Impersonate-Group",
	}
}

// edits takes away what no caller may say itself: first, and whether or not there is a token.
func (s *Stage) edits() []policy.HeaderEdit {
	names := SelfAsserted()
	for i := range s.policies {
		p := &s.policies[i]
		names = append(append(names, p.Remove...), p.Effect.names()...)
		for _, e := range p.ByIssuer {
			names = append(names, e.names()...)
		}
	}
	var edits []policy.HeaderEdit
	for _, name := range names {
		known := slices.ContainsFunc(edits, func(e policy.HeaderEdit) bool { return policy.SameField(e.Name, name) })
		if !known && !holdsToken(s.policies, name) {
			edits = append(edits, policy.HeaderEdit{Name: name, Remove: true})
		}
	}
	return edits
}

// holdsToken reports whether a field is where a policy looks for its token.
func holdsToken(policies []Policy, name string) bool {
	return slices.ContainsFunc(policies, func(p Policy) bool {
		return slices.ContainsFunc(p.Locations, func(l Location) bool { return policy.SameField(l.Header, name) })
	})
}

// names lists the header fields that an effect sets.
func (e *Effect) names() []string {
	var names []string
	for _, h := range e.Headers {
		names = append(names, h.Header)
	}
	if e.Payload != "" {
		names = append(names, e.Payload)
	}
	return names
}

// express adds what a verified token becomes on the way to the destination.
func (p *Policy) express(edits []policy.HeaderEdit, claims *identity.Claims, token found) []policy.HeaderEdit {
	e, ok := p.ByIssuer[claims.Issuer]
	if !ok {
		e = p.Effect
	}
	edits = slices.Clip(edits) // the first ones are shared by all calls
	for _, h := range e.Headers {
		if value, ok := Scalar(claims.Raw, h.Claim); ok {
			edits = append(edits, policy.HeaderEdit{Name: h.Header, Remove: true, Value: value})
		}
	}
	if e.Payload != "" {
		edits = append(edits, policy.HeaderEdit{Name: e.Payload, Remove: true, Value: base64.RawURLEncoding.EncodeToString(claims.Raw)})
	}
	if e.Strip {
		edits = append(edits, token.at.removal())
	}
	return edits
}

func (at Location) removal() policy.HeaderEdit {
	if at.Cookie != "" {
		return policy.HeaderEdit{Name: "Cookie", Remove: true, Cookie: at.Cookie}
	}
	return policy.HeaderEdit{Name: at.Header, Remove: true}
}

// Scalar returns a claim, by its path, that is one string, number or boolean and can stand in a header field.
func Scalar(claims jsontext.Value, path []string) (string, bool) {
	value := claims
	for _, name := range path {
		var members map[string]jsontext.Value
		if value.Kind() != jsontext.KindBeginObject || json.Unmarshal(value, &members) != nil {
			return "", false
		}
		if value = members[name]; value == nil {
			return "", false
		}
	}
	text := string(value)
	switch value.Kind() {
	case jsontext.KindString:
		if json.Unmarshal(value, &text) != nil {
			return "", false
		}
	case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
	default:
		return "", false
	}
	return text, text != "" && len(text) <= maxHeaderValue && printable(text)
}

// printable reports whether a text is the same to everybody who reads it as a field value (RFC 9110 section 5.5): no control
// bytes, nothing but ASCII, and no space at the ends, which a parser would take off.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s[0] != ' ' && s[len(s)-1] != ' '
}
