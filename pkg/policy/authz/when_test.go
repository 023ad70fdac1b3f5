package authz_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

func TestWhenKeys(t *testing.T) {
	headers := func(c *call.Call, name string, lines ...string) *call.Call {
		c.HTTP.Header[name] = lines
		return c
	}
	for _, tt := range []struct {
		name, when  string
		call        *call.Call
		allow, deny bool // whether an ALLOW and a DENY rule match
	}{
		{"header", `{key: "request.headers[x-team]", values: [blue]}`, tool("x"), true, true},
		{"header differs", `{key: "request.headers[X-TEAM]", values: [red]}`, tool("x"), false, false},
		{"header absent", `{key: "request.headers[x-none]", values: ["*"]}`, tool("x"), false, false},
		{"header absent, opposite", `{key: "request.headers[x-none]", notValues: [a]}`, tool("x"), true, true},
		{"lines that all match", `{key: "request.headers[x-two]", values: [a, b]}`, tool("x"), true, true},
		{"one line of two", `{key: "request.headers[x-two]", values: [a]}`, tool("x"), false, true},
		{"one line of two, the other", `{key: "request.headers[x-two]", values: [b]}`, tool("x"), false, true},
		{"one line of two, opposite", `{key: "request.headers[x-two]", notValues: [a]}`, tool("x"), false, true},
		{"host", `{key: "request.headers[host]", values: ["company-mcp:3000"]}`, tool("x"), true, true},
		{"spoofed host line", `{key: "request.headers[host]", values: [evil]}`, headers(tool("x"), "Host", "evil"), false, false},
		{"header of a raw connection", `{key: "request.headers[x-team]", values: [blue]}`, raw(), false, true},
		{"ip", `{key: source.ip, values: [10.0.0.0/8], notValues: [10.9.0.0/16]}`, tool("x"), true, true},
		{"ip opposite", `{key: source.ip, notValues: [10.0.0.0/8]}`, tool("x"), false, false},
		{"namespace", `{key: source.namespace, values: ["ba*"]}`, raw(), true, true},
		{"service account", `{key: source.serviceAccount, values: [bank/teller]}`, tool("x"), true, true},
		{"service account of another form", `{key: source.serviceAccount, values: ["*"]}`, by(edge, tool("x")), false, false},
		{"principal", `{key: source.principal, values: ["*/teller"]}`, tool("x"), true, true},
		{"trust domain", `{key: source.trustDomain, values: [cluster.local]}`, tool("x"), true, true},
		{"port", `{key: destination.port, values: ["3000"]}`, raw(), true, true},
		{"method", `{key: mcp.methodName, values: [tools/call]}`, tool("x"), true, true},
		{"method of plain HTTP", `{key: mcp.methodName, notValues: [tools/call]}`, web("GET", "/"), false, false},
		{"method of a raw connection", `{key: mcp.methodName, values: [tools/call]}`, raw(), false, true},
		{"method of a lifecycle call", `{key: mcp.methodName, values: [tools/call]}`, initialize(), true, false},
		{"that lifecycle method", `{key: mcp.methodName, values: [initialize]}`, initialize(), true, true},
		{"tool", `{key: mcp.tool.name, values: ["re*"], notValues: [reset]}`, tool("read"), true, true},
		{"another tool", `{key: mcp.tool.name, values: ["re*"], notValues: [reset]}`, tool("reset"), false, false},
		{"tool of a lifecycle call", `{key: mcp.tool.name, notValues: [drop]}`, initialize(), true, false},
		{"tool of a resource", `{key: mcp.tool.name, notValues: [drop]}`, resource("file:///x"), false, false},
		{"tool of plain HTTP", `{key: mcp.tool.name, notValues: [drop]}`, web("GET", "/"), false, false},
		{"resource", `{key: mcp.resource.uri, values: ["file:///x"]}`, resource("file:///x"), true, true},
		{"prompt", `{key: mcp.prompt.name, values: [p]}`, prompt("p"), true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := inspect(t, stage(t, `rules: [{when: [`+tt.when+`]}]`), tt.call).Action == policy.Pass; got != tt.allow {
				t.Errorf("ALLOW matches: got %v, want %v", got, tt.allow)
			}
			if got := inspect(t, stage(t, `{action: DENY, rules: [{when: [`+tt.when+`]}]}`), tt.call).Action == policy.Deny; got != tt.deny {
				t.Errorf("DENY matches: got %v, want %v", got, tt.deny)
			}
		})
	}
}

func TestWhenAllHaveToMatch(t *testing.T) {
	s := stage(t, `rules: [{when: [{key: source.namespace, values: [bank]}, {cel: 'mcp.tool.name == "read"'}]}]`)
	wantCode(t, inspect(t, s, tool("read")), pass)
	wantCode(t, inspect(t, s, tool("drop")), call.EntitlementDenied)
	wantCode(t, inspect(t, s, by(auditor, tool("read"))), call.EntitlementDenied)
}
