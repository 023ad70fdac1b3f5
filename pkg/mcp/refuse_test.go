package mcp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

// Every reason code has a wire form of its own, and no form uses a number that means something else.
func TestEveryCodeHasAForm(t *testing.T) {
	m := legacy().message(t, mcp.Options{Style: mcp.Explained})
	none := m.Deny(mcp.Denial{Code: "a code without a row"})
	for _, code := range call.Codes() {
		r := m.Deny(mcp.Denial{Code: code})
		if r.Code != code {
			t.Errorf("%s: recorded as %s", code, r.Code)
		}
		if _, err := jsonrpc.Parse(r.Body, jsonrpc.ResponseLimits()); err != nil {
			t.Errorf("%s: %s: %v", code, r.Body, err)
			continue
		}
		if string(r.Body) == string(none.Body) {
			t.Errorf("%s has no row: %s", code, r.Body)
		}
		n := rpcCode(t, r)
		if -32019 <= n && n <= -32000 && n != -32002 || -32099 <= n && n <= -32023 {
			t.Errorf("%s: %d is not ours to use", code, n)
		}
	}
}

func TestDenyForms(t *testing.T) {
	const deny = call.EntitlementDenied
	for _, tt := range []struct {
		name   string
		r      *request
		o      mcp.Options
		d      mcp.Denial
		status int
		body   string
	}{
		{"tool", legacy(), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}}`},
		{"tool_modern", modern(), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}}`},
		{"tool_with_quotes", legacy().with("read", `re\"a\\d\n`), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: re\"a\\d\n"}}`},
		{"policy_error_is_masked_too", legacy(), mcp.Options{}, mcp.Denial{Code: call.PolicyError}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}}`},
		{"ambiguous_is_masked_too", legacy().asks("resources/read", `{"uri":"a:b/../c"}`), mcp.Options{}, mcp.Denial{Code: call.Ambiguous}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Resource not found","data":{"uri":"a:b/../c"}}}`},
		{"resource", legacy().asks("resources/read", `{"uri":"a:b"}`), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Resource not found","data":{"uri":"a:b"}}}`},
		{"resource_modern", modern().asks("resources/read", `{"uri":"a:b"}`).set("Mcp-Name", "a:b"), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}}`},
		{"skill_in_either_era", legacy().asks("skills/get", `{"uri":"a:b"}`), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}}`},
		{"method", legacy().asks("tools/list", "{}"), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`},
		{"method_modern", modern().asks("tools/list", "{}"), mcp.Options{}, mcp.Denial{Code: deny}, 404, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`},
		{"explained", legacy(), mcp.Options{Style: mcp.Explained}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Not permitted","data":{"reason":"policy"}}}`},
		{"result", legacy(), mcp.Options{Style: mcp.Result}, mcp.Denial{Code: call.GuardRejected}, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Rejected (guard_rejected)"}],"isError":true}}`},
		{"result_modern", modern(), mcp.Options{Style: mcp.Result}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Not permitted (entitlement_denied)"}],"isError":true,"resultType":"complete"}}`},
		{"result_is_for_tools", legacy().asks("prompts/get", `{"name":"x"}`), mcp.Options{Style: mcp.Result}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Not permitted","data":{"reason":"policy"}}}`},
		{"rate", legacy(), mcp.Options{}, mcp.Denial{Code: call.RateLimited, Retry: 1500 * time.Millisecond}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-31429,"message":"Too many requests","data":{"reason":"rate_limited","retryAfterMs":1500}}}`},
		{"ticket", legacy(), mcp.Options{}, mcp.Denial{Code: call.ApprovalRequired, Ticket: `t"1`}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Approval is needed","data":{"reason":"approval_required","ticket":"t\"1"}}}`},
		{"unauthenticated", legacy(), mcp.Options{}, mcp.Denial{Code: call.Unauthenticated}, 401, `{"jsonrpc":"2.0","id":1,"error":{"code":-31401,"message":"Authentication is needed","data":{"reason":"unauthenticated"}}}`},
		{"scope_without_challenge", legacy(), mcp.Options{}, mcp.Denial{Code: call.ScopeMissing}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"More scope is needed","data":{"reason":"scope_missing"}}}`},
		{"scope_with_challenge", legacy(), mcp.Options{}, mcp.Denial{Code: call.ScopeMissing, Challenge: `Bearer error="insufficient_scope"`}, 403, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"More scope is needed","data":{"reason":"scope_missing"}}}`},
		{"raw_id", legacy().with(`"id":1`, `"id":"\u0061"`), mcp.Options{}, mcp.Denial{Code: deny}, 200, `{"jsonrpc":"2.0","id":"\u0061","error":{"code":-32602,"message":"Unknown tool: read"}}`},
		{"notification", legacy().with(`"id":1,`, "").with("tools/call", "notifications/progress"), mcp.Options{}, mcp.Denial{Code: call.Unauthenticated}, 202, ""},
		{"response", legacy().with(legacyBody, emptyResult), mcp.Options{}, mcp.Denial{Code: deny}, 202, ""},
		{"get", get("text/event-stream", ""), mcp.Options{}, mcp.Denial{Code: deny}, 405, "entitlement_denied\n"},
		{"get_rate", get("text/event-stream", ""), mcp.Options{}, mcp.Denial{Code: call.RateLimited, Retry: time.Second}, 429, "rate_limited\n"},
		{"get_unauthenticated", get("text/event-stream", ""), mcp.Options{}, mcp.Denial{Code: call.TokenInvalid}, 401, "token_invalid\n"},
		{"only_events", legacy().set("Accept", "text/event-stream"), mcp.Options{}, mcp.Denial{Code: deny}, 200, "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"Unknown tool: read\"}}\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.r.message(t, tt.o).Deny(tt.d)
			if r.Status != tt.status || string(r.Body) != tt.body || r.Code != tt.d.Code {
				t.Errorf("%d %s %s, want %d %s %s", r.Status, r.Code, r.Body, tt.status, tt.d.Code, tt.body)
			}
		})
	}
}

func TestDenyHeaders(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *request
		d    mcp.Denial
		want http.Header
	}{
		{"json", legacy(), mcp.Denial{Code: call.EntitlementDenied}, http.Header{"Content-Type": {"application/json"}}},
		{"any", legacy().set("Accept", "text/event-stream, */*;q=0"), mcp.Denial{Code: call.EntitlementDenied}, http.Header{"Content-Type": {"application/json"}}},
		{"events", legacy().set("Accept", "Text/Event-Stream;q=1"), mcp.Denial{Code: call.EntitlementDenied}, http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"}}},
		{"retry", legacy(), mcp.Denial{Code: call.BudgetExhausted, Retry: 1001 * time.Millisecond}, http.Header{"Content-Type": {"application/json"}, "Retry-After": {"2"}}},
		{"unauthenticated", legacy(), mcp.Denial{Code: call.Unauthenticated}, http.Header{"Content-Type": {"application/json"}, "Www-Authenticate": {"Bearer"}}},
		{"challenge", legacy(), mcp.Denial{Code: call.ScopeMissing, Challenge: "Bearer x"}, http.Header{"Content-Type": {"application/json"}, "Www-Authenticate": {"Bearer x"}}},
		{"stream", get("text/event-stream", ""), mcp.Denial{Code: call.EntitlementDenied}, http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Allow": {"POST"}}},
	} {
		if got := tt.r.message(t, mcp.Options{}).Deny(tt.d).Header; fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A masked refusal says nothing but what the caller said: the same call twice gets the same bytes, whoever denied it and why.
func TestMaskedIsOnlyTheRequest(t *testing.T) {
	a := legacy().message(t, mcp.Options{}).Deny(mcp.Denial{Code: call.EntitlementDenied})
	for _, code := range []call.Code{call.PolicyError, call.Ambiguous} {
		b := legacy().message(t, mcp.Options{}).Deny(mcp.Denial{Code: code, Ticket: "t", Retry: time.Hour, Challenge: "x"})
		if a.Status != b.Status || string(a.Body) != string(b.Body) || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
			t.Errorf("%d %v %s and %d %v %s differ", a.Status, a.Header, a.Body, b.Status, b.Header, b.Body)
		}
	}
}

func TestUnavailableAndFaulty(t *testing.T) {
	request, notification := legacy(), legacy().with(`"id":1,`, "").with("tools/call", "notifications/progress")
	for _, tt := range []struct {
		name   string
		got    *mcp.Response
		status int
		body   string
	}{
		{"unavailable", request.message(t, mcp.Options{}).Unavailable(504), 504, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server is not available"}}`},
		{"unavailable_notification", notification.message(t, mcp.Options{}).Unavailable(503), 503, "upstream_unavailable\n"},
		{"unavailable_stream", get("text/event-stream", "").message(t, mcp.Options{}).Unavailable(503), 503, "upstream_unavailable\n"},
		{"faulty", request.message(t, mcp.Options{}).Faulty(), 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`},
		{"faulty_stream", get("text/event-stream", "").message(t, mcp.Options{}).Faulty(), 502, "upstream_unavailable\n"},
	} {
		if tt.got.Status != tt.status || string(tt.got.Body) != tt.body || tt.got.Code != call.UpstreamUnavailable {
			t.Errorf("%s: %d %s %s, want %d %s", tt.name, tt.got.Status, tt.got.Code, tt.got.Body, tt.status, tt.body)
		}
	}
}

func TestCut(t *testing.T) {
	const masked = `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}}`
	const fault = `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`
	m := legacy().message(t, mcp.Options{})
	for _, tt := range []struct {
		name string
		in   reply
		code call.Code
		want string
	}{
		{"json", jsonReply(""), call.EntitlementDenied, masked},
		{"stream", sseReply(""), call.EntitlementDenied, "data: " + masked + "\n\n"},
		{"stream_fault", sseReply(""), call.UpstreamUnavailable, "data: " + fault + "\n\n"},
		{"stream_guard", sseReply(""), call.GuardRejected, `data: {"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Rejected","data":{"reason":"guard_rejected"}}}` + "\n\n"},
	} {
		if got := string(m.Cut(tt.in.to(m), mcp.Denial{Code: tt.code})); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	stream := get("text/event-stream", "").message(t, mcp.Options{})
	if got := stream.Cut(sseReply("").to(stream), mcp.Denial{Code: call.EntitlementDenied}); got != nil {
		t.Errorf("a stream nobody waits on is cut with %s", got)
	}
}

// Texts for peers carry no rule, no path and none of the operator's words.
func TestRefusalsAreBland(t *testing.T) {
	_, r := modern().set("Mcp-Name", "safe").decode(mcp.Options{})
	if strings.Contains(string(r.Body), "Mcp-Name") || !strings.Contains(r.Reason, "Mcp-Name") {
		t.Errorf("peer reads %s, operator %q", r.Body, r.Reason)
	}
}
