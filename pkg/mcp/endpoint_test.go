package mcp_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// 013_109: where clients POST to, as they resolve it, and what ends the stream.
func TestEndpoint(t *testing.T) {
	for _, tt := range []struct{ name, path, query, host, data, want string }{
		{"013_109_absolute_path", "/sse", "", "", "/message?sessionId=1", "/message?sessionId=1"},
		{"013_109_relative", "/a/sse", "", "", "message?sessionId=1", "/a/message?sessionId=1"},
		{"013_109_up", "/a/b/sse", "", "", "../message", "/a/message"},
		{"013_109_query_only", "/sse", "tenant=a", "", "?s=1", "/sse?s=1"},
		{"013_109_query_of_the_page_is_left", "/sse", "tenant=a", "", "/m", "/m"},
		{"013_109_with_origin", "/sse", "", "", "http://company-mcp:3000/m?s=1", "/m?s=1"},
		{"013_109_with_origin_in_another_case", "/sse", "", "", "HTTP://Company-MCP:3000/m", "/m"},
		{"013_109_default_port_left_out", "/sse", "", "company-mcp:80", "http://company-mcp/m", "/m"},
		{"013_109_default_port_added", "/sse", "", "company-mcp", "http://company-mcp:80/m", "/m"},
		{"013_109_escapes_stay", "/a%20b/sse", "", "", "m%2Fn", "/a%20b/m%2Fn"},
		{"013_109_fragment", "/sse", "", "", "/m?s=1#x", "/m?s=1"},
		{"013_109_empty_query", "/sse", "", "", "/m?", "/m"},
		{"013_109_another_port", "/sse", "", "", "http://company-mcp:3001/m", ""},
		{"013_109_another_host", "/sse", "", "", "http://company-mcp.evil:3000/m", ""},
		{"013_109_user", "/sse", "", "", "http://a@company-mcp:3000/m", ""},
		{"013_109_no_authority", "/sse", "", "", "http:/evil/m", ""},
		{"013_109_control_character", "/sse", "", "", "/m\x01", ""},
		{"013_109_space", "/sse", "", "", "/m n", ""},
	} {
		r := get("text/event-stream", "").unset("Mcp-Protocol-Version")
		r.Path, r.Query = tt.path, tt.query
		if tt.host != "" {
			r.Host = tt.host
		}
		event := "event: endpoint\ndata: " + tt.data + "\n\n"
		items, err := collect(sseReply(event).to(r.message(t, mcp.Options{})))
		if (err != nil) != (tt.want == "") {
			t.Errorf("%s: %v, want fault %t", tt.name, err, tt.want == "")
			continue
		}
		if err != nil {
			continue
		}
		if got, ok := items[0].Endpoint(); got != tt.want || !ok || string(items[0].Bytes()) != event {
			t.Errorf("%s: %q %t, written %q; want %q and the event as it came", tt.name, got, ok, items[0].Bytes(), tt.want)
		}
	}
}

func TestNoEndpoint(t *testing.T) {
	items, err := collect(sseReply("data: " + emptyResult + "\n\n: x\n\n").to(get("text/event-stream", "").message(t, mcp.Options{})))
	if err != nil || len(items) != 2 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	for _, it := range items {
		if uri, ok := it.Endpoint(); ok {
			t.Errorf("an endpoint at %q", uri)
		}
	}
}

// On 2024-11-05 the caller waits on another stream: whatever goes wrong with its POST it must hear there (contract 8.4).
func TestInject(t *testing.T) {
	notice := legacy().with(`"id":1,`, "").with("tools/call", "notifications/initialized")
	for _, tt := range []struct {
		name  string
		r     *request
		style mcp.Style
		code  call.Code
		event string
	}{
		{"masked", legacy(), mcp.Masked, call.EntitlementDenied, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"Unknown tool: read\"}}\n\n"},
		{"explained", legacy(), mcp.Explained, call.RateLimited, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-31429,\"message\":\"Too many requests\",\"data\":{\"reason\":\"rate_limited\"}}}\n\n"},
		{"unavailable", legacy(), mcp.Masked, call.UpstreamUnavailable, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32603,\"message\":\"The server is not available\",\"data\":{\"reason\":\"upstream_unavailable\"}}}\n\n"},
		{"notification", notice, mcp.Masked, call.EntitlementDenied, ""},
		{"answer", legacy().with(legacyBody, emptyResult), mcp.Masked, call.EntitlementDenied, ""},
		{"batch", batched(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":"1","method":"ping"}`), mcp.Masked, call.EntitlementDenied,
			"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n\n" +
				"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"1\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n\n"},
	} {
		event, r := tt.r.message(t, mcp.Options{Style: tt.style, Batches: true}).Inject(mcp.Denial{Code: tt.code})
		if string(event) != tt.event {
			t.Errorf("%s: event %q, want %q", tt.name, event, tt.event)
		}
		if r.Status != 202 || len(r.Body) > 0 || r.Code != tt.code {
			t.Errorf("%s: the POST is answered %d %q (%s), want 202 and nothing", tt.name, r.Status, r.Body, r.Code)
		}
	}
	if event, r := get("text/event-stream", "").message(t, mcp.Options{}).Inject(mcp.Denial{Code: call.EntitlementDenied}); event != nil || r.Status != 405 {
		t.Errorf("a GET: %q, %d; want no event and 405", event, r.Status)
	}
}
