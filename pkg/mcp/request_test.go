package mcp_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

func sentinel(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// The numbers are those of the contract's table of inputs (mcp-a2a section 13). What belongs to the strict reader alone is
// tested there; here stands how it looks on MCP's transport. rpc 0 means that the answer is text or nothing.
func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name        string
		r           *request
		status, rpc int
		code        call.Code
	}{
		{"013_01_empty_body", legacy().with(legacyBody, ""), 400, -32700, call.Malformed},
		{"013_02_body_null", legacy().with(legacyBody, "null"), 400, -32600, call.Malformed},
		{"013_03_truncated", legacy().with("}}}", ""), 400, -32700, call.Malformed},
		{"013_05_two_objects", legacy().with(legacyBody, legacyBody+legacyBody), 400, -32700, call.Malformed},
		{"013_06_trailing_nul", legacy().with("}}}", "}}}\x00"), 400, -32700, call.Malformed},
		{"013_08_bom", legacy().with(legacyBody, "\xef\xbb\xbf"+legacyBody), 400, -32700, call.Malformed},
		{"013_09_utf16_le", legacy().with(legacyBody, "{\x00\"\x00j\x00"), 415, -32600, call.Malformed},
		{"013_09_utf16_be", legacy().with(legacyBody, "\x00{\x00\""), 415, -32600, call.Malformed},
		{"013_09_utf16_bom", legacy().with(legacyBody, "\xff\xfe{\x00"), 415, -32600, call.Malformed},
		{"013_09_utf32", legacy().with(legacyBody, "\x00\x00\x00{"), 415, -32600, call.Malformed},
		{"013_09_utf16_label", legacy().set("Content-Type", "application/json; charset=utf-16"), 415, -32600, call.Malformed},
		{"013_10_latin1_label", legacy().set("Content-Type", "application/json; charset=iso-8859-1"), 415, -32600, call.Malformed},
		{"013_10_utf7_label", legacy().set("Content-Type", `application/json; charset="utf-7"`), 415, -32600, call.Malformed},
		{"013_12_invalid_utf8", legacy().with("read", "re\xffad"), 400, -32700, call.Malformed},
		{"013_14_lone_surrogate", legacy().with("read", `\ud800`), 400, -32700, call.Malformed},
		{"013_16_raw_control", legacy().with("read", "re\x01ad"), 400, -32700, call.Malformed},
		{"013_17_nul_in_name", legacy().with("read", `re\u0000ad`), 400, -32602, call.Malformed},
		{"013_17_nul_in_uri", legacy().asks("resources/read", `{"uri":"file:///\u0000"}`), 400, -32602, call.Malformed},
		{"013_17_nul_in_method", legacy().with("tools/call", `tools/call\u0000`), 400, -32602, call.Malformed},
		{"013_17_nul_in_method_of_notification", legacy().with(`"id":1,`, "").with("tools/call", `notifications/\u0000`), 400, -32602, call.Malformed},
		{"013_19_gzip", legacy().set("Content-Encoding", "gzip"), 415, -32600, call.Malformed},
		{"013_19_zstd", legacy().set("Content-Encoding", "zstd"), 415, -32600, call.Malformed},
		{"013_21_two_encodings", legacy().set("Content-Encoding", "identity", "gzip"), 415, -32600, call.Malformed},
		{"013_21_encoding_list", legacy().set("Content-Encoding", "identity, gzip"), 415, -32600, call.Malformed},
		{"013_22_no_type", legacy().unset("Content-Type"), 415, -32600, call.Malformed},
		{"013_22_text", legacy().set("Content-Type", "text/plain"), 415, -32600, call.Malformed},
		{"013_22_jsonp", legacy().set("Content-Type", "application/jsonp"), 415, -32600, call.Malformed},
		{"013_22_vendor_json", legacy().set("Content-Type", "application/vnd.x+json"), 415, -32600, call.Malformed},
		{"013_22_two_lines", legacy().set("Content-Type", "application/json", "application/json"), 415, -32600, call.Malformed},
		{"013_22_list", legacy().set("Content-Type", "application/json, text/plain"), 415, -32600, call.Malformed},
		{"013_22_other_parameter", legacy().set("Content-Type", "application/json; profile=x"), 415, -32600, call.Malformed},
		{"013_25_depth_in_arguments", legacy().with(`"a"`, strings.Repeat("[", 600)+strings.Repeat("]", 600)), 400, -32600, call.TooLarge},
		{"013_31_duplicate_name", legacy().with(`"name"`, `"name":"safe","name"`), 400, -32600, call.Ambiguous},
		{"013_33_METHOD", legacy().with(`"method"`, `"METHOD":"ping","method"`), 400, -32600, call.Ambiguous},
		{"013_35_param_long_s", legacy().with(`"params"`, `"paramſ"`), 400, -32600, call.Ambiguous},
		{"013_35_kelvin_in_params", legacy().asks("tasks/get", `{"tasKId":"safe","taskId":"x"}`), 400, -32600, call.Ambiguous},
		{"013_35_twin_of_name", legacy().with(`"name"`, `"NAME":"safe","name"`), 400, -32600, call.Ambiguous},
		{"013_35_twin_of_meta_version", modern().with(`"io.modelcontextprotocol/clientCap`, `"IO.modelcontextprotocol/protocolVersion":"2025-06-18","io.modelcontextprotocol/clientCap`), 400, -32600, call.Ambiguous},
		{"013_36_duplicate_in_arguments", legacy().with(`"path":"a"`, `"path":"a","path":"b"`), 400, -32600, call.Ambiguous},
		{"013_39_unknown_top_level", legacy().with(`"params"`, `"x":1,"params"`), 400, -32600, call.Malformed},
		{"013_42_id_null", legacy().with(`"id":1`, `"id":null`), 400, -32600, call.Malformed},
		{"013_43_id_absent", legacy().with(`"id":1,`, ``), 400, -32600, call.Malformed},
		{"013_44_id_fraction", legacy().with(`"id":1`, `"id":1.5`), 400, -32600, call.Malformed},
		{"013_51_notification_with_id", legacy().asks("notifications/initialized", "{}"), 400, -32600, call.Malformed},
		{"013_51_unknown_notification_with_id", legacy().asks("notifications/x", "{}"), 400, -32600, call.Malformed},
		{"013_56_upper_case_method", legacy().with("tools/call", "Tools/Call"), 200, -32601, call.EntitlementDenied},
		{"013_56_trailing_space", legacy().with("tools/call", "tools/call "), 200, -32601, call.EntitlementDenied},
		{"013_56_double_slash", legacy().with("tools/call", "tools//call"), 200, -32601, call.EntitlementDenied},
		{"013_56_modern", modern().asks("Tools/Call", "{}"), 404, -32601, call.EntitlementDenied},
		{"013_57_empty_method", legacy().with("tools/call", ""), 400, -32600, call.Malformed},
		{"013_60_name_missing", legacy().with(`"name":"read",`, ""), 200, -32602, call.Malformed},
		{"013_60_name_null", legacy().with(`"read"`, "null"), 200, -32602, call.Malformed},
		{"013_60_name_number", legacy().with(`"read"`, "1"), 200, -32602, call.Malformed},
		{"013_60_name_object", legacy().with(`"read"`, "{}"), 200, -32602, call.Malformed},
		{"013_60_name_empty", legacy().with("read", ""), 200, -32602, call.Malformed},
		{"013_60_name_missing_modern", modern().with(`"name":"read",`, ""), 400, -32602, call.Malformed},
		{"013_60_no_params", legacy().with(`,"params":{"name":"read","arguments":{"path":"a"}}`, ""), 200, -32602, call.Malformed},
		{"013_63_name_10KiB", legacy().with("read", strings.Repeat("r", 10<<10)), 200, -32602, call.Malformed},
		{"013_64_arguments_array", legacy().with(`{"path":"a"}`, "[]"), 200, -32602, call.Malformed},
		{"013_64_arguments_string", legacy().with(`{"path":"a"}`, `"x"`), 200, -32602, call.Malformed},
		{"013_64_arguments_null_modern", modern().with(`{"path":"a"}`, "null"), 400, -32602, call.Malformed},
		{"013_66_ref_unknown", legacy().asks("completion/complete", `{"ref":{"type":"ref/tool","name":"x"}}`), 200, -32602, call.Malformed},
		{"013_66_ref_both", legacy().asks("completion/complete", `{"ref":{"type":"ref/prompt","name":"x","uri":"y"}}`), 200, -32602, call.Malformed},
		{"013_66_ref_missing", legacy().asks("completion/complete", `{}`), 200, -32602, call.Malformed},
		{"013_66_ref_twin", legacy().asks("completion/complete", `{"ref":{"type":"ref/prompt","name":"x","Name":"y"}}`), 400, -32600, call.Ambiguous},
		{"013_66_argument_array", legacy().asks("completion/complete", `{"ref":{"type":"ref/prompt","name":"x"},"argument":[]}`), 200, -32602, call.Malformed},
		{"013_68_listen_not_an_array", modern().asks("subscriptions/listen", `{"notifications":{"resourceSubscriptions":"a:b"}}`), 400, -32602, call.Malformed},
		{"013_68_listen_twin", modern().asks("subscriptions/listen", `{"notifications":{"ResourceSubscriptions":["a:b"]}}`), 400, -32600, call.Ambiguous},
		{"013_70_batch", legacy().with(legacyBody, "["+legacyBody+"]"), 400, -32600, call.Malformed},
		{"013_71_empty_array", legacy().with(legacyBody, "[]"), 400, -32600, call.Malformed},
		{"013_72_batch_with_initialize", legacy().with(legacyBody, `[{"jsonrpc":"2.0","id":1,"method":"initialize"}]`).unset("Mcp-Protocol-Version"), 400, -32600, call.Malformed},
		{"013_73_modern_body_without_header", modern().unset("Mcp-Protocol-Version"), 400, -32020, call.Ambiguous},
		{"013_74_legacy_header_modern_body", modern().set("Mcp-Protocol-Version", "2025-06-18"), 400, -32020, call.Ambiguous},
		{"013_75_modern_header_legacy_body", modern().with(`Version":"2026-07-28"`, `Version":"2025-06-18"`), 400, -32020, call.Ambiguous},
		{"013_76_modern_header_no_meta", legacy().set("Mcp-Protocol-Version", "2026-07-28").set("Mcp-Method", "tools/call").set("Mcp-Name", "read"), 400, -32602, call.Malformed},
		{"013_76_meta_version_number", modern().with(`Version":"2026-07-28"`, `Version":20260728`), 400, -32602, call.Malformed},
		{"013_76_meta_array", legacy().with(`"name"`, `"_meta":[],"name"`), 400, -32602, call.Malformed},
		{"013_77_no_capabilities", modern().with(`,"io.modelcontextprotocol/clientCapabilities":{}`, ""), 400, -32602, call.Malformed},
		{"013_77_capabilities_array", modern().with(`Capabilities":{}`, `Capabilities":[]`), 400, -32602, call.Malformed},
		{"013_78_no_mcp_method", modern().unset("Mcp-Method"), 400, -32020, call.Ambiguous},
		{"013_79_mcp_method_upper_case", modern().set("Mcp-Method", "TOOLS/CALL"), 400, -32020, call.Ambiguous},
		{"013_80_no_mcp_name", modern().unset("Mcp-Name"), 400, -32020, call.Ambiguous},
		{"013_81_mcp_name_differs", modern().set("Mcp-Name", "safe"), 400, -32020, call.Ambiguous},
		{"013_82_two_mcp_names", modern().set("Mcp-Name", "read", "read"), 400, -32020, call.Ambiguous},
		{"013_82_two_mcp_methods", modern().set("Mcp-Method", "tools/call", "tools/call"), 400, -32020, call.Ambiguous},
		{"013_82_two_versions", modern().set("Mcp-Protocol-Version", "2025-06-18", "2026-07-28"), 400, -32020, call.Ambiguous},
		{"013_82_two_sessions_modern", modern().set("Mcp-Session-Id", "a", "b"), 400, -32020, call.Ambiguous},
		{"013_82_two_sessions_legacy", legacy().set("Mcp-Session-Id", "a", "b"), 400, 0, call.Ambiguous},
		{"013_82_two_versions_legacy", legacy().set("Mcp-Protocol-Version", "2025-06-18", "2025-03-26"), 400, 0, call.Ambiguous},
		{"013_84_sentinel_bad_padding", modern().set("Mcp-Name", "=?base64?cmVhZA=?="), 400, -32020, call.Ambiguous},
		{"013_84_sentinel_bad_alphabet", modern().set("Mcp-Name", "=?base64?cm*hZA==?="), 400, -32020, call.Ambiguous},
		{"013_84_sentinel_loose_bits", modern().set("Mcp-Name", "=?base64?cmVhZB==?="), 400, -32020, call.Ambiguous},
		{"013_84_sentinel_of_another", modern().set("Mcp-Name", sentinel("safe")), 400, -32020, call.Ambiguous},
		{"013_85_sentinel_upper_case", modern().set("Mcp-Name", strings.Replace(sentinel("read"), "base64", "BASE64", 1)), 400, -32020, call.Ambiguous},
		{"013_85_sentinel_no_suffix", modern().set("Mcp-Name", "=?base64?cmVhZA=="), 400, -32020, call.Ambiguous},
		{"013_88_legacy_mcp_name_differs", legacy().set("Mcp-Name", "safe"), 400, -32600, call.Ambiguous},
		{"013_88_legacy_mcp_method_differs", legacy().set("Mcp-Method", "tools/list"), 400, -32600, call.Ambiguous},
		{"013_89_version_next_day", legacy().set("Mcp-Protocol-Version", "2026-07-29"), 400, -32022, call.UnsupportedVersion},
		{"013_89_version_zzz", legacy().set("Mcp-Protocol-Version", "zzz"), 400, -32022, call.UnsupportedVersion},
		{"013_89_version_1999", legacy().set("Mcp-Protocol-Version", "1999-01-01"), 400, -32022, call.UnsupportedVersion},
		{"013_89_version_empty", legacy().set("Mcp-Protocol-Version", ""), 400, -32022, call.UnsupportedVersion},
		{"013_89_version_in_meta", legacy().with(`"name"`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2027-01-01"},"name"`), 400, -32022, call.UnsupportedVersion},
		{"013_90_batch_modern", modern().with(modernBody, "["+modernBody+"]"), 400, -32600, call.Malformed},
		{"013_91_initialize_modern", modern().asks("initialize", "{}"), 404, -32601, call.EntitlementDenied},
		{"response_modern", modern().with(modernBody, `{"jsonrpc":"2.0","id":1,"result":{}}`), 400, -32600, call.Malformed},
		{"013_93_get_with_body", get("text/event-stream", "x"), 400, 0, call.Malformed},
		{"013_94_put", legacy().as("PUT"), 405, 0, call.Malformed},
		{"013_94_patch", legacy().as("PATCH"), 405, 0, call.Malformed},
		{"013_94_trace", legacy().as("TRACE"), 405, 0, call.Malformed},
		{"013_94_connect", legacy().as("CONNECT"), 405, 0, call.Malformed},
		{"013_95_websocket", legacy().as("GET").set("Upgrade", "websocket").set("Sec-Websocket-Protocol", "mcp"), 403, 0, call.EntitlementDenied},
		{"013_95_websocket_key_only", legacy().as("GET").set("Sec-Websocket-Key", "x"), 403, 0, call.EntitlementDenied},
		{"013_97_session_space", legacy().set("Mcp-Session-Id", "a b"), 400, -32600, call.Malformed},
		{"013_97_session_not_ascii", legacy().set("Mcp-Session-Id", "ä"), 400, -32600, call.Malformed},
		{"013_97_session_2KiB", legacy().set("Mcp-Session-Id", strings.Repeat("s", 2<<10)), 400, -32600, call.Malformed},
		{"013_97_session_on_get", legacy().as("GET").set("Mcp-Session-Id", "a b"), 400, -32600, call.Malformed},
		{"013_100_token_in_query", query("access_token=x"), 400, 0, call.Malformed},
		{"013_100_token_escaped", query("a=1&access%5Ftoken=x"), 400, 0, call.Malformed},
		{"013_100_token_after_semicolon", query("a=%zz;Access_Token=x"), 400, 0, call.Malformed},
		{"version_unknown_on_get", legacy().as("GET").set("Mcp-Protocol-Version", "2027-01-01"), 400, -32022, call.UnsupportedVersion},
		{"client_sends_a_server_method", legacy().asks("sampling/createMessage", "{}"), 200, -32601, call.EntitlementDenied},
		{"unknown_notification", legacy().with(`"id":1,`, "").with("tools/call", "notifications/x"), 202, 0, call.EntitlementDenied},
		{"server_notification_from_client", legacy().with(`"id":1,`, "").with("tools/call", "notifications/message"), 202, 0, call.EntitlementDenied},
		{"unknown_method_without_id", legacy().with(`"id":1,`, "").with("tools/call", "foo/bar"), 202, 0, call.EntitlementDenied},
		{"task_by_both_names", legacy().asks("tasks/get", `{"taskId":"t","id":"t"}`), 400, -32600, call.Ambiguous},
		{"task_by_neither_name", legacy().asks("tasks/get", `{}`), 400, -32600, call.Ambiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, r := tt.r.decode(mcp.Options{})
			if m != nil || r == nil {
				t.Fatalf("Decode = %+v, %v; want a refusal", m, r)
			}
			if r.Status != tt.status || r.Code != tt.code || r.Reason == "" {
				t.Errorf("refused with %d %s because %q, want %d %s and a reason", r.Status, r.Code, r.Reason, tt.status, tt.code)
			}
			if got := rpcCode(t, r); got != tt.rpc {
				t.Errorf("JSON-RPC code %d, want %d: %s", got, tt.rpc, r.Body)
			}
		})
	}
}

