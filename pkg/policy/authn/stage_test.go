package authn_test

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
)

// verify believes tokens that begin with "good"; the rest of such a token is its claims.
func verify(_ context.Context, _ *call.Call, token string) (*policy.Caller, error) {
	switch {
	case token == "away":
		return nil, &authn.Refusal{Code: call.UpstreamUnavailable, Reason: "the keys are away"}
	case token == "broken":
		return nil, errors.New("something broke")
	case token == "nobody":
		return &policy.Caller{}, nil
	case !strings.HasPrefix(token, "good"):
		return nil, &authn.Refusal{Code: call.TokenInvalid, Reason: "signature does not fit"}
	}
	raw := strings.TrimPrefix(token, "good")
	if raw == "" {
		raw = `{"sub":"alice","email":"a@example.com","n":7,"admin":true,"groups":["a"],"deep":{"er":"x"},"bad":"a\nb","long":""}`
	}
	return &policy.Caller{Claims: &identity.Claims{Issuer: "i", Subject: "alice", Raw: jsontext.Value(raw)}, Chain: []identity.Hop{{Subject: "alice"}}}, nil
}

func stage(t testing.TB, policies ...authn.Policy) *authn.Stage {
	t.Helper()
	for i := range policies {
		if policies[i].Verify == nil {
			policies[i].Verify = verify
		}
		if policies[i].Name == "" {
			policies[i].Name = "bank/p"
		}
	}
	s, err := authn.New(authn.Options{Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(pairs ...string) *call.Call {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return &call.Call{
		Protocol: call.MCP, Method: "tools/call", Principal: identity.RequireID("spiffe://td/ns/a/sa/b"),
		HTTP: call.Request{Method: "POST", Host: "mcp:3000", Path: "/mcp", Header: h},
	}
}

func TestInspect(t *testing.T) {
	strict, optional, permissive := authn.Policy{}, authn.Policy{Mode: v1alpha1.AuthenticationOptional}, authn.Policy{Mode: v1alpha1.AuthenticationPermissive}
	custom := authn.Policy{Locations: []authn.Location{{Header: "X-Token"}, {Cookie: "tok"}}}
	chained := authn.Policy{Chain: func(*call.Call, *identity.Claims, time.Time) *authn.Refusal {
		return &authn.Refusal{Code: call.ChainUnbound, Reason: "stolen"}
	}}
	tests := []struct {
		name     string
		policies []authn.Policy
		call     *call.Call
		code     call.Code
		reason   string
		subject  string // of the caller that later stages see
	}{
		{"a good token", []authn.Policy{strict}, request("Authorization", "Bearer good"), "", "", "alice"},
		{"the scheme in lower case", []authn.Policy{strict}, request("Authorization", "bearer good"), "", "", "alice"},
		{"none, strict", []authn.Policy{strict}, request(), call.Unauthenticated, "the call has no token", ""},
		{"none, optional", []authn.Policy{optional}, request(), "", "", ""},
		{"none, permissive", []authn.Policy{permissive}, request(), "", "", ""},
		{"bad, strict", []authn.Policy{strict}, request("Authorization", "Bearer bad"), call.TokenInvalid, "signature does not fit", ""},
		{"bad, optional", []authn.Policy{optional}, request("Authorization", "Bearer bad"), call.TokenInvalid, "signature does not fit", ""},
		{"bad, permissive", []authn.Policy{permissive}, request("Authorization", "Bearer bad"), "", "", ""},
		{"keys away, strict", []authn.Policy{strict}, request("Authorization", "Bearer away"), call.UpstreamUnavailable, "the keys are away", ""},
		{"keys away, permissive", []authn.Policy{permissive}, request("Authorization", "Bearer away"), "", "", ""},
		{"an error", []authn.Policy{strict}, request("Authorization", "Bearer broken"), call.PolicyError, "something broke", ""},
		{"nobody", []authn.Policy{strict}, request("Authorization", "Bearer nobody"), call.PolicyError, "the token was verified, but nobody says whose it is", ""},
		{"another scheme", []authn.Policy{strict}, request("Authorization", "Basic good"), call.Unauthenticated, "the call has no token", ""},
		{"an empty one", []authn.Policy{strict}, request("Authorization", "Bearer  "), call.TokenInvalid, "the header Authorization has an empty token", ""},
		{"twice", []authn.Policy{strict}, request("Authorization", "Bearer good", "Authorization", "Bearer good"), call.Ambiguous,
			"a token in the header Authorization and another one in the header Authorization", ""},
		{"twice, permissive", []authn.Policy{permissive}, request("Authorization", "Bearer good", "Authorization", "Bearer good"), call.Ambiguous,
			"a token in the header Authorization and another one in the header Authorization", ""},
		{"beside Basic", []authn.Policy{strict}, request("Authorization", "Basic x", "Authorization", "Bearer good"), call.Ambiguous,
			"the header Authorization is there more than once", ""},
		{"a header of its own", []authn.Policy{custom}, request("X-Token", "good"), "", "", "alice"},
		{"in another spelling", []authn.Policy{custom}, request("X_token", "good"), call.Ambiguous, "the header X-Token is there in another spelling", ""},
		{"in both spellings", []authn.Policy{custom}, request("X-Token", "good", "X_Token", "bad"), call.Ambiguous, "the header X-Token is there in another spelling", ""},
		{"a cookie", []authn.Policy{custom}, request("Cookie", "a=b; tok=good; c=d"), "", "", "alice"},
		{"a cookie twice", []authn.Policy{custom}, request("Cookie", "tok=good; tok=bad"), call.Ambiguous, "a token in the cookie tok and another one in the cookie tok", ""},
		{"a cookie in another case", []authn.Policy{custom}, request("Cookie", "Tok=good"), call.Ambiguous, "the cookie tok is there in another spelling", ""},
		{"header and cookie", []authn.Policy{custom}, request("X-Token", "good", "Cookie", "tok=good"), call.Ambiguous, "a token in the header X-Token and another one in the cookie tok", ""},
		{"not where it is looked for", []authn.Policy{custom}, request("Authorization", "Bearer good"), call.Unauthenticated, "the call has no token", ""},
		{"a chain that is refused", []authn.Policy{chained}, request("Authorization", "Bearer good"), call.ChainUnbound, "stolen", ""},
		{"two policies, one token", []authn.Policy{strict, optional}, request("Authorization", "Bearer good"), "", "", "alice"},
		{"two policies, one refuses", []authn.Policy{strict, chained}, request("Authorization", "Bearer good"), call.ChainUnbound, "stolen", ""},
		{"two policies, two tokens", []authn.Policy{strict, custom}, request("Authorization", "Bearer good", "X-Token", `good{"sub":"bob"}`), call.Ambiguous,
			"another policy finds another token in the call", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := stage(t, tt.policies...).Inspect(t.Context(), tt.call)
			if err != nil {
				t.Fatal(err)
			}
			reason := v.Reason
			if v.Action == policy.Pass {
				reason = ""
			}
			if v.Code != tt.code || reason != tt.reason || (v.Action == policy.Pass) != (tt.code == "") {
				t.Errorf("got %v %s %q, want %s %q", v.Action, v.Code, v.Reason, tt.code, tt.reason)
			}
			subject := ""
			if v.Caller != nil {
				subject = v.Caller.Claims.Subject
			}
			if subject != tt.subject {
				t.Errorf("the caller is %q, want %q", subject, tt.subject)
			}
		})
	}
}

func TestNotAsked(t *testing.T) {
	asked := request()
	asked.Direction = call.ToClient
	known := request()
	known.Intent, known.Method, known.HTTP.Method, known.HTTP.Path = call.Plumbing, "GET", "GET", "/.well-known/oauth-protected-resource/mcp"
	elsewhere := request()
	elsewhere.Protocol, elsewhere.HTTP.Method, elsewhere.HTTP.Path = call.HTTP, "GET", "/.well-known/oauth-protected-resource"
	raw := request()
	raw.Protocol = call.TCP
	for _, tt := range []struct {
		name string
		call *call.Call
		want policy.Action
	}{{"the server asks", asked, policy.Pass}, {"discovery", known, policy.Pass}, {"the same path on plain HTTP", elsewhere, policy.Deny}, {"raw bytes", raw, policy.Deny}} {
		if v, _ := stage(t, authn.Policy{}).Inspect(t.Context(), tt.call); v.Action != tt.want {
			t.Errorf("%s: %v", tt.name, v.Action)
		}
	}
}

// through shows a call to the stage in a pipeline, and returns the header that a server gets.
func through(t *testing.T, s *authn.Stage, c *call.Call) http.Header {
	t.Helper()
	o := policy.NewPipeline("1", time.Now, policy.Entry{Stage: s}).Inspect(t.Context(), c)
	if !o.Allowed() {
		t.Fatalf("refused: %+v", o.Verdict)
	}
	return o.Call.HTTP.Header
}

// spellings are twelve that some server takes for one field.
func spellings(name string) []string {
	under := strings.ReplaceAll(name, "-", "_")
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name), under, strings.ToLower(under), strings.ToUpper(under),
		strings.Replace(name, "-", "_", 1), strings.ToLower(strings.Replace(name, "-", "_", 1)), strings.ToUpper(strings.Replace(name, "-", "_", 1)),
		strings.ToLower(name[:1]) + name[1:], strings.ToUpper(name[:3]) + name[3:], strings.ToLower(under[:4]) + strings.ToUpper(under[4:]),
	}
}

