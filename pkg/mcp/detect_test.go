package mcp_test

import (
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

func TestMatches(t *testing.T) {
	bare := func() *request { return legacy().unset("Mcp-Protocol-Version").set("Accept", "*/*") }
	client := func() *request { return bare().set("Accept", "application/json, text/event-stream") }
	for _, tt := range []struct {
		name string
		r    *request
		want bool
	}{
		{"tools_call", bare(), true},
		{"unknown_of_the_family", bare().with("tools/call", "tools/run"), true},
		{"batch", bare().with(legacyBody, "["+legacyBody+"]"), true},
		{"initialize", bare().asks("initialize", `{"protocolVersion":"2025-06-18"}`), true},
		{"initialize_of_a_language_server", bare().asks("initialize", `{"rootUri":"file:///"}`), false},
		{"mcp_task", bare().asks("tasks/get", `{"taskId":"t"}`), true},
		{"a2a_task", bare().asks("tasks/get", `{"id":"t"}`), false},
		{"a2a_message", bare().asks("message/send", `{}`), false},
		{"ethereum", bare().asks("eth_call", `{}`), false},
		{"ping", bare().asks("ping", `{}`), false},
		{"no_rpc", bare().with(`"jsonrpc":"2.0",`, ""), false},
		{"other_json", bare().with(legacyBody, `{"method":"card","total":3}`), false},
		{"no_json", bare().with(legacyBody, `a=b`), false},
		{"empty", bare().with(legacyBody, ``), false},
		{"other_array", bare().with(legacyBody, `[1,{"a":2},null]`), false},

		{"session_header", legacy().as("GET").unset("Mcp-Protocol-Version").set("Mcp-Session-Id", "x"), true},
		{"version_header", legacy().as("DELETE"), true},
		{"method_header", bare().with(legacyBody, "x").set("Mcp-Method", "tools/call"), true},
		{"get", bare().as("GET").set("Accept", "text/event-stream"), false},
		{"path", bare().as("GET"), false},

		{"METHOD", bare().with(`"method"`, `"METHOD"`), true},
		{"duplicate_method", bare().with(`"method"`, `"method":"x","method"`), true},
		{"escaped", bare().with("tools/call", `t\u006fols\/call`), true},
		{"bom", bare().with(legacyBody, "\xef\xbb\xbf"+legacyBody), true},
		{"invalid_utf8", bare().with("read", "\xff"), true},
		{"trailing", bare().with("}}}", "}}}{"), true},
		{"truncated_elsewhere", bare().with("}}}", ""), true},
		{"broken_other_json", bare().with(legacyBody, `{"jsonrpc":"2.0","method":"eth_call",`), false},
		{"gzip_of_a_client", client().set("Content-Encoding", "gzip"), true},
		{"gzip_of_others", bare().set("Content-Encoding", "gzip"), false},
		{"utf16_of_a_client", client().with(legacyBody, "{\x00\"\x00"), true},
		{"too_large_of_a_client", client().with(`"a"`, `"`+strings.Repeat("a", 5<<20)+`"`), true},
		{"too_large_of_others", bare().with(`"a"`, `"`+strings.Repeat("a", 5<<20)+`"`), false},
	} {
		if got := mcp.Matches(&tt.r.Request, []byte(tt.r.body)); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// Contract 14, and who wins where two protocols could claim a message: A2A never takes from MCP what a server of MCP would run.
func TestClassify(t *testing.T) {
	bare := func() *request { return legacy().unset("Mcp-Protocol-Version").set("Accept", "*/*") }
	at := func(method, path string) *request {
		r := bare().as(method)
		r.Path = path
		return r
	}
	rpc := func(method, params string) *request { return bare().asks(method, params) }
	a2a := func(r *request) *request { return r.set("A2a-Version", "1.0") }
	for _, tt := range []struct {
		name string
		r    *request
		want mcp.Shape
	}{
		{"version_header", a2a(at("GET", "/x")), mcp.A2A},
		{"extensions_header", at("GET", "/x").set("A2a-Extensions", "urn:x"), mcp.A2A},
		{"old_extensions_header", at("GET", "/x").set("X-A2a-Extensions", "urn:x"), mcp.A2A},
		{"media_type", at("POST", "/x").set("Content-Type", "Application/A2A+json; charset=utf-8"), mcp.A2A},
		{"card", at("GET", "/.well-known/agent-card.json"), mcp.A2A},
		{"card_under_a_path", at("GET", "/agents/a/.well-known/agent-card.json"), mcp.A2A},
		{"old_card", at("GET", "/.well-known/agent.json"), mcp.A2A},
		{"card_posted", at("POST", "/.well-known/agent.json"), mcp.None},
		{"another_agent_json", at("GET", "/agent.json"), mcp.None},
		{"rest_send", at("POST", "/v1/message:send"), mcp.A2A},
		{"rest_stream", at("POST", "/tenant/message:stream"), mcp.A2A},
		{"rest_escaped_colon", at("POST", "/message%3Asend"), mcp.A2A},
		{"rest_get", at("GET", "/message:send"), mcp.None},
		{"rest_cancel", at("POST", "/tasks/t1:cancel"), mcp.A2A},
		{"rest_subscribe", at("POST", "/v1/tasks/t1:subscribe"), mcp.A2A},
		{"rest_subscribe_by_get", at("GET", "/v1/tasks/t1:subscribe"), mcp.A2A},
		{"rest_task", at("GET", "/tasks/t1"), mcp.None},
		{"rest_cancel_of_nothing", at("POST", "/tasks/:cancel"), mcp.None},
		{"rest_cancel_elsewhere", at("POST", "/jobs/t1:cancel"), mcp.None},
		{"grpc", at("POST", "/lf.a2a.v1.A2AService/SendMessage"), mcp.A2A},
		{"grpc_0.3", at("POST", "/a2a.v1.A2AService/SendMessage"), mcp.A2A},
		{"grpc_to_come", at("POST", "/a2a.v9.A2AService/SendMessage"), mcp.A2A},
		{"grpc_of_others", at("POST", "/x.A2AService/SendMessage"), mcp.None},
		{"grpc_without_a_method", at("POST", "/a2a.v1.A2AService"), mcp.None},
		{"bad_escape", at("GET", "/%zz/.well-known/agent.json"), mcp.A2A},

		{"send", rpc("SendMessage", `{}`), mcp.A2A},
		{"old_send", rpc("message/send", `{}`), mcp.A2A},
		{"oldest_send", rpc("tasks/send", `{"id":"t"}`), mcp.A2A},
		{"push", rpc("tasks/pushNotificationConfig/set", `{"taskId":"t"}`), mcp.A2A},
		{"extended_card", rpc("agent/getAuthenticatedExtendedCard", `{}`), mcp.A2A},
		{"unknown_pascal", rpc("SendMoney", `{}`), mcp.None},
		{"acp", rpc("initialize", `{"protocolVersion":1,"clientCapabilities":{}}`), mcp.None},
		{"initialize_in_another_case", rpc("initialize", `{"ProtocolVersion":"2025-06-18"}`), mcp.MCP},

		{"task_of_mcp", rpc("tasks/get", `{"taskId":"t"}`), mcp.MCP},
		{"task_of_mcp_in_another_case", rpc("tasks/cancel", `{"TASKID":"t"}`), mcp.MCP},
		{"task_of_a2a", rpc("tasks/get", `{"id":"t"}`), mcp.A2A},
		{"task_of_both", rpc("tasks/get", `{"id":"t","taskId":"t"}`), mcp.Unclear},
		{"task_of_neither", rpc("tasks/cancel", `{}`), mcp.Unclear},
		{"tasks", rpc("tasks/list", `{}`), mcp.Unclear},
		{"task_of_both_declared", a2a(rpc("tasks/get", `{"id":"t","taskId":"t"}`)), mcp.Unclear},
		{"task_of_neither_declared", a2a(rpc("tasks/list", `{}`)), mcp.A2A},
		{"task_of_mcp_declared", a2a(rpc("tasks/get", `{"taskId":"t"}`)), mcp.MCP},
		{"task_with_mcp_headers", rpc("tasks/get", `{"id":"t"}`).set("Mcp-Session-Id", "s"), mcp.MCP},
		{"task_of_neither_with_mcp_headers", rpc("tasks/list", `{}`).set("Mcp-Protocol-Version", "2025-11-25"), mcp.MCP},
		{"task_result", rpc("tasks/result", `{}`), mcp.MCP},
		{"task_of_others", rpc("tasks/run", `{"id":"t"}`), mcp.None},
		{"unknown_task_of_mcp", rpc("tasks/run", `{"taskId":"t"}`), mcp.MCP},

		{"mcp_at_a_path_of_a2a", func() *request { r := rpc("tools/call", `{"name":"x"}`); r.Path = "/message:send"; return r }(), mcp.MCP},
		{"mcp_under_headers_of_a2a", a2a(rpc("tools/call", `{"name":"x"}`)), mcp.MCP},
		{"mcp_and_a2a_in_one_array", bare().with(legacyBody, `[{"jsonrpc":"2.0","id":1,"method":"SendMessage"},`+legacyBody+`]`), mcp.MCP},
		{"unclear_and_a2a_in_one_array", bare().with(legacyBody, `[{"jsonrpc":"2.0","id":1,"method":"tasks/list"},{"jsonrpc":"2.0","id":2,"method":"SendMessage"}]`), mcp.Unclear},
		{"two_methods", bare().with(`"method":"tools/call"`, `"method":"SendMessage","Method":"tools/call"`), mcp.MCP},
		{"broken_a2a", bare().with(legacyBody, `{"jsonrpc":"2.0","method":"SendMessage",`), mcp.A2A},
		{"broken_task", a2a(bare().with(legacyBody, `{"jsonrpc":"2.0","method":"tasks/get","params":{"taskId":"t"},"id":1,"id":2}`)), mcp.Unclear},
		{"broken_handshake", bare().with(legacyBody, `{"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"x"},"id":1,"id":2}`), mcp.MCP},
		{"gzip_of_a_client_of_both", a2a(bare().set("Content-Encoding", "gzip").set("Accept", "application/json, text/event-stream")), mcp.MCP},
		{"gzip_of_a2a", a2a(bare().set("Content-Encoding", "gzip")), mcp.A2A},
	} {
		if got := mcp.Classify(&tt.r.Request, []byte(tt.r.body)); got != tt.want {
			t.Errorf("%s: %d %q, want %d %q", tt.name, got, got, tt.want, tt.want)
		}
	}
	names := []string{mcp.None.String(), mcp.A2A.String(), mcp.Unclear.String(), mcp.MCP.String()}
	if want := []string{"", "a2a", "", "mcp"}; fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("names %q, want %q", names, want)
	}
}

// Without a body the headers and the path decide.
func TestClassifyByHead(t *testing.T) {
	for _, tt := range []struct {
		r    *request
		want mcp.Shape
	}{{legacy(), mcp.MCP}, {legacy().unset("Mcp-Protocol-Version"), mcp.None}, {legacy().unset("Mcp-Protocol-Version").set("A2a-Version", "1.0"), mcp.A2A}} {
		if got := mcp.Classify(&tt.r.Request, nil); got != tt.want || mcp.Matches(&tt.r.Request, nil) != (tt.want == mcp.MCP) {
			t.Errorf("%v: %d, want %d", tt.r.Header, got, tt.want)
		}
	}
}

func TestDeclares(t *testing.T) {
	if !mcp.Declares(legacy().Header) || mcp.Declares(legacy().unset("Mcp-Protocol-Version").Header) {
		t.Error("Declares does not go by the headers")
	}
}

// The table is section 5 of the contract, row by row: who sends a method, in which revisions, to what.
func TestMethodTable(t *testing.T) {
	want := strings.TrimSpace(`
initialize client 2024-11-05..2025-11-25 plumbing
server/discover client 2026-07-28.. plumbing
ping both 2024-11-05..2025-11-25 plumbing
tools/list client 2024-11-05.. list tool
tools/call client 2024-11-05.. use tool mirrored
resources/list client 2024-11-05.. list resource
resources/templates/list client 2024-11-05.. list resource
resources/read client 2024-11-05.. use resource mirrored
resources/subscribe client 2024-11-05..2025-11-25 use resource
resources/unsubscribe client 2024-11-05..2025-11-25 use resource
prompts/list client 2024-11-05.. list prompt
prompts/get client 2024-11-05.. use prompt mirrored
completion/complete client 2024-11-05.. use
logging/setLevel client 2024-11-05..2025-11-25 plumbing
subscriptions/listen client 2026-07-28.. plumbing
tasks/get both 2025-11-25.. use task mirrored
tasks/result both 2025-11-25..2025-11-25 use task
tasks/cancel both 2025-11-25.. use task mirrored
tasks/list both 2025-11-25..2025-11-25 use task
tasks/update client 2026-07-28.. use task mirrored io.modelcontextprotocol/tasks
skills/list client 2026-07-28.. list skill io.modelcontextprotocol/skills
skills/get client 2026-07-28.. use skill io.modelcontextprotocol/skills
resources/directory/read client 2026-07-28.. use resource io.modelcontextprotocol/skills
sampling/createMessage server 2024-11-05..2025-11-25 use
elicitation/create server 2025-06-18..2025-11-25 use
roots/list server 2024-11-05..2025-11-25 use
notifications/initialized client 2024-11-05..2025-11-25 plumbing
notifications/cancelled both 2024-11-05..2025-11-25 plumbing
notifications/progress both 2024-11-05.. plumbing
notifications/roots/list_changed client 2024-11-05..2025-11-25 plumbing
notifications/tasks/status both 2025-11-25..2025-11-25 plumbing
notifications/message server 2024-11-05.. plumbing
notifications/tools/list_changed server 2024-11-05.. plumbing
notifications/prompts/list_changed server 2024-11-05.. plumbing
notifications/resources/list_changed server 2024-11-05.. plumbing
notifications/resources/updated server 2024-11-05.. plumbing
notifications/elicitation/complete server 2025-11-25..2025-11-25 plumbing
notifications/subscriptions/acknowledged server 2026-07-28.. plumbing
notifications/tasks server 2026-07-28.. plumbing io.modelcontextprotocol/tasks`)
	var got []string
	for _, row := range mcp.Methods() {
		from := map[mcp.Side]string{mcp.Client: "client", mcp.Server: "server", mcp.Both: "both"}[row.From]
		line := fmt.Sprintf("%s %s %s..%s %s", row.Name, from, row.Since, row.Until, row.Intent)
		for _, more := range []string{string(row.Kind), map[bool]string{true: "mirrored"}[row.Mirrored], row.Extension} {
			if more != "" {
				line += " " + more
			}
		}
		got = append(got, line)
		if row.Notification != strings.HasPrefix(row.Name, "notifications/") {
			t.Errorf("%s: notification %t", row.Name, row.Notification)
		}
		if row.Intent == call.List && row.Kind == call.None {
			t.Errorf("%s lists nothing", row.Name)
		}
	}
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("table:\n%s\nwant:\n%s", text, want)
	}
}

func TestVersions(t *testing.T) {
	for _, s := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		v := mcp.ParseVersion(s)
		if v.String() != s || v.Modern() != (s == "2026-07-28") {
			t.Errorf("%s reads as %s, modern %t", s, v, v.Modern())
		}
	}
	for _, s := range []string{"", "2026-07-29", "zzz", "2025-06-18 ", "2025-6-18"} {
		if v := mcp.ParseVersion(s); v != 0 || v.Modern() {
			t.Errorf("%q reads as %s", s, v)
		}
	}
}
