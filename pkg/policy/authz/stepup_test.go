package authz_test

import (
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// asking is a stage whose callers may be told that they need the scopes read, write and pay.
func asking(t *testing.T, specs ...string) *authz.Stage {
	t.Helper()
	var policies []*authz.Policy
	for _, s := range specs {
		policies = append(policies, compile(t, spec(t, s)))
	}
	return authz.New(policies, "read", "write", "pay")
}

func cel(expression string) string {
	return `rules: [{to: [{operation: {tools: [x]}}], when: [{cel: '` + strings.ReplaceAll(expression, "'", "''") + `'}]}]`
}

func TestStepUp(t *testing.T) {
	const none = call.EntitlementDenied
	for _, tt := range []struct {
		name   string
		specs  []string
		claims string
		code   call.Code // "" passes
		scopes string
	}{
		{"has it", []string{cel(`jwt.scope.contains("write")`)}, `{"scope":"read write"}`, "", ""},
		{"one is missing", []string{cel(`jwt.scope.contains("write")`)}, `{"scope":"read"}`, call.ScopeMissing, "write"},
		{"in", []string{cel(`"write" in jwt.scope`)}, `{"scope":["read"]}`, call.ScopeMissing, "write"},
		{"no scope at all", []string{cel(`jwt.scope.contains("write")`)}, `{}`, call.ScopeMissing, "write"},
		{"a scope that is none", []string{cel(`jwt.scope.contains("write")`)}, `{"scope":7}`, none, ""},
		{"what it has is named too", []string{cel(`jwt.scope.contains("read") && jwt.scope.contains("write")`)}, `{"scope":"read"}`, call.ScopeMissing, "read write"},
		{"two are missing", []string{cel(`jwt.scope.contains("pay") && jwt.scope.contains("write")`)}, `{"scope":"read"}`, call.ScopeMissing, "pay write"},
		{"one of two is enough", []string{cel(`jwt.scope.contains("pay") || jwt.scope.contains("write")`)}, `{"scope":"read"}`, call.ScopeMissing, "pay"},
		{"no scope that may be asked for", []string{cel(`jwt.scope.contains("admin")`)}, `{"scope":"read"}`, none, ""},
		{"one of two may not be asked for", []string{cel(`jwt.scope.contains("write") && jwt.scope.contains("admin")`)}, `{"scope":"read"}`, none, ""},
		{"one of two that it has may not be asked for", []string{cel(`jwt.scope.contains("write") && jwt.scope.contains("admin")`)}, `{"scope":"admin"}`, call.ScopeMissing, "write admin"},
		{"something else is missing too", []string{cel(`jwt.scope.contains("write") && jwt.sub == "alice"`)}, `{"scope":"read","sub":"bob"}`, none, ""},
		{"more scope would forbid it", []string{cel(`!jwt.scope.contains("write") && jwt.sub == "alice"`)}, `{"scope":"write","sub":"alice"}`, none, ""},
		{"the text is not the set", []string{cel(`string(jwt.scope).contains("write")`)}, `{"scope":"read"}`, none, ""},
		{"the first rule that would match", []string{cel(`jwt.scope.contains("admin")`), cel(`jwt.scope.contains("pay")`), cel(`jwt.scope.contains("write")`)}, `{"scope":"read"}`, call.ScopeMissing, "pay"},
		{"another tool", []string{`rules: [{to: [{operation: {tools: [y]}}], when: [{cel: 'jwt.scope.contains("write")'}]}]`}, `{"scope":"read"}`, none, ""},
		{"a key", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: [write]}]}]`}, `{"scope":"read"}`, call.ScopeMissing, "write"},
		{"a key, no scope at all", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: [write]}]}]`}, `{}`, call.ScopeMissing, "write"},
		{"a key with two", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: [admin, write]}]}]`}, `{"scope":"read"}`, call.ScopeMissing, "write"},
		{"two keys", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: [x, read]}, {key: "request.auth.claims[scope]", values: [write]}]}]`}, `{"scope":"read"}`, call.ScopeMissing, "read write"},
		{"a key with a pattern", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: ["w*"]}]}]`}, `{"scope":"read"}`, none, ""},
		{"a key that excludes what is there", []string{`rules: [{when: [{key: "request.auth.claims[scope]", values: [write], notValues: [read]}]}]`}, `{"scope":"read"}`, none, ""},
		{"another claim", []string{`rules: [{when: [{key: "request.auth.claims[groups]", values: [write]}]}]`}, `{"groups":["read"]}`, none, ""},
		{"DENY comes first", []string{cel(`jwt.scope.contains("write")`), `{action: DENY, rules: [{}]}`}, `{"scope":"read"}`, none, ""},
		{"a DENY asks for it", []string{`{action: DENY, rules: [{when: [{cel: '!jwt.scope.contains("write")'}]}]}`}, `{"scope":"read"}`, none, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := asking(t, tt.specs...), claiming("x", tt.claims)
			v := inspect(t, s, c)
			if got := strings.Join(v.Scopes, " "); v.Code != tt.code || got != tt.scopes {
				t.Errorf("got %q %q (%s), want %q %q", v.Code, got, v.Reason, tt.code, tt.scopes)
			}
			if again := inspect(t, s, c); !slices.Equal(again.Scopes, v.Scopes) {
				t.Errorf("the second time: got %q", again.Scopes)
			}
			want := "" // lists show what a caller may use, or is told how to
			if tt.code == "" || tt.code == call.ScopeMissing {
				want = "x"
			}
			l := lifecycle("tools/list", call.List)
			l.Claims = c.Claims
			if got := strings.Join(shown(t, s, l, list(call.Tool, "x")), " "); got != want {
				t.Errorf("the list shows %q, want %q", got, want)
			}
		})
	}
}

// Nobody is asked to come back with more where nothing says what may be asked for, and nobody who has no token.
func TestNoStepUp(t *testing.T) {
	rule := cel(`jwt.scope.contains("write")`)
	wantCode(t, inspect(t, stage(t, rule), claiming("x", `{"scope":"read"}`)), call.EntitlementDenied)
	wantCode(t, inspect(t, asking(t, rule), tool("x")), call.EntitlementDenied)
	wantCode(t, inspect(t, asking(t, rule), with(raw(), func(c *call.Call) { c.Claims = claiming("x", `{"scope":"read"}`).Claims })), call.EntitlementDenied)
}