func TestClaimsToHeaders(t *testing.T) {
	p := authn.Policy{Effect: authn.Effect{Headers: []authn.ClaimHeader{
		{Claim: []string{"email"}, Header: "X-Mail-Of"}, {Claim: []string{"n"}, Header: "X-Number-Of"}, {Claim: []string{"admin"}, Header: "X-Admin-Of"},
		{Claim: []string{"groups"}, Header: "X-Groups-Of"}, {Claim: []string{"deep", "er"}, Header: "X-Deep-Of"}, {Claim: []string{"bad"}, Header: "X-Bad-Of"},
		{Claim: []string{"missing"}, Header: "X-Missing-Of"},
	}, Strip: true}, Remove: []string{"X-Own-List"}}
	pairs := []string{"Authorization", "Bearer good", "X-Kept", "kept"}
	for _, name := range []string{"X-Mail-Of", "X-Number-Of", "X-Groups-Of", "X-Bad-Of", "X-Missing-Of", "X-Own-List", "X-Forwarded-User", "X-User-Id", "X-Auth-Request-Email"} {
		for _, s := range spellings(name) {
			pairs = append(pairs, s, "forged")
		}
	}
	got := through(t, stage(t, p), request(pairs...))
	want := http.Header{"X-Kept": {"kept"}, "X-Mail-Of": {"a@example.com"}, "X-Number-Of": {"7"}, "X-Admin-Of": {"true"}, "X-Deep-Of": {"x"}}
	for name, lines := range got {
		if !slices.Equal(lines, want[name]) {
			t.Errorf("%s: got %q, want %q", name, lines, want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// Without a token nothing is said, and nothing that the caller says itself gets through.
	optional := p
	optional.Mode = v1alpha1.AuthenticationOptional
	if got := through(t, stage(t, optional), request("X-Mail-Of", "forged", "x_mail_of", "forged")); len(got) != 0 {
		t.Errorf("without a token: %v", got)
	}
}

func TestEffects(t *testing.T) {
	p := authn.Policy{ByIssuer: map[string]authn.Effect{"i": {Strip: true, Payload: "X-Payload"}}}
	got := through(t, stage(t, p), request("Authorization", `Bearer good{"sub":"alice"}`))
	if len(got) != 1 || got.Get("X-Payload") != "eyJzdWIiOiJhbGljZSJ9" {
		t.Errorf("got %v", got)
	}
	cookie := authn.Policy{Locations: []authn.Location{{Cookie: "tok"}}, Effect: authn.Effect{Strip: true}}
	if got := through(t, stage(t, cookie), request("Cookie", "a=b; tok=good; c=d", "Cookie", "e=f")); !slices.Equal(got["Cookie"], []string{"a=b; c=d", "e=f"}) {
		t.Errorf("got %v", got)
	}
}

func TestMetadata(t *testing.T) {
	m := &authn.Metadata{AuthorizationServers: []string{"https://as.example.com"}, Scopes: []string{"read", "write"}, DisplayName: "the bank"}
	s := stage(t, authn.Policy{Metadata: m})
	get := func(path string) *policy.Answer {
		c := request()
		c.HTTP.Method, c.HTTP.Path = "GET", path
		return s.Answer(c)
	}
	const want = `{"resource":"http://mcp:3000/mcp","authorization_servers":["https://as.example.com"],"scopes_supported":["read","write"],` +
		`"bearer_methods_supported":["header"],"resource_name":"the bank"}`
	if a := get("/.well-known/oauth-protected-resource/mcp"); a == nil || string(a.Body) != want || a.ContentType != "application/json" {
		t.Errorf("got %+v", a)
	}
	for _, path := range []string{"/.well-known/oauth-protected-resourceful", "/mcp", "/.well-known/oauth-authorization-server"} {
		if a := get(path); a != nil {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	const challenge = `resource_metadata="http://mcp:3000/.well-known/oauth-protected-resource/mcp", scope="read write"`
	for token, want := range map[string]string{"": "Bearer " + challenge, "Bearer bad": `Bearer error="invalid_token", ` + challenge, "Bearer away": ""} {
		c := request()
		if token != "" {
			c = request("Authorization", token)
		}
		if v, _ := s.Inspect(t.Context(), c); v.Action != policy.Deny || v.Challenge != want {
			t.Errorf("%q: got %q, want %q", token, v.Challenge, want)
		}
	}
	if v, _ := stage(t, authn.Policy{}).Inspect(t.Context(), request()); v.Challenge != "" {
		t.Errorf("without metadata: %q", v.Challenge)
	}
}
