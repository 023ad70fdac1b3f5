package authz_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// pass stands for "no code" in tables: the call passes.
const pass call.Code = ""

func TestStage(t *testing.T) {
	type judged struct {
		name string
		call *call.Call
		want call.Code
	}
	const denied = call.EntitlementDenied
	for _, tt := range []struct {
		name  string
		specs []string
		calls []judged
	}{
		{"no policy", nil, []judged{{"tool", tool("x"), pass}, {"raw", raw(), pass}, {"web", web("GET", "/"), pass}}},
		{"ALLOW without rules lets nothing pass", []string{`{}`}, []judged{
			{"tool", tool("x"), denied}, {"initialize", initialize(), denied}, {"raw", raw(), denied}, {"web", web("GET", "/"), denied},
		}},
		{"DENY without rules does nothing", []string{`{action: DENY}`}, []judged{{"tool", tool("x"), pass}}},
		{"an empty rule matches everything", []string{`{rules: [{}]}`}, []judged{
			{"tool", tool("x"), pass}, {"raw", raw(), pass}, {"unknown caller", by(identityZero, tool("x")), pass},
		}},
		{"DENY with an empty rule", []string{`{action: DENY, rules: [{}]}`}, []judged{
			{"tool", tool("x"), denied}, {"initialize", initialize(), denied}, {"list", listTools(), denied}, {"raw", raw(), denied},
		}},
		{"tools by name", []string{`rules: [{to: [{operation: {tools: [read, "get_*", "*_info"]}}]}]`}, []judged{
			{"exact", tool("read"), pass}, {"prefix", tool("get_x"), pass}, {"suffix", tool("x_info"), pass},
			{"other", tool("write"), denied}, {"case", tool("Read"), denied}, {"space", tool(" read"), denied},
			{"NUL", tool("read\x00"), denied}, {"resource of that name", resource("read"), denied},
			{"prompt of that name", prompt("read"), denied}, {"raw", raw(), denied}, {"web", web("POST", "/read"), denied},
			{"plumbing", initialize(), pass}, {"list", listTools(), pass},
		}},
		{"skills are resources", []string{`rules: [{to: [{operation: {resources: ["skill://a"]}}]}]`}, []judged{
			{"that one", mcp("skills/get", call.Skill, "skill://a", ""), pass}, {"other", mcp("skills/get", call.Skill, "skill://b", ""), denied},
		}},
		{"a star is any tool that is there", []string{`rules: [{to: [{operation: {tools: ["*"]}}]}]`}, []judged{
			{"tool", tool("x"), pass}, {"resource", resource("file:///x"), denied},
		}},
		{"notTools speaks of tools only", []string{`rules: [{to: [{operation: {notTools: [drop]}}]}]`}, []judged{
			{"other", tool("read"), pass}, {"that one", tool("drop"), denied}, {"resource", resource("file:///x"), denied},
		}},
		{"DENY notTools", []string{`{action: DENY, rules: [{to: [{operation: {notTools: [read]}}]}]}`}, []judged{
			{"that one", tool("read"), pass}, {"other", tool("drop"), denied}, {"resource", resource("file:///x"), pass}, {"initialize", initialize(), pass},
		}},
		{"DENY before ALLOW", []string{`rules: [{}]`, `{action: DENY, rules: [{to: [{operation: {tools: [drop]}}]}]}`}, []judged{
			{"other", tool("read"), pass}, {"denied", tool("drop"), denied}, {"initialize", initialize(), pass}, {"list", listTools(), pass},
			{"raw", raw(), denied}, {"web", web("GET", "/"), pass},
		}},
		{"DENY of tools can be kept from raw connections", []string{`{action: DENY, rules: [{to: [{operation: {protocols: [mcp], tools: [drop]}}]}]}`},
			[]judged{{"raw", raw(), pass}, {"tool", tool("drop"), denied}}},
		{"REQUIRE_APPROVAL refuses", []string{`rules: [{}]`, `{action: REQUIRE_APPROVAL, rules: [{to: [{operation: {tools: [pay]}}]}]}`}, []judged{
			{"tool", tool("pay"), call.ApprovalRequired}, {"other", tool("read"), pass}, {"raw", raw(), call.ApprovalRequired},
		}},
		{"DENY before REQUIRE_APPROVAL", []string{`{action: REQUIRE_APPROVAL, rules: [{}]}`, `{action: DENY, rules: [{}]}`},
			[]judged{{"tool", tool("pay"), denied}}},
		{"AUDIT decides nothing", []string{`{action: AUDIT, rules: [{}]}`}, []judged{{"tool", tool("x"), pass}, {"raw", raw(), pass}}},
		{"methods", []string{`rules: [{to: [{operation: {methods: [tools/call, GET]}}]}]`}, []judged{
			{"tool", tool("x"), pass}, {"resource", resource("file:///x"), denied}, {"web", web("GET", "/"), pass}, {"web post", web("POST", "/"), denied},
			{"plumbing", initialize(), pass}, {"list", listTools(), pass},
		}},
		{"notMethods", []string{`rules: [{to: [{operation: {notMethods: [resources/read]}}]}]`}, []judged{
			{"tool", tool("x"), pass}, {"resource", resource("file:///x"), denied},
		}},
		{"DENY that names a lifecycle method", []string{`{action: DENY, rules: [{to: [{operation: {methods: [tools/list, logging/*]}}]}]}`}, []judged{
			{"list", listTools(), denied}, {"logging", lifecycle("logging/setLevel", call.Plumbing), denied}, {"initialize", initialize(), pass}, {"tool", tool("x"), pass},
		}},
		{"protocols decide what plumbing is for", []string{`rules: [{to: [{operation: {protocols: [http]}}]}]`}, []judged{
			{"initialize", initialize(), denied}, {"web", web("GET", "/"), pass}, {"raw", raw(), denied},
		}},
		{"plumbing still needs the caller", []string{`rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {tools: [read]}}]}]`}, []judged{
			{"initialize", initialize(), pass}, {"stranger", by(auditor, initialize()), denied}, {"stranger lists", by(auditor, listTools()), denied},
		}},
		{"plumbing still needs the port", []string{`rules: [{to: [{operation: {ports: ["8080"], tools: [read]}}]}]`}, []judged{{"initialize", initialize(), denied}}},
		{"tools do not exist in A2A", []string{`rules: [{to: [{operation: {tools: [read]}}]}]`}, []judged{
			{"a2a plumbing", with(base(call.A2A), func(c *call.Call) { c.Intent = call.Plumbing }), denied},
		}},
		{"hosts, paths, ports", []string{`rules: [{to: [{operation: {hosts: ["Company-MCP:*"], paths: [/mcp], notPaths: [/mcp/x], ports: ["3000"]}}]}]`}, []judged{
			{"tool", tool("x"), pass}, {"other path", with(tool("x"), func(c *call.Call) { c.HTTP.Path = "/mcp2" }), denied},
			{"other host", with(tool("x"), func(c *call.Call) { c.HTTP.Host = "other:3000" }), denied},
			{"host in capitals", with(tool("x"), func(c *call.Call) { c.HTTP.Host = "COMPANY-mcp:3000" }), pass},
			{"other port", with(tool("x"), func(c *call.Call) { c.Route.Service.Port = 3001 }), denied},
		}},
		{"notPorts, notHosts", []string{`rules: [{to: [{operation: {notPorts: ["22"], notHosts: [evil]}}]}]`}, []judged{
			{"tool", tool("x"), pass}, {"port", with(tool("x"), func(c *call.Call) { c.Route.Service.Port = 22 }), denied},
			{"host", with(tool("x"), func(c *call.Call) { c.HTTP.Host = "EVIL" }), denied},
		}},
		{"raw connections by port", []string{`rules: [{to: [{operation: {protocols: [tcp], ports: ["3000"]}}]}]`}, []judged{
			{"raw", raw(), pass}, {"tool", tool("x"), denied},
		}},
		{"either of two operations", []string{`rules: [{to: [{operation: {tools: [a]}}, {operation: {prompts: [b]}}]}]`}, []judged{
			{"tool", tool("a"), pass}, {"prompt", prompt("b"), pass}, {"prompt a", prompt("a"), denied},
		}},
		{"the server asks", []string{`{rules: []}`, `{action: DENY, rules: [{to: [{operation: {methods: [sampling/createMessage]}}]}]}`, `{action: DENY, rules: [{from: [{source: {namespaces: [audit]}}]}]}`}, []judged{
			{"named", asks("sampling/createMessage"), denied}, {"other", asks("roots/list"), pass}, {"a rule that names no method", by(auditor, asks("roots/list")), pass},
		}},
		{"the server asks, CEL names the method", []string{`{action: DENY, rules: [{when: [{cel: 'mcp.methodName.startsWith("sampling/")'}]}]}`}, []judged{
			{"named", asks("sampling/createMessage"), denied}, {"other", asks("roots/list"), pass},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stage(t, tt.specs...)
			for _, c := range tt.calls {
				t.Run(c.name, func(t *testing.T) { wantCode(t, inspect(t, s, c.call), c.want) })
			}
		})
	}
}

