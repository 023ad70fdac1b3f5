package mcp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

const handshake = `{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{}},"clientInfo":{"name":"a","version":"1"}}`

// What a keeper of sessions learns of each kind of exchange.
func TestSessionFacts(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		r                    *request
		opens, ends, listens bool
	}{
		{"initialize", legacy().asks("initialize", handshake), true, false, false},
		{"initialized", legacy().with(`"id":1,`, "").with("tools/call", "notifications/initialized"), false, false, false},
		{"call", legacy(), false, false, false},
		{"answer", legacy().with(legacyBody, emptyResult), false, false, false},
		{"get", get("text/event-stream", "").set("Mcp-Session-Id", "s"), false, false, true},
		{"resumed", get("text/event-stream", "").set("Last-Event-Id", "4"), false, false, true},
		{"get_2024", get("text/event-stream", "").unset("Mcp-Protocol-Version"), false, false, true},
		{"plain_get", get("*/*", "").unset("Mcp-Protocol-Version"), false, false, false},
		{"delete", legacy().as("DELETE").set("Mcp-Session-Id", "s"), false, true, false},
		{"delete_of_no_session", legacy().as("DELETE"), false, false, false},
		{"delete_of_a_page", legacy().as("DELETE").unset("Mcp-Protocol-Version"), false, false, false},
		{"modern_delete", legacy().as("DELETE").set("Mcp-Session-Id", "s").set("Mcp-Protocol-Version", "2026-07-28"), false, false, false},
		{"listen", modern().asks("subscriptions/listen", `{}`), false, false, true},
		{"modern_call", modern(), false, false, false},
	} {
		m := tt.r.message(t, mcp.Options{})
		if m.Opens() != tt.opens || m.Ends() != tt.ends || m.Listens() != tt.listens {
			t.Errorf("%s: opens %t, ends %t, listens %t; want %t, %t, %t", tt.name, m.Opens(), m.Ends(), m.Listens(), tt.opens, tt.ends, tt.listens)
		}
	}
}

func TestListing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		r      *request
		method string
		page   bool
	}{
		{"first", listing(), "tools/list", false},
		{"next", legacy().asks("resources/templates/list", `{"cursor":"c"}`), "resources/templates/list", true},
		{"empty_cursor", legacy().asks("prompts/list", `{"cursor":""}`), "prompts/list", true},
		{"null_cursor", legacy().asks("prompts/list", `{"cursor":null}`), "prompts/list", false},
		{"tasks", legacy().asks("tasks/list", `{"cursor":"c"}`), "tasks/list", true},
		{"directory", modern().asks("resources/directory/read", `{"uri":"a:b","cursor":"c"}`), "resources/directory/read", true},
		{"no_list", legacy().with(`"name"`, `"cursor":"c","name"`), "", false},
		{"get", get("text/event-stream", ""), "", false},
	} {
		if method, page := tt.r.message(t, mcp.Options{}).Listing(); method != tt.method || page != tt.page {
			t.Errorf("%s: %q, page %t; want %q, %t", tt.name, method, page, tt.method, tt.page)
		}
	}
}

// 013_98: a session of another principal does not exist, in the form that makes a client begin anew and ends none.
func TestNoSession(t *testing.T) {
	batch := batched(`{"jsonrpc":"2.0","id":"a","method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	for _, tt := range []struct {
		name string
		r    *request
		body string
	}{
		{"013_98_call", legacy(), `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Session not found"}}`},
		{"013_98_notification", legacy().with(`"id":1,`, "").with("tools/call", "notifications/initialized"), "entitlement_denied\n"},
		{"013_98_answer", legacy().with(legacyBody, emptyResult), "entitlement_denied\n"},
		{"013_98_get", get("text/event-stream", ""), "entitlement_denied\n"},
		{"013_98_delete", legacy().as("DELETE"), "entitlement_denied\n"},
		{"013_98_batch", batch, `[{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"Session not found"}}]`},
	} {
		r := tt.r.set("Mcp-Session-Id", "s").message(t, mcp.Options{Batches: true}).NoSession()
		if r.Status != 404 || r.Code != call.EntitlementDenied || string(r.Body) != tt.body {
			t.Errorf("%s: %d %s %q, want 404 %q", tt.name, r.Status, r.Code, r.Body, tt.body)
		}
	}
}

