package authz_test

import (
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
)

func TestArguments(t *testing.T) {
	// What an ALLOW rule and a DENY rule with the same condition say of the same arguments.
	const (
		match   = "match"   // both match
		differ  = "differ"  // neither matches
		against = "against" // decided against the caller: ALLOW does not match, DENY does
		twin    = "twin"    // refused as ambiguous by both
	)
	for _, tt := range []struct {
		name, condition string
		want            map[string]string
	}{
		{"values", `{pointer: /path, values: [/tmp, "/var/*", "*.txt", ""]}`, map[string]string{
			`{"path":"/tmp"}`: match, `{"path":"/var/x"}`: match, `{"path":"/etc/a.txt"}`: match, `{"path":""}`: match, `{"path":"\/tm\u0070"}`: match,
			`{"path":"/etc"}`: differ, `{}`: differ, ``: differ, `{"other":"/tmp"}`: differ,
			`{"path":["/tmp"]}`: against, `{"path":null}`: against, `{"path":7}`: against, `{"path":{"path":"/tmp"}}`: against,
		}},
		{"star", `{pointer: /path, values: ["*"]}`, map[string]string{`{"path":"x"}`: match, `{"path":""}`: differ, `{"path":true}`: against}},
		{"notValues", `{pointer: /path, notValues: ["/etc/*"]}`, map[string]string{
			`{"path":"/tmp"}`: match, `{"path":"/etc/passwd"}`: differ, `{}`: against, `{"path":["/etc/passwd"]}`: against,
		}},
		{"max", `{pointer: /amount, max: 500}`, map[string]string{
			`{"amount":500}`: match, `{"amount":500.0}`: match, `{"amount":5e2}`: match, `{"amount":-1}`: match, `{"amount":0.1}`: match,
			`{"amount":501}`: differ, `{"amount":500.00000000000000000001}`: differ, `{"amount":1e400}`: differ, `{}`: differ,
			`{"amount":"499"}`: against, `{"amount":null}`: against, `{"amount":1e999999999}`: against, `{"amount":[1]}`: against,
			`{"amount":` + strings.Repeat("9", 65) + `}`: against,
		}},
		{"min and max, fractions", `{pointer: /amount, min: "0.10", max: "0.30"}`, map[string]string{
			`{"amount":0.1}`: match, `{"amount":0.3}`: match, `{"amount":0.30000000000000004}`: differ, `{"amount":0.09}`: differ, `{"amount":10e-2}`: match,
		}},
		{"beyond 2^53", `{pointer: /id, min: 9007199254740993, max: 9007199254740993}`, map[string]string{
			`{"id":9007199254740993}`: match, `{"id":9007199254740992}`: differ, `{"id":9007199254740994}`: differ,
		}},
		{"present", `{pointer: /force, present: true}`, map[string]string{`{"force":false}`: match, `{"force":null}`: match, `{}`: differ, ``: differ}},
		{"absent", `{pointer: /force, present: false}`, map[string]string{`{"force":false}`: differ, `{}`: match, ``: match, `[]`: match}},
		{"nested", `{pointer: /items/1/name, values: [b]}`, map[string]string{
			`{"items":[{"name":"a"},{"name":"b"}]}`: match, `{"items":[{"name":"b"}]}`: differ, `{"items":{"1":{"name":"b"}}}`: match,
			`{"items":"b"}`: differ, `{"items":[{},{"Name":"b"}]}`: twin, `{"ITEMS":1}`: twin,
		}},
		{"indices are exact", `{pointer: /items/01, values: [b]}`, map[string]string{`{"items":["a","b"]}`: differ}},
		{"escaped pointer", `{pointer: "/a~1b/~0/", values: [x]}`, map[string]string{`{"a/b":{"~":{"":"x"}}}`: match}},
		{"case twins", `{pointer: /path, values: [/tmp]}`, map[string]string{
			`{"Path":"/etc","path":"/tmp"}`: twin, `{"path":"/tmp","PATH":"/etc"}`: twin, `{"Path":"/tmp"}`: twin, `{"p\u0041th":"/tmp"}`: twin,
		}},
		{"twins beyond ASCII", `{pointer: /kiss, present: true}`, map[string]string{
			"{\"\u212Aiss\":1}": twin, `{"ki\u017fs":1}`: twin, `{"kiss":1,"kisses":2}`: match,
		}},
		{"not JSON as we read it", `{pointer: /a, values: [x]}`, map[string]string{
			`{"a":"x","a":"y"}`: against, `{"a":"x"`: against, "{\"a\":\"\xff\"}": against, `{"b":"\ud800","a":"x"}`: against,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			allow := stage(t, `rules: [{to: [{operation: {arguments: [`+tt.condition+`]}}]}]`)
			deny := stage(t, `{action: DENY, rules: [{to: [{operation: {arguments: [`+tt.condition+`]}}]}]}`)
			for arguments, want := range tt.want {
				t.Run(arguments, func(t *testing.T) {
					c := toolWith("x", arguments)
					allowed, denied := inspect(t, allow, c), inspect(t, deny, c)
					switch want {
					case match:
						wantCode(t, allowed, pass)
						wantCode(t, denied, call.EntitlementDenied)
					case differ:
						wantCode(t, allowed, call.EntitlementDenied)
						wantCode(t, denied, pass)
					case against:
						wantCode(t, allowed, call.EntitlementDenied)
						wantCode(t, denied, call.EntitlementDenied)
					case twin:
						wantCode(t, allowed, call.Ambiguous)
						wantCode(t, denied, call.Ambiguous)
					}
				})
			}
		})
	}
}

func TestArgumentsAllHaveToMatch(t *testing.T) {
	s := stage(t, `rules: [{to: [{operation: {tools: [pay], arguments: [{pointer: /amount, max: 500}, {pointer: /currency, values: [EUR]}]}}]}]`)
	for arguments, want := range map[string]call.Code{
		`{"amount":1,"currency":"EUR"}`:   pass,
		`{"amount":1,"currency":"USD"}`:   call.EntitlementDenied,
		`{"amount":501,"currency":"EUR"}`: call.EntitlementDenied,
		`{"amount":1}`:                    call.EntitlementDenied,
	} {
		t.Run(arguments, func(t *testing.T) { wantCode(t, inspect(t, s, toolWith("pay", arguments)), want) })
	}
}

// A twin is refused only where a rule asks for that argument (contract mcp-a2a 13.37).
func TestTwinWithoutArgumentRule(t *testing.T) {
	s := stage(t, `rules: [{to: [{operation: {tools: [read]}}]}, {to: [{operation: {tools: [pay], arguments: [{pointer: /path, present: true}]}}]}]`)
	wantCode(t, inspect(t, s, toolWith("read", `{"path":1,"Path":2}`)), pass)
	wantCode(t, inspect(t, s, toolWith("pay", `{"path":1,"Path":2}`)), call.Ambiguous)
}