func get(accept, body string) *request {
	r := legacy().as("GET").set("Accept", accept)
	r.body = body
	return r
}

func query(q string) *request {
	r := legacy()
	r.Query = q
	return r
}

// rpcCode returns the code of the JSON-RPC error in an answer, 0 if it is no JSON-RPC message.
func rpcCode(t *testing.T, r *mcp.Response) int {
	t.Helper()
	if r.Header.Get("Content-Type") != "application/json" {
		return 0
	}
	m, err := jsonrpc.Parse(r.Body, jsonrpc.ResponseLimits())
	if err != nil {
		t.Fatalf("our own answer %s: %v", r.Body, err)
	}
	o, _ := jsonrpc.Members(m.Error)
	n := 0
	for _, c := range o.Get("code")[1:] { // all of ours are negative
		n = n*10 - int(c-'0')
	}
	return n
}

func TestDecodeAccepts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		r      *request
		method string
		target call.Target
	}{
		{"013_07_trailing_newline", legacy().with("}}}", "}}}\n"), "tools/call", tool("read")},
		{"013_11_charset_utf8", legacy().set("Content-Type", "application/json; charset=UTF-8"), "tools/call", tool("read")},
		{"013_15_surrogate_pair", legacy().with("read", `\ud83d\ude00`), "tools/call", tool("😀")},
		{"013_20_identity", legacy().set("Content-Encoding", "identity"), "tools/call", tool("read")},
		{"013_23_upper_case_type", legacy().set("Content-Type", "APPLICATION/JSON;charset=utf-8"), "tools/call", tool("read")},
		{"013_38_proto_in_arguments", legacy().with(`"path"`, `"__proto__"`), "tools/call", tool("read")},
		{"013_41_escaped_spelling", legacy().with("tools/call", `tools\/c\u0061ll`).with(`"name"`, `"n\u0061me"`), "tools/call", tool("read")},
		{"013_47_id_empty", legacy().with(`"id":1`, `"id":""`), "tools/call", tool("read")},
		{"013_61_name_with_space", legacy().with("read", " read "), "tools/call", tool(" read ")},
		{"013_62_name_in_another_case", legacy().with("read", "READ"), "tools/call", tool("READ")},
		{"013_64_arguments_null", legacy().with(`{"path":"a"}`, "null"), "tools/call", tool("read")},
		{"013_65_uri_as_it_is", legacy().asks("resources/read", `{"uri":"file:///a/%2e%2e/b"}`), "resources/read", call.Target{Kind: call.Resource, Name: "file:///a/%2e%2e/b"}},
		{"013_69_unknown_level", legacy().asks("logging/setLevel", `{"level":"loud"}`), "logging/setLevel", call.Target{}},
		{"013_83_good_sentinel", modern().set("Mcp-Name", sentinel("read")), "tools/call", tool("read")},
		{"013_83_sentinel_with_spaces", modern().set("Mcp-Name", " "+sentinel("read")+"\t"), "tools/call", tool("read")},
		{"013_85_literal_sentinel", modern().with(`"read"`, `"=?base64?x"`).set("Mcp-Name", "=?base64?x"), "tools/call", tool("=?base64?x")},
		{"013_84_bad_sentinel_is_the_name", modern().with(`"read"`, `"=?base64?*?="`).set("Mcp-Name", "=?base64?*?="), "tools/call", tool("=?base64?*?=")},
		{"013_86_raw_utf8", modern().with(`"read"`, `"größe"`).set("Mcp-Name", "größe"), "tools/call", tool("größe")},
		{"013_87_modern_with_session", modern().set("Mcp-Session-Id", "x"), "tools/call", tool("read")},
		{"013_88_legacy_with_right_mirrors", legacy().set("Mcp-Name", "read").set("Mcp-Method", "tools/call"), "tools/call", tool("read")},
		{"013_92_modern_ping", modern().asks("ping", "{}"), "ping", call.Target{}},
		{"013_92_modern_subscribe", modern().asks("resources/subscribe", `{"uri":"a:b"}`), "resources/subscribe", call.Target{Kind: call.Resource, Name: "a:b"}},
		{"013_92_modern_subscribe_to_nothing", modern().asks("resources/subscribe", `{}`), "resources/subscribe", call.Target{}},
		{"013_92_modern_tasks_result_of_nothing", modern().asks("tasks/result", `{}`), "tasks/result", call.Target{}},
		{"013_99_origin", legacy().set("Origin", "http://evil"), "tools/call", tool("read")},
		{"legacy_meta_version", legacy().with(`"name"`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"},"name"`), "tools/call", tool("read")},
		{"listen_to_a_task", modern().asks("subscriptions/listen", `{"notifications":{"taskIds":["t"]}}`), "subscriptions/listen", call.Target{Kind: call.Task, Name: "t"}},
		{"listen_to_lists", modern().asks("subscriptions/listen", `{"notifications":{"toolsListChanged":true}}`), "subscriptions/listen", call.Target{}},
		{"completion_for_a_template", legacy().asks("completion/complete", `{"ref":{"type":"ref/resource","uri":"a:{b}"}}`), "completion/complete", call.Target{Kind: call.Resource, Name: "a:{b}"}},
		{"modern_notification_without_meta", modern().with(modernBody, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`).unset("Mcp-Method").unset("Mcp-Name"), "notifications/cancelled", call.Target{}},
		{"get_stream", get("text/event-stream", ""), "GET", call.Target{}},
		{"delete_session", legacy().as("DELETE").set("Mcp-Session-Id", "x"), "DELETE", call.Target{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.r.message(t, mcp.Options{})
			c := filled(m)
			if c.Protocol != call.MCP || c.Method != tt.method || c.Target != tt.target {
				t.Errorf("decoded %s %q %v, want mcp %q %v", c.Protocol, c.Method, c.Target, tt.method, tt.target)
			}
			if got := string(m.Encode(nil)); got != tt.r.body {
				t.Errorf("Encode(nil) = %s, want the bytes as they came", got)
			}
		})
	}
}

func tool(name string) call.Target { return call.Target{Kind: call.Tool, Name: name} }

// The names a server would act on are what a policy sees, in whatever place the method keeps them.
func TestIntent(t *testing.T) {
	for _, row := range mcp.Methods() {
		if row.From&mcp.Client == 0 || row.Notification {
			continue
		}
		params := `{"name":"n","uri":"a:b","ref":{"type":"ref/prompt","name":"n"}}`
		if row.Kind == call.Task {
			params = `{"taskId":"t"}`
		}
		m := legacy().asks(row.Name, params).message(t, mcp.Options{})
		c := filled(m)
		if c.Intent != row.Intent {
			t.Errorf("%s: intent %s, want %s", row.Name, c.Intent, row.Intent)
		}
		if named := c.Target.Name != ""; named != (row.Intent == call.Use && row.Name != "tasks/list") {
			t.Errorf("%s: target %v", row.Name, c.Target)
		}
	}
}

// What is no part of MCP's transport is judged as the plain HTTP it is.
func TestPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		name   string
		r      *request
		path   string
		intent call.Intent
	}{
		{"metrics", get("*/*", ""), "/metrics", call.Use},
		{"browser", get("text/html", ""), "/admin", call.Use},
		{"head", legacy().as("HEAD"), "/", call.Use},
		{"preflight", legacy().as("OPTIONS"), "/mcp", call.Use},
		{"delete_without_session", legacy().as("DELETE"), "/accounts/1", call.Use},
		{"resource_metadata", get("application/json", ""), "/.well-known/oauth-protected-resource/mcp", call.Plumbing},
		{"server_metadata", get("application/json", ""), "/.well-known/oauth-authorization-server", call.Plumbing},
		{"oidc_metadata_under_an_issuer", get("application/json", ""), "/tenant/.well-known/openid-configuration", call.Plumbing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Path = tt.path
			tt.r.unset("Mcp-Protocol-Version")
			m := tt.r.message(t, mcp.Options{})
			want := call.HTTP
			if tt.intent == call.Plumbing { // how a client finds out how to authenticate: whoever may use something here may
				want = call.MCP
			}
			if c := filled(m); c.Protocol != want || c.Method != tt.r.Method || c.Intent != tt.intent || c.Version != "" {
				t.Errorf("decoded %s %s %s %q, want %s %s %s", c.Protocol, c.Method, c.Intent, c.Version, want, tt.r.Method, tt.intent)
			}
			if got := m.Deny(mcp.Denial{Code: call.EntitlementDenied}).Status; got != http.StatusForbidden {
				t.Errorf("denied with %d, want 403", got)
			}
			if got := jsonReply(`{"tools":[]}`).to(m).Mode(); got != mcp.Passthrough {
				t.Errorf("mode %d, want a JSON answer to pass", got)
			}
		})
	}
}

func TestSession(t *testing.T) {
	if c := filled(legacy().set("Mcp-Session-Id", "s").message(t, mcp.Options{})); c.Session != "s" {
		t.Errorf("legacy session %q, want s", c.Session)
	}
	if c := filled(modern().set("Mcp-Session-Id", "s").message(t, mcp.Options{})); c.Session != "" {
		t.Errorf("modern session %q, want none", c.Session)
	}
}

func TestTrace(t *testing.T) {
	const a, b = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	for _, tt := range []struct {
		name, meta, header string
		want               call.Trace
	}{
		{"both", `"traceparent":"` + a + `","tracestate":"x=1"`, b, call.Trace{Parent: a, State: "x=1", Link: b}},
		{"both_the_same", `"traceparent":"` + a + `"`, a, call.Trace{Parent: a}},
		{"header_malformed", `"traceparent":"` + a + `"`, "00-zz", call.Trace{Parent: a}},
		{"header_only", `"a":1`, b, call.Trace{Parent: b, State: "h=2"}},
		{"meta_malformed", `"traceparent":"00-zz"`, b, call.Trace{Parent: b, State: "h=2"}},
		{"meta_zero", `"traceparent":"00-00000000000000000000000000000000-b7ad6b7169203331-01"`, "", call.Trace{}},
		{"meta_number", `"traceparent":7`, "", call.Trace{}},
		{"later_version", `"traceparent":"01-` + a[3:] + `-more"`, "", call.Trace{Parent: "01-" + a[3:] + "-more"}},
		{"version_ff", `"traceparent":"ff-` + a[3:] + `"`, "", call.Trace{}},
		{"state_too_long", `"traceparent":"` + a + `","tracestate":"` + strings.Repeat("x", 513) + `"`, "", call.Trace{Parent: a}},
	} {
		r := legacy().with(`"name"`, `"_meta":{`+tt.meta+`},"name"`)
		if tt.header != "" {
			r.set("Traceparent", tt.header).set("Tracestate", "h=2")
		}
		if got := filled(r.message(t, mcp.Options{})).Trace; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *request
		want string
	}{
		{"replaced", legacy().with(`{"path":"a"}`, ` { "path" : "a" } `), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments": {"x":1} }}`},
		{"added", legacy().with(`,"arguments":{"path":"a"}`, ``), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1}}}`},
		{"instead_of_null", legacy().with(`{"path":"a"}`, `null`), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1}}}`},
		{"completion", legacy().asks("completion/complete", `{"argument":{},"ref":{"type":"ref/prompt","name":"n"}}`), `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"argument":{"x":1},"ref":{"type":"ref/prompt","name":"n"}}}`},
		{"no_arguments_to_replace", legacy().asks("ping", `{}`), `{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}`},
		{"no_body", get("text/event-stream", ""), ""},
	} {
		if got := string(tt.r.message(t, mcp.Options{}).Encode([]byte(`{"x":1}`))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestUpstream(t *testing.T) {
	r := legacy()
	h := http.Header{
		"Accept-Encoding": {"gzip"}, "X-Http-Method-Override": {"DELETE"}, "X-Http-Method": {"PUT"}, "X-Method-Override": {"PUT"},
		"Accept": {"application/json"}, "Last-Event-Id": {"7"},
	}
	r.message(t, mcp.Options{}).Upstream(h)
	if len(h) != 2 || h.Get("Accept") == "" || h.Get("Last-Event-Id") == "" {
		t.Errorf("013_96: forwarded %v, want Accept and Last-Event-Id only", h)
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	l := jsonrpc.RequestLimits()
	l.Bytes = len(legacyBody)
	legacy().message(t, mcp.Options{Request: l})
	l.Bytes--
	_, r := legacy().decode(mcp.Options{Request: l})
	if r == nil || r.Status != 413 || r.Code != call.TooLarge || string(r.Body) != "too_large\n" {
		t.Errorf("013_24: %+v, want 413 as text", r)
	}
}

func TestMethodsBeyondTheTable(t *testing.T) {
	o := mcp.Options{Methods: []string{"x/run"}}
	c := filled(legacy().asks("x/run", `{"name":"n","arguments":{}}`).message(t, o))
	if c.Method != "x/run" || c.Intent != call.Use || c.Target != (call.Target{}) || c.Arguments != nil {
		t.Errorf("decoded %+v, want the method alone", c)
	}
	if _, r := legacy().asks("x/stop", `{}`).decode(o); r == nil || r.Status != 200 || r.Code != call.EntitlementDenied {
		t.Errorf("another one: %+v, want a refusal", r)
	}
}