// The record of a session says its revision where a request does not. A modern one is never assumed: it is in each request.
func TestAssumed(t *testing.T) {
	for _, tt := range []struct {
		assumed mcp.Version
		r       *request
		want    string
	}{
		{0, legacy().unset("Mcp-Protocol-Version"), "2025-03-26"},
		{mcp.V2024, legacy().unset("Mcp-Protocol-Version"), "2024-11-05"},
		{mcp.V2511, legacy().unset("Mcp-Protocol-Version"), "2025-11-25"},
		{mcp.V2511, legacy(), "2025-06-18"},
		{mcp.V2607, legacy().unset("Mcp-Protocol-Version"), "2025-03-26"},
		{mcp.V2511, get("text/event-stream", "").unset("Mcp-Protocol-Version"), "2025-11-25"},
		{mcp.V2506, modern(), "2026-07-28"},
	} {
		if got := filled(tt.r.message(t, mcp.Options{Assumed: tt.assumed})).Version; got != tt.want {
			t.Errorf("assumed %s, header %q: %s, want %s", tt.assumed, tt.r.Header.Get("Mcp-Protocol-Version"), got, tt.want)
		}
	}
}

func TestHandshake(t *testing.T) {
	var long, many strings.Builder
	for i := range 70 {
		fmt.Fprintf(&many, `"c%02d":{},`, 69-i)
	}
	fmt.Fprintf(&long, `%q:{},`, strings.Repeat("x", 65))
	asked := legacy().asks("initialize", handshake).unset("Mcp-Protocol-Version").message(t, mcp.Options{})
	result := func(version, capabilities string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":%s,"capabilities":{%s}}}`, version, capabilities)
	}
	for _, tt := range []struct {
		name, in string
		m        *mcp.Message
		ok       bool
		version  mcp.Version
		server   int
	}{
		{"agreed", result(`"2025-06-18"`, `"tools":{},"logging":{}`), asked, true, mcp.V2506, 2},
		{"unknown_version", result(`"2027-01-01"`, ``), asked, true, 0, 0},
		{"no_version", result(`1`, ``), asked, true, 0, 0},
		{"many_and_long", result(`"2024-11-05"`, long.String()+many.String()+`"z":{}`), asked, true, mcp.V2024, 64},
		{"refused", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`, asked, false, 0, 0},
		{"another_method", emptyResult, legacy().message(t, mcp.Options{}), false, 0, 0},
	} {
		items, err := collect(sseReply("data: " + tt.in + "\n\n").to(tt.m))
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %d items, %v", tt.name, len(items), err)
		}
		h, ok := items[0].Handshake()
		if ok != tt.ok || h.Version != tt.version || len(h.Server) != tt.server || !slices.IsSorted(h.Server) {
			t.Errorf("%s: %v %t, want %s and %d names, %t", tt.name, h, ok, tt.version, tt.server, tt.ok)
		}
		if want := []string{"elicitation", "sampling"}; tt.ok && !slices.Equal(h.Client, want) {
			t.Errorf("%s: client %v, want %v", tt.name, h.Client, want)
		}
	}
	_, err := collect(jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26","ProtocolVersion":"2025-06-18"}}`).to(asked))
	if err == nil {
		t.Error("a handshake that two clients read differently is accepted")
	}
}

// A server that asked learns that the answer was refused. Nothing else is answered in its place.
func TestInstead(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"result", `{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}`, `{"jsonrpc":"2.0","id":"s1","error":{"code":-31403,"message":"Not permitted"}}`},
		{"error", `{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"no"}}`, `{"jsonrpc":"2.0","id":0,"error":{"code":-31403,"message":"Not permitted"}}`},
		{"error_without_id", `{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}`, ""},
		{"request", legacyBody, ""},
		{"notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, ""},
		{"batch", `[{"jsonrpc":"2.0","id":0,"result":{}}]`, ""},
	} {
		m := batched().with("[]", tt.body).message(t, mcp.Options{Batches: true})
		if got := string(m.Instead()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := get("text/event-stream", "").message(t, mcp.Options{}).Instead(); got != nil {
		t.Errorf("a GET is replaced by %s", got)
	}
}
