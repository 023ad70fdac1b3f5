package authz_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
)

func TestResources(t *testing.T) {
	exact := stage(t, `rules: [{to: [{operation: {resources: ["file:///logs/app", "file:///logs/../odd", "db://U@h/x"]}}]}]`)
	prefix := stage(t, `rules: [{to: [{operation: {resources: ["file:///logs/*", "https://files.example/*", "note:*", "*.csv"]}}]}]`)
	const denied, ambiguous = call.EntitlementDenied, call.Ambiguous
	for _, tt := range []struct {
		uri           string
		exact, prefix call.Code
	}{
		{"file:///logs/app", pass, pass},
		{"file:///logs/App", denied, pass},
		{"file:///logs/../odd", pass, ambiguous},
		{"db://U@h/x", pass, ambiguous},
		{"file:///logs/a%20b", denied, pass},
		{"file:///logs/", denied, pass},
		{"file:///etc/passwd", denied, denied},
		{"file:///tmp/x.csv", denied, pass},
		{"https://files.example/a?q=%2f..&r=//", denied, pass},
		{"https://files.example/a#%2e", denied, pass},
		{"note:a", denied, pass},
		{"note:../a", denied, ambiguous},
		{"note:a/./b", denied, ambiguous},
		{"file:///logs/..", denied, ambiguous},
		{"file:///logs/%2e%2e/etc", denied, ambiguous},
		{"file:///logs/%2E/etc", denied, ambiguous},
		{"file:///logs/a%2fb", denied, ambiguous},
		{"file:///logs/a%5Cb", denied, ambiguous},
		{"file:///logs/a%00", denied, ambiguous},
		{"file:///logs/%252e%252e/etc", denied, ambiguous},
		{"file:///logs/%61pp", denied, ambiguous},
		{"file:///logs/%zz", denied, ambiguous},
		{"file:///logs/%2", denied, ambiguous},
		{"file:///logs//app", denied, ambiguous},
		{"file:////logs/app", denied, ambiguous},
		{`file:///logs/..\etc`, denied, ambiguous},
		{"file:///logs/a\nb", denied, ambiguous},
		{"file:///logs/a b", denied, ambiguous},
		{"file:///logs/a\x7f", denied, ambiguous},
		{"FILE:///logs/app", denied, ambiguous},
		{"https://Files.example/a", denied, ambiguous},
		{"https://files.example@evil/a", denied, ambiguous},
		{"https://files%2eexample/a", denied, ambiguous},
		{"", denied, denied},
	} {
		t.Run(tt.uri, func(t *testing.T) {
			wantCode(t, inspect(t, exact, resource(tt.uri)), tt.exact)
			wantCode(t, inspect(t, prefix, resource(tt.uri)), tt.prefix)
		})
	}
}

// One policy with a prefix makes every other policy refuse such URIs, and when counts like to; a dry run does not.
func TestPrefixInForce(t *testing.T) {
	const all, odd = `rules: [{}]`, "file:///a/../b"
	for _, tt := range []struct {
		name, spec string
		want       call.Code
	}{
		{"other action", `{action: DENY, rules: [{to: [{operation: {resources: ["file:///x/*"]}}]}]}`, call.Ambiguous},
		{"opposite", `{action: DENY, rules: [{to: [{operation: {resources: ["*"], notResources: ["*"]}}]}, {to: [{operation: {notResources: ["file:///*"]}}]}]}`, call.Ambiguous},
		{"when", `{action: DENY, rules: [{when: [{key: mcp.resource.uri, values: ["file:///x/*"]}]}]}`, call.Ambiguous},
		{"exact only", `{action: DENY, rules: [{to: [{operation: {resources: ["file:///x"]}}]}]}`, pass},
		{"another kind", `{action: DENY, rules: [{to: [{operation: {prompts: ["x*"]}}]}]}`, pass},
		{"audit", `{action: AUDIT, rules: [{to: [{operation: {resources: ["file:///x/*"]}}]}]}`, pass},
	} {
		t.Run(tt.name, func(t *testing.T) { wantCode(t, inspect(t, stage(t, all, tt.spec), resource(odd)), tt.want) })
	}
}
