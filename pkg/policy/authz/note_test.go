package authz_test

import (
	"fmt"
	"slices"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

func TestNotes(t *testing.T) {
	dry := func(text string) *authz.Policy {
		p := spec(t, text)
		p.Annotations = map[string]string{"istio.io/dry-run": "true"}
		return compile(t, p)
	}
	wet := func(text string) *authz.Policy { return compile(t, spec(t, text)) }
	const match, differ = `rules: [{}, {to: [{operation: {tools: [x]}}]}]`, `rules: [{to: [{operation: {tools: [y]}}]}]`
	note := func(kind, rule, text string) policy.Note {
		return policy.Note{Kind: kind, Policy: "bank/p", Rule: rule, Text: text}
	}
	for _, tt := range []struct {
		name     string
		policies []*authz.Policy
		call     *call.Call
		want     []policy.Note
	}{
		{"audit", []*authz.Policy{wet("{action: AUDIT, " + match + "}")}, tool("x"), []policy.Note{note("audit", "rules[0]", "an AUDIT rule matches")}},
		{"audit of something else", []*authz.Policy{wet("{action: AUDIT, " + differ + "}")}, tool("x"), nil},
		{"audit does not count a lifecycle call", []*authz.Policy{wet("{action: AUDIT, " + differ + "}")}, initialize(), nil},
		{"dry DENY", []*authz.Policy{dry("{action: DENY, " + match + "}")}, tool("x"), []policy.Note{note("dry-run", "rules[0]", "as a DENY policy it would refuse this call")}},
		{"dry DENY of something else", []*authz.Policy{dry("{action: DENY, " + differ + "}")}, tool("x"), nil},
		{"dry REQUIRE_APPROVAL", []*authz.Policy{dry("{action: REQUIRE_APPROVAL, " + match + "}")}, tool("x"), []policy.Note{note("dry-run", "rules[0]", "as a REQUIRE_APPROVAL policy it would hold this call")}},
		{"dry AUDIT", []*authz.Policy{dry("{action: AUDIT, " + match + "}")}, tool("x"), []policy.Note{note("dry-run", "rules[0]", "an AUDIT rule matches")}},
		{"dry ALLOW", []*authz.Policy{dry("{" + match + "}")}, tool("x"), []policy.Note{note("dry-run", "rules[0]", "as an ALLOW policy it would let this call pass")}},
		{"dry ALLOW of something else", []*authz.Policy{dry("{" + differ + "}")}, tool("x"), []policy.Note{note("dry-run", "", "as an ALLOW policy it would not let this call pass: no rule matched")}},
		{"dry ALLOW and a lifecycle call", []*authz.Policy{dry("{" + differ + "}")}, initialize(), []policy.Note{note("dry-run", "rules[0]", "as an ALLOW policy it would let this call pass")}},
		{"dry ALLOW and what the server asks", []*authz.Policy{dry("{" + differ + "}")}, asks("roots/list"), nil},
		{"error in a dry run", []*authz.Policy{dry(`{action: DENY, rules: [{when: [{cel: "jwt.sub == 'x'"}]}]}`)}, tool("x"), []policy.Note{
			note("error", "rules[0]", "cel: no such key: sub"), note("dry-run", "rules[0]", "as a DENY policy it would refuse this call"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := inspect(t, authz.New(tt.policies), tt.call)
			wantCode(t, v, pass)
			if !slices.Equal(v.Notes, tt.want) {
				t.Errorf("got  %v\nwant %v", v.Notes, tt.want)
			}
		})
	}
}

func TestNotesOfADeniedCall(t *testing.T) {
	v := inspect(t, stage(t, `{action: AUDIT, rules: [{}]}`, `{action: DENY, rules: [{}]}`), tool("x"))
	wantCode(t, v, call.EntitlementDenied)
	if got := fmt.Sprint(v.Notes); got != "[{audit bank/p0 rules[0] an AUDIT rule matches}]" {
		t.Errorf("got %s", got)
	}
}

func TestNotesAreBounded(t *testing.T) {
	var policies []*authz.Policy
	for range 100 {
		policies = append(policies, compile(t, spec(t, `{action: AUDIT, rules: [{}]}`)))
	}
	if got := len(inspect(t, authz.New(policies), tool("x")).Notes); got != 32 {
		t.Errorf("got %d notes, want 32", got)
	}
}
