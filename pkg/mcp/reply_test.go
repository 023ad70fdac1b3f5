package mcp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

const (
	emptyResult = `{"jsonrpc":"2.0","id":1,"result":{}}`
	toolsResult = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"wire"}]}}`
)

func asking(request string) string {
	return `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":` + request + `},"requestState":"s"}}`
}

func listing() *request       { return legacy().asks("tools/list", "{}") }
func modernListing() *request { return modern().asks("tools/list", "{}") }

// What comes back with the item "wire" hidden: out is what a client sees before an error, fault the upstream's fault.
func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		name  string
		r     *request
		in    reply
		out   string
		fault string
	}{
		{"json", listing(), jsonReply(toolsResult), `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"json_with_charset", listing(), reply{200, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, toolsResult}, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"no_content_type", listing(), reply{200, http.Header{}, toolsResult}, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"under_202", listing(), reply{202, http.Header{"Content-Type": {"application/json"}}, toolsResult}, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"under_404", listing(), reply{404, http.Header{"Content-Type": {"application/json"}}, toolsResult}, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"under_404_as_text", listing(), reply{404, http.Header{"Content-Type": {"text/plain"}}, toolsResult}, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"error", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`), `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`, ""},
		{"sse", listing(), sseReply("data: " + toolsResult + "\n\n"), `data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}` + "\n\n", ""},
		{"other_list_of_another_method", legacy(), jsonReply(toolsResult), toolsResult, ""},
		{"empty_body", listing(), jsonReply(""), "", ""},
		{"text_under_400", listing(), reply{400, http.Header{"Content-Type": {"application/json"}}, "Bad Request\n"}, "Bad Request\n", ""},
		{"oauth_error_under_401", listing(), reply{401, http.Header{"Content-Type": {"application/json"}}, `{"error":"invalid_token","error_description":"x"}`}, `{"error":"invalid_token","error_description":"x"}`, ""},
		{"null_id_under_400", listing(), reply{400, http.Header{"Content-Type": {"application/json"}}, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}`}, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}`, ""},
		{"no_id_under_403", listing(), reply{403, http.Header{"Content-Type": {"application/json"}}, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Invalid Origin"}}`}, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Invalid Origin"}}`, ""},

		{"013_52_id_of_another_type", listing(), jsonReply(strings.Replace(toolsResult, `"id":1`, `"id":"1"`, 1)), "", "a response to another id"},
		{"013_52_id_of_another_value", listing(), jsonReply(strings.Replace(toolsResult, `"id":1`, `"id":2`, 1)), "", "a response to another id"},
		{"013_52_id_of_another_value_under_404", listing(), reply{404, http.Header{}, strings.Replace(toolsResult, `"id":1`, `"id":2`, 1)}, "", "a response to another id"},
		{"013_52_id_null_under_200", listing(), jsonReply(`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`), "", "id is not a printable string of up to 1024 bytes or an integer within 2^53-1"},
		{"013_52_no_id_in_a_stream", listing(), sseReply(`data: {"jsonrpc":"2.0","error":{"code":1,"message":"x"}}` + "\n\n"), "", "a response to another id"},
		{"013_53_result_and_error", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}`), "", "both result and error"},
		{"013_53_neither", listing(), jsonReply(`{"jsonrpc":"2.0","id":1}`), "", "neither method, result nor error"},
		{"013_54_array", listing(), jsonReply("[" + toolsResult + "]"), "", "not one JSON object"},
		{"013_54_array_under_400", listing(), reply{400, http.Header{}, "[" + toolsResult + "]"}, "", "not one JSON object"},
		{"013_55_version_1", listing(), jsonReply(strings.Replace(toolsResult, "2.0", "1.0", 1)), "", `jsonrpc is not "2.0"`},
		{"013_55_result_without_jsonrpc_under_500", listing(), reply{500, http.Header{}, `{"result":{"tools":[]}}`}, "", `jsonrpc is not "2.0"`},
		{"not_json", listing(), jsonReply("hello"), "", "invalid character 'h' at start of value at byte 0"},
		{"json_that_is_no_rpc", listing(), jsonReply(`{"status":"ok"}`), "", `jsonrpc is not "2.0"`},
		{"request_as_json", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), "", "not a response"},
		{"result_in_another_case_under_500", listing(), reply{500, http.Header{}, `{"Result":{"tools":[]}}`}, "", `member "Result" differs from a known one by case only`},
		{"duplicate_result", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[]}}`), "", "duplicate member name"},
		{"result_no_object", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":[]}`), "", "a result that is not an object"},
		{"tools_no_array", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":{"0":{"name":"wire"}}}}`), "", "tools is not an array"},
		{"tools_in_another_case", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"TOOLS":[]}}`), "", "a result member differs from tools by case only"},
		{"utf16", listing(), reply{200, http.Header{"Content-Type": {"application/json; charset=utf-16"}}, toolsResult}, "", "charset is not utf-8"},
		{"two_content_types", listing(), reply{200, http.Header{"Content-Type": {"text/html", "application/json"}}, toolsResult}, "", "Content-Type cannot be read in one way"},
		{"013_114_compressed", listing(), reply{200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, "\x1f\x8b"}, "", "compressed although identity was asked for"},
		{"013_114_compressed_stream", listing(), reply{200, http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"br"}}, "x"}, "", "compressed although identity was asked for"},

		{"013_101_bare_CR_hides_an_event", listing(), sseReply("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\r\rdata: " + toolsResult + "\n\n"), "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"read\"}]}}\n\n", ""},
		{"013_102_several_data_lines", listing(), sseReply("data: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"tools\":[{\"name\":\"wire\"}]}}\n\n"), "data: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"tools\":[]}}\n\n", ""},
		{"013_103_bom", listing(), sseReply("\xef\xbb\xbfdata: " + toolsResult + "\n\n"), `data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}` + "\n\n", ""},
		{"013_104_unterminated", listing(), sseReply("data: " + toolsResult), `data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}` + "\n\n", ""},
		{"013_104_cut_off", listing(), sseReply("data: " + toolsResult[:40]), "", ""},
		{"013_104_unterminated_and_ambiguous", listing(), sseReply(`data: {"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[]}}`), "", "duplicate member name"},
		{"013_106_other_event", listing(), sseReply("event: other\ndata: " + toolsResult + "\n\nevent: messagе\ndata: " + toolsResult + "\n\n"), "", ""},
		{"other_event_with_retry", listing(), sseReply("event: close\nid: 3\nretry: 500\ndata: x\n\n"), "id: 3\nretry: 500\n\n", ""},
		{"message_event", listing(), sseReply("event: message\ndata: " + emptyResult + "\n\n"), "data: " + emptyResult + "\n\n", ""},
		{"013_107_id_with_nul", listing(), sseReply("id: \x00\ndata: " + emptyResult + "\n\n"), "data: " + emptyResult + "\n\n", ""},
		{"013_108_modern_server_request", modern(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}` + "\n\n"), "", "a request from the server, which 2026-07-28 does not have"},
		{"unknown_server_request", legacy(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"x/y"}` + "\n\n"), "", "a request from the server that is not in the table"},
		{"unknown_server_notification", legacy(), sseReply(`data: {"jsonrpc":"2.0","method":"notifications/x"}` + "\n\n"), "", ""},
		{"server_request_without_id", legacy(), sseReply(`data: {"jsonrpc":"2.0","method":"roots/list"}` + "\n\n"), "", "a method whose envelope does not fit it"},
		{"server_notification_with_id", legacy(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"notifications/message"}` + "\n\n"), "", "a method whose envelope does not fit it"},
		{"server_request_with_twin", legacy(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"URL":"x"}}` + "\n\n"), "", "a params member differs from a known one by case only"},
		{"server_task_without_id", legacy(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{}}` + "\n\n"), "", "a task method that names its task by id, or not at all"},
		{"client_method_from_server", legacy(), sseReply(`data: {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}` + "\n\n"), "", "a request from the server that is not in the table"},
		{"garbage_event", listing(), sseReply("data: hello\n\n"), "", "invalid character 'h' at start of value at byte 0"},
		{"013_111_input_request_unknown", modern(), jsonReply(asking(`{"method":"x/y"}`)), "", "an input request that is not in the table"},
		{"013_111_input_request_of_the_client", modern(), jsonReply(asking(`{"method":"tools/call","params":{"name":"x"}}`)), "", "an input request that is not in the table"},
		{"013_111_input_request_notification", modern(), jsonReply(asking(`{"method":"notifications/message"}`)), "", "an input request that is not in the table"},
		{"013_111_input_request_without_method", modern(), jsonReply(asking(`{}`)), "", "an input request without exactly one method"},
		{"013_111_input_request_string", modern(), jsonReply(asking(`"elicitation/create"`)), "", "an input request without exactly one method"},
		{"013_111_input_request_twin", modern(), jsonReply(asking(`{"method":"roots/list","Method":"elicitation/create"}`)), "", "an input request without exactly one method"},
		{"013_111_input_request_params_array", modern(), jsonReply(asking(`{"method":"elicitation/create","params":[]}`)), "", "the params of an input request are not an object"},
		{"013_111_input_request_params_twin", modern(), jsonReply(asking(`{"method":"elicitation/create","params":{"url":"a","URL":"b"}}`)), "", "a params member differs from a known one by case only"},
		{"013_111_input_requests_array", modern(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"inputRequests":[{}]}}`), "", "inputRequests is not an object"},
		{"013_111_legacy_result", legacy(), jsonReply(asking(`1`)), asking(`1`), ""},
		{"013_111_no_input_requests", modern(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{},"requestState":"x"}}`), `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{},"requestState":"x"}}`, ""},
		{"013_111_input_requests_twin", modern(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"InputRequests":{"a":{}}}}`), "", "a member differs from inputRequests by case only"},
		{"013_111_task_notification", modern(), sseReply(`data: {"jsonrpc":"2.0","method":"notifications/tasks","params":{"inputRequests":{"a":{}}}}` + "\n\n"), "", "an input request without exactly one method"},
		{"013_113_name_no_string", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":1},{"name":"read"},{},"x",null]}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"013_113_two_of_an_allowed_name", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"list"},{"na\u006de":"r\u0065ad"}]}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"list"},{"na\u006de":"r\u0065ad"}]}}`, ""},
		{"013_113_two_of_a_denied_name", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wire"},{"name":"list"},{"na\u006de":"w\u0069re"}]}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"list"}]}}`, ""},
		{"013_113_name_with_nul", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read\u0000"},{"name":"read"}]}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}`, ""},
		{"013_113_name_twin", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read","Name":"wire"}]}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`, ""},
		{"013_115_empty_cursor", listing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"","tools":[{"name":"wire"}]}}`), `{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"","tools":[]}}`, ""},
		{"modern_list_private", modernListing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wire"}],"cacheScope": "public" }}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"cacheScope": "private" }}`, ""},
		{"modern_list_uncut", modernListing(), jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[],"cacheScope":"public"}}`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"cacheScope":"public"}}`, ""},

		{"013_109_endpoint_of_another_origin", get("text/event-stream", ""), sseReply("event: endpoint\ndata: http://evil:3000/x\n\n"), "", "an endpoint on another origin"},
		{"013_109_endpoint_of_another_scheme", get("text/event-stream", ""), sseReply("event: endpoint\ndata: https://company-mcp:3000/x\n\n"), "", "an endpoint on another origin"},
		{"013_109_endpoint_with_no_scheme", get("text/event-stream", ""), sseReply("event: endpoint\ndata: //evil/x\n\n"), "", "an endpoint on another origin"},
		{"013_109_endpoint_script", get("text/event-stream", ""), sseReply("event: endpoint\ndata: javascript:alert(1)\n\n"), "", "an endpoint on another origin"},
		{"013_109_endpoint_backslash", get("text/event-stream", ""), sseReply("event: endpoint\ndata: /\\evil/x\n\n"), "", "an endpoint that is no URI"},
		{"013_109_endpoint_here", get("text/event-stream", ""), sseReply("event: endpoint\ndata: http://company-mcp:3000/m?sessionId=1\n\n"), "event: endpoint\ndata: http://company-mcp:3000/m?sessionId=1\n\n", ""},
		{"013_110_second_endpoint", get("text/event-stream", ""), sseReply("event: endpoint\ndata: /m\n\nevent: endpoint\ndata: /n\n\n"), "event: endpoint\ndata: /m\n\n", "an endpoint event out of place"},
		{"endpoint_on_a_post", legacy(), sseReply("event: endpoint\ndata: /m\n\n"), "", "an endpoint event out of place"},
		{"get_without_a_stream", get("text/event-stream", ""), jsonReply(`{"tools":[{"name":"wire"}]}`), "", "no event stream where one was asked for"},
		{"get_405", get("text/event-stream", ""), reply{405, http.Header{"Content-Type": {"text/plain"}}, "no"}, "no", ""},
		{"list_by_shape", get("text/event-stream", ""), sseReply("data: " + strings.Replace(toolsResult, `"id":1`, `"id":"q"`, 1) + "\n\n"), `data: {"jsonrpc":"2.0","id":"q","result":{"tools":[{"name":"read"}]}}` + "\n\n", ""},
		{"two_lists_by_shape", get("text/event-stream", ""), sseReply(`data: {"jsonrpc":"2.0","id":1,"result":{"tools":[],"prompts":[{"name":"wire"}]}}` + "\n\n"), "", "a result with two lists"},
		{"no_list_by_shape", get("text/event-stream", ""), sseReply(`data: {"jsonrpc":"2.0","id":1,"result":{"tools":{"a":1}}}` + "\n\n"), `data: {"jsonrpc":"2.0","id":1,"result":{"tools":{"a":1}}}` + "\n\n", ""},
		{"twin_by_shape", get("text/event-stream", ""), sseReply(`data: {"jsonrpc":"2.0","id":1,"result":{"Skills":[]}}` + "\n\n"), "", "a result member differs from skills by case only"},
		{"junk_to_a_notification", legacy().with(`"id":1,`, "").with("tools/call", "notifications/progress"), jsonReply(`{"ok":true}`), `{"ok":true}`, ""},
		{"delete_with_a_page", legacy().as("DELETE").set("Mcp-Session-Id", "s"), jsonReply(`{"ok":true}`), `{"ok":true}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replies := tt.in.to(tt.r.message(t, mcp.Options{}))
			if replies.Mode() != mcp.Relay {
				t.Fatal("the answer passes unread")
			}
			items, err := collect(replies)
			if got := relayed(items, "wire"); got != tt.out {
				t.Errorf("relayed %q, want %q", got, tt.out)
			}
			want := ""
			if tt.fault != "" {
				want = "mcp: faulty answer: " + tt.fault
			}
			if got := fmt.Sprint(err); err != nil && (got != want || !errors.Is(err, mcp.ErrUpstream)) || err == nil && want != "" {
				t.Errorf("fault %q, want %q", got, want)
			}
		})
	}
}

func TestPassthrough(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *request
		in   reply
	}{
		{"no_content", legacy(), reply{204, http.Header{}, ""}},
		{"not_modified", legacy(), reply{304, http.Header{}, ""}},
		{"html_under_200", legacy(), reply{200, http.Header{"Content-Type": {"text/html"}}, "<p>"}},
		{"head", legacy().as("HEAD"), reply{200, http.Header{"Content-Type": {"text/event-stream"}}, ""}},
		{"plain_get", get("*/*", "").unset("Mcp-Protocol-Version"), jsonReply(`{"result":1}`)},
	} {
		if got := tt.in.to(tt.r.message(t, mcp.Options{})).Mode(); got != mcp.Passthrough {
			t.Errorf("%s: mode %d, want Passthrough", tt.name, got)
		}
	}
	r := get("*/*", "").unset("Mcp-Protocol-Version").message(t, mcp.Options{})
	if sseReply("").to(r).Mode() != mcp.Relay {
		t.Error("a stream passes unread because nobody asked for it")
	}
}

func TestReplyLimits(t *testing.T) {
	l := jsonrpc.ResponseLimits()
	l.Bytes = 64
	o := mcp.Options{Response: l, MaxEvent: 64}
	long := `{"jsonrpc":"2.0","id":1,"result":{"x":"` + strings.Repeat("x", 64) + `"}}`
	for _, tt := range []struct {
		name string
		in   reply
		want string
	}{
		{"013_116_body", jsonReply(long), "mcp: faulty answer: a body over 64 bytes"},
		{"013_116_error_page", reply{500, http.Header{"Content-Type": {"text/html"}}, long}, "mcp: faulty answer: a body over 64 bytes"},
		{"013_105_event", sseReply("data: " + long + "\n\n"), "mcp: faulty answer: an event over 64 bytes"},
	} {
		_, err := collect(tt.in.to(legacy().message(t, o)))
		if fmt.Sprint(err) != tt.want || !errors.Is(err, mcp.ErrUpstream) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestBrokenUpstream(t *testing.T) {
	broken := errors.New("reset")
	for _, media := range []string{"application/json", "text/event-stream"} {
		body := io.MultiReader(strings.NewReader("data: "+emptyResult+"\n\ndata: {"), iotest.ErrReader(broken))
		items, err := collect(legacy().message(t, mcp.Options{}).Replies(200, http.Header{"Content-Type": {media}}, body))
		if !errors.Is(err, broken) || errors.Is(err, mcp.ErrUpstream) {
			t.Errorf("%s: %v after %d items, want the reader's error", media, err, len(items))
		}
	}
}

// A caller may stop between two events; nothing more is read.
func TestStopReading(t *testing.T) {
	body := io.MultiReader(strings.NewReader(": ok\n\n"), iotest.ErrReader(errors.New("read too far")))
	for it, err := range legacy().message(t, mcp.Options{}).Replies(200, http.Header{"Content-Type": {"text/event-stream"}}, body).All() {
		if err != nil {
			t.Fatal(err)
		}
		if it.Reply == nil {
			break
		}
	}
}

func TestWith(t *testing.T) {
	for _, tt := range []struct{ name, event, want string }{
		{"notice", `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}`, `{"jsonrpc":"2.0","method":"notifications/message","params":{"m":1}}`},
		{"notice_without_params", `{"jsonrpc":"2.0","method":"notifications/message"}`, `{"jsonrpc":"2.0","method":"notifications/message","params":{"m":1}}`},
		{"ask", `{"id":1,"jsonrpc":"2.0","method":"elicitation/create","params":{"message":"x"}}`, `{"id":1,"jsonrpc":"2.0","method":"elicitation/create","params":{"m":1}}`},
		{"result", emptyResult, `{"jsonrpc":"2.0","id":1,"result":{"m":1}}`},
		{"error", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`, `{"jsonrpc":"2.0","id":1,"error":{"m":1}}`},
	} {
		items, err := collect(sseReply("id: 7\ndata: " + tt.event + "\n\n").to(legacy().message(t, mcp.Options{})))
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %d items, %v", tt.name, len(items), err)
		}
		if got, want := string(items[0].With([]byte(`{"m":1}`))), "id: 7\ndata: "+tt.want+"\n\n"; got != want {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}

func TestAsksAndAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, event string
		want        call.Call
		answer      string
	}{
		{"sampling", `{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{"maxTokens":1}}`,
			call.Call{Method: "sampling/createMessage", Intent: call.Use, Arguments: []byte(`{"maxTokens":1}`)},
			`{"jsonrpc":"2.0","id":"s","error":{"code":-1,"message":"User rejected sampling request"}}`},
		{"elicitation", `{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{"mode":"url","url":"https://a"}}`,
			call.Call{Method: "elicitation/create", Intent: call.Use, Arguments: []byte(`{"mode":"url","url":"https://a"}`)},
			`{"jsonrpc":"2.0","id":0,"result":{"action":"decline"}}`},
		{"roots", `{"jsonrpc":"2.0","id":1,"method":"roots/list"}`,
			call.Call{Method: "roots/list", Intent: call.Use},
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`},
		{"task", `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}`,
			call.Call{Method: "tasks/get", Intent: call.Use, Target: call.Target{Kind: call.Task, Name: "t"}},
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`},
		{"ping", `{"jsonrpc":"2.0","id":1,"method":"ping"}`,
			call.Call{Method: "ping", Intent: call.Plumbing},
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`},
	} {
		items, err := collect(sseReply("data: " + tt.event + "\n\ndata: " + emptyResult + "\n\n").to(legacy().set("Mcp-Session-Id", "x").message(t, mcp.Options{})))
		if err != nil || len(items) != 2 {
			t.Fatalf("%s: %d items, %v", tt.name, len(items), err)
		}
		if len(items[0].Reply.Asks) != 1 {
			t.Fatalf("%s: asks %d times", tt.name, len(items[0].Reply.Asks))
		}
		got := items[0].Reply.Asks[0]
		tt.want.Protocol, tt.want.Direction, tt.want.Version, tt.want.Session = call.MCP, call.ToClient, "2025-06-18", "x"
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("%s: asks %+v, want %+v", tt.name, *got, tt.want)
		}
		if got := string(items[0].Answer()); got != tt.answer {
			t.Errorf("%s: answered %s, want %s", tt.name, got, tt.answer)
		}
		if got := items[1].Answer(); got != nil {
			t.Errorf("%s: a result is answered with %s", tt.name, got)
		}
	}
}

// In the modern era a server asks within its answer, or within the notification of a task.
func TestInputRequests(t *testing.T) {
	asks := `"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://a"}},"b":{"method":"roots/list"}}`
	for _, tt := range []struct {
		name string
		in   reply
	}{
		{"result", jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required",` + asks + `}}`)},
		{"task", sseReply(`data: {"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t",` + asks + `}}` + "\n\n")},
	} {
		items, err := collect(tt.in.to(modern().message(t, mcp.Options{})))
		if err != nil || len(items) != 1 || len(items[0].Reply.Asks) != 2 {
			t.Fatalf("%s: %d items, %v", tt.name, len(items), err)
		}
		url, roots := items[0].Reply.Asks[0], items[0].Reply.Asks[1]
		if url.Method != "elicitation/create" || url.Direction != call.ToClient || string(url.Arguments) != `{"mode":"url","url":"https://a"}` {
			t.Errorf("%s: asks %+v", tt.name, *url)
		}
		if roots.Method != "roots/list" || roots.Arguments != nil {
			t.Errorf("%s: asks %+v", tt.name, *roots)
		}
		if got := items[0].Answer(); got != nil {
			t.Errorf("%s: answered %s, but nobody waits for one", tt.name, got)
		}
	}
}

// A client can ask for what follows an event with an id, in the eras that have ids.
func TestResumable(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *request
		in   reply
		want bool
	}{
		{"id", legacy(), sseReply("id: 4\ndata: " + emptyResult + "\n\n"), true},
		{"priming", legacy(), sseReply("id: 4\ndata:\n\n"), true},
		{"no_id", legacy(), sseReply("data: " + emptyResult + "\n\n"), false},
		{"empty_id", legacy(), sseReply("id:\ndata: " + emptyResult + "\n\n"), false},
		{"modern", modern(), sseReply("id: 4\ndata: " + emptyResult + "\n\n"), false},
		{"body", legacy(), jsonReply(emptyResult), false},
	} {
		items, err := collect(tt.in.to(tt.r.message(t, mcp.Options{})))
		if err != nil || len(items) != 1 || items[0].Resumable() != tt.want {
			t.Errorf("%s: %d items, %v; want one, resumable %t", tt.name, len(items), err, tt.want)
		}
	}
}
