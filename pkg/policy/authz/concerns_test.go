package authz_test

import (
	"fmt"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

const custom = `action: CUSTOM, externalAuthorization: {backendRef: {name: authz, port: 9000}}`

func TestConcerns(t *testing.T) {
	pay := `{` + custom + `, rules: [{to: [{operation: {tools: [read]}}], when: [{key: source.namespace, values: [audit]}]}, {to: [{operation: {tools: ["pay*"]}}]}]}`
	for _, tt := range []struct {
		name, spec string
		call       *call.Call
		want       string // the rule; "" if none
	}{
		{"the second rule", pay, tool("payout"), "rules[1]"},
		{"the first rule", pay, by(auditor, tool("read")), "rules[0]"},
		{"another caller", pay, tool("read"), ""},
		{"handshake", pay, initialize(), ""},
		{"list", pay, listTools(), ""},
		{"raw", pay, raw(), "rules[1]"},
		{"what the server asks", `{` + custom + `, rules: [{}]}`, asks("roots/list"), ""},
		{"everything", `{` + custom + `, rules: [{}]}`, initialize(), "rules[0]"},
		{"nothing", `{` + custom + `}`, tool("x"), ""},
		{"an error counts as a match", `{` + custom + `, rules: [{when: [{cel: 'jwt.sub == "x"'}]}]}`, tool("x"), "rules[0]"},
		{"an argument in another case", `{` + custom + `, rules: [{to: [{operation: {arguments: [{pointer: /amount, min: 5}]}}]}]}`, toolWith("x", `{"Amount":9}`), "rules[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule, ok := compile(t, spec(t, tt.spec)).Concerns(t.Context(), tt.call)
			if rule != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", rule, ok, tt.want)
			}
			// the rules of such a policy neither allow nor deny
			wantCode(t, inspect(t, stage(t, tt.spec), tt.call), pass)
		})
	}
}

func TestCustomNeedsAService(t *testing.T) {
	for text, bad := range map[string]bool{
		`{` + custom + `, rules: [{}]}`:        false,
		`{action: CUSTOM, rules: [{}]}`:        true,
		`{rules: [{}], ` + custom[16:] + `}`:   true,
		`{action: DENY, ` + custom[16:] + `}`:  true,
		`{action: DENY, rules: [{}]}`:          false,
		`{action: AUDIT, ` + custom[16:] + `}`: true,
	} {
		_, problems := authz.Compile(spec(t, text))
		want := "[]"
		if bad {
			want = "[spec.externalAuthorization: belongs to the action CUSTOM, which needs it]"
		}
		if got := fmt.Sprint(problems); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// A URI that can be read in two ways is refused wherever a policy compares parts of one: also where that only leads to a question.
func TestCustomAndURIs(t *testing.T) {
	s := stage(t, `{`+custom+`, rules: [{to: [{operation: {resources: ["file:///secret/*"]}}]}]}`)
	wantCode(t, inspect(t, s, resource("file:///open/../secret/x")), call.Ambiguous)
	if v := inspect(t, s, resource("file:///open/x")); v.Action != policy.Pass {
		t.Errorf("got %+v", v)
	}
}