func asks(method string) *call.Call {
	c := mcp(method, call.None, "", "{}")
	c.Direction = call.ToClient
	return c
}

func wantCode(t *testing.T, v policy.Verdict, want call.Code) {
	t.Helper()
	wantAction := policy.Deny
	if want == pass {
		wantAction = policy.Pass
	}
	if v.Action != wantAction || v.Code != want {
		t.Errorf("got %v %q (%s %s: %s), want %v %q", v.Action, v.Code, v.Policy, v.Rule, v.Reason, wantAction, want)
	}
	if v.Reason == "" {
		t.Error("the verdict has no reason")
	}
}

func TestVerdictExplains(t *testing.T) {
	const allow, deny = `rules: [{to: [{operation: {tools: [read]}}]}, {to: [{operation: {tools: ["get_*"]}}]}]`, `{action: DENY, rules: [{to: [{operation: {tools: [drop]}}]}]}`
	for _, tt := range []struct {
		name, rule, policy, reason string
		specs                      []string
		call                       *call.Call
	}{
		{"allowed", "rules[1]", "bank/p0", "an ALLOW rule matches", []string{allow}, tool("get_x")},
		{"denied", "rules[0]", "bank/p1", `a DENY rule matches "tools/call" of the tool "drop" by cluster.local/ns/bank/sa/teller`, []string{allow, deny}, tool("drop")},
		{"not allowed", "", "", `no ALLOW rule matched "tools/call" of the tool "x\n\x1b" by cluster.local/ns/bank/sa/teller; 2 ALLOW policies apply`, []string{allow, allow}, tool("x\n\x1b")},
		{"one policy", "", "", `no ALLOW rule matched a raw connection from cluster.local/ns/bank/sa/teller; 1 ALLOW policy applies`, []string{allow}, raw()},
		{"unknown caller", "", "", `no ALLOW rule matched "GET" by an unknown caller; 1 ALLOW policy applies`, []string{allow}, by(identityZero, web("GET", "/"))},
		{"nothing applies", "", "", "no ALLOW policy applies, and no other rule matches", nil, tool("x")},
		{"approval", "rules[0]", "bank/p0", `a REQUIRE_APPROVAL rule matches "tools/call" of the tool "x" by cluster.local/ns/bank/sa/teller; there is no way to approve yet, so it is refused`,
			[]string{`{action: REQUIRE_APPROVAL, rules: [{}]}`}, tool("x")},
		{"server asks", "", "", "the server asks, and no DENY rule names the method", nil, asks("roots/list")},
		{"error", "rules[0]", "bank/p0", "a DENY rule could not be evaluated, which counts as a match: cel: no such key: sub",
			[]string{`{action: DENY, rules: [{when: [{cel: 'jwt.sub == "x"'}]}]}`}, tool("x")},
		{"twin", "rules[0]", "bank/p0", `the argument "/path" that a DENY rule asks for is there in another case`,
			[]string{`{action: DENY, rules: [{to: [{operation: {arguments: [{pointer: /path, values: [x]}]}}]}]}`}, toolWith("x", `{"Path":"y"}`)},
		{"URI", "", "", "the resource URI can be read in two ways while a policy compares a prefix or suffix of URIs: its path has a dot segment",
			[]string{`rules: [{to: [{operation: {resources: ["file:///a/*"]}}]}]`}, resource("file:///a/../b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := inspect(t, stage(t, tt.specs...), tt.call)
			if v.Rule != tt.rule || v.Policy != tt.policy || v.Reason != tt.reason {
				t.Errorf("got  %s %s: %s\nwant %s %s: %s", v.Policy, v.Rule, v.Reason, tt.policy, tt.rule, tt.reason)
			}
		})
	}
}
