package authz_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// What request.auth compares is Istio's (AuthorizationPolicy conditions), and what cannot be read decides against the caller.
func TestWhenRequestAuth(t *testing.T) {
	ann := with(tool("x"), func(c *call.Call) {
		c.Claims = &identity.Claims{Issuer: "https://idp.example", Subject: "ann", Audience: []string{"bank", "mail"}, Raw: []byte(
			`{"iss":"https://idp.example","sub":"ann","azp":"console","scope":"read  write:all","permission":"a b","title":"a b","groups":["staff","a b"],
			"act":{"sub":"coach","scope":"a b","act":{"sub":"butler"}},"https://x.example/role":"admin","age":7,"mixed":["a",7],"none":null,"empty":"","no":[],"Twin":"a","twin":"a"}`)}
	})
	nobody := with(tool("x"), func(c *call.Call) { c.Claims = &identity.Claims{Raw: []byte(`{}`)} })
	broken := with(tool("x"), func(c *call.Call) { c.Claims = &identity.Claims{Raw: []byte(`{"groups":["a"],"groups":["b"]}`)} })
	for _, tt := range []struct {
		name, when  string
		call        *call.Call
		allow, deny bool // whether an ALLOW and a DENY rule match
	}{
		{"principal", `{key: request.auth.principal, values: ["https://idp.example/ann"]}`, ann, true, true},
		{"principal prefix", `{key: request.auth.principal, values: ["https://idp.example/*"]}`, ann, true, true},
		{"another principal", `{key: request.auth.principal, values: ["https://idp.example/bob"]}`, ann, false, false},
		{"any principal", `{key: request.auth.principal, values: ["*"]}`, ann, true, true},
		{"any principal without a token", `{key: request.auth.principal, values: ["*"]}`, tool("x"), false, false},
		{"no principal without a token", `{key: request.auth.principal, notValues: ["*"]}`, tool("x"), true, true},
		{"a token of nobody", `{key: request.auth.principal, values: ["*"]}`, nobody, false, false},
		{"audience", `{key: request.auth.audiences, values: [mail]}`, ann, true, true},
		{"no audience of these", `{key: request.auth.audiences, notValues: [mail]}`, ann, false, false},
		{"another audience", `{key: request.auth.audiences, values: [files]}`, ann, false, false},
		{"presenter", `{key: request.auth.presenter, values: [console]}`, ann, true, true},
		{"no presenter", `{key: request.auth.presenter, values: ["*"]}`, nobody, false, false},
		{"claim", `{key: "request.auth.claims[sub]", values: [ann]}`, ann, true, true},
		{"claim in another case", `{key: "request.auth.claims[sub]", values: [Ann]}`, ann, false, false},
		{"claim with a URL for a name", `{key: "request.auth.claims[https://x.example/role]", values: [admin]}`, ann, true, true},
		{"list", `{key: "request.auth.claims[groups]", values: [staff]}`, ann, true, true},
		{"list members are whole", `{key: "request.auth.claims[groups]", values: [a]}`, ann, false, false},
		{"list, opposite", `{key: "request.auth.claims[groups]", values: ["*"], notValues: [staff]}`, ann, false, false},
		{"empty list", `{key: "request.auth.claims[no]", values: ["*"]}`, ann, false, false},
		{"empty list, opposite", `{key: "request.auth.claims[no]", notValues: [a]}`, ann, true, true},
		{"scope is a set", `{key: "request.auth.claims[scope]", values: ["write:*"]}`, ann, true, true},
		{"scope is no text", `{key: "request.auth.claims[scope]", values: ["read  *"]}`, ann, false, false},
		{"permission is a set", `{key: "request.auth.claims[permission]", values: [b]}`, ann, true, true},
		{"a title is no set", `{key: "request.auth.claims[title]", values: [b]}`, ann, false, false},
		{"nested", `{key: "request.auth.claims[act][sub]", values: [coach]}`, ann, true, true},
		{"nested deeper", `{key: "request.auth.claims[act][act][sub]", values: [butler]}`, ann, true, true},
		{"nested scope is no set", `{key: "request.auth.claims[act][scope]", values: [b]}`, ann, false, false},
		{"nested scope is a text", `{key: "request.auth.claims[act][scope]", values: ["a b"]}`, ann, true, true},
		{"nested too deep", `{key: "request.auth.claims[act][act][act][sub]", values: ["*"]}`, ann, false, false},
		{"below a text", `{key: "request.auth.claims[sub][a]", values: ["*"]}`, ann, false, false},
		{"missing", `{key: "request.auth.claims[nope]", values: ["*"]}`, ann, false, false},
		{"missing, opposite", `{key: "request.auth.claims[nope]", notValues: [a]}`, ann, true, true},
		{"empty text", `{key: "request.auth.claims[empty]", values: ["*"]}`, ann, false, false},
		{"number", `{key: "request.auth.claims[age]", values: ["7"]}`, ann, false, true},
		{"number, opposite", `{key: "request.auth.claims[age]", notValues: ["7"]}`, ann, false, true},
		{"object", `{key: "request.auth.claims[act]", notValues: ["7"]}`, ann, false, true},
		{"null", `{key: "request.auth.claims[none]", notValues: ["7"]}`, ann, false, true},
		{"a list of texts and numbers", `{key: "request.auth.claims[mixed]", values: [a]}`, ann, false, true},
		{"two cases", `{key: "request.auth.claims[twin]", values: [a]}`, ann, false, true},
		{"only another case", `{key: "request.auth.claims[Sub]", values: [ann]}`, ann, false, true},
		{"twice", `{key: "request.auth.claims[groups]", values: [a]}`, broken, false, true},
		{"claim without a token", `{key: "request.auth.claims[sub]", values: ["*"]}`, tool("x"), false, false},
		{"raw connection", `{key: "request.auth.claims[sub]", notValues: [a]}`, raw(), false, true},
		{"handshake", `{key: "request.auth.claims[sub]", values: [ann]}`, with(initialize(), func(c *call.Call) { c.Claims = ann.Claims }), true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := inspect(t, stage(t, `rules: [{when: [`+tt.when+`]}]`), tt.call).Action == policy.Pass; got != tt.allow {
				t.Errorf("ALLOW matches: got %v, want %v", got, tt.allow)
			}
			v := inspect(t, stage(t, `{action: DENY, rules: [{when: [`+tt.when+`]}]}`), tt.call)
			if got := v.Action == policy.Deny; got != tt.deny {
				t.Errorf("DENY matches: got %v, want %v", got, tt.deny)
			}
			if !tt.allow && tt.deny && tt.call.Protocol != call.TCP && v.Code != call.PolicyError {
				t.Errorf("what cannot be read: got code %q, want %q", v.Code, call.PolicyError)
			}
		})
	}
	v := inspect(t, stage(t, `{action: DENY, rules: [{when: [{key: "request.auth.claims[age]", values: [a]}]}]}`), ann)
	if want := "a DENY rule could not be evaluated, which counts as a match: a claim is neither a text nor a list of texts"; v.Reason != want {
		t.Errorf("got  %s\nwant %s", v.Reason, want)
	}
}
