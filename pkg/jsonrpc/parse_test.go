package jsonrpc_test

import (
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

const toolsCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"a"}}}`

// with returns a tools/call with some of its text replaced.
func with(old, text string) string { return strings.Replace(toolsCall, old, text, 1) }

func nest(n int, open, inner, end string) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"k`)
		b.WriteString(strings.Repeat("x", i%7))
		for d := i; ; d /= 10 {
			b.WriteByte(byte('0' + d%10))
			if d < 10 {
				break
			}
		}
		b.WriteString(`":0`)
	}
	return b.String()
}

// The numbers are those of the contract's table of inputs (mcp-a2a section 13).
var refused = []struct {
	name, text string
	code       int
	reason     call.Code
	cause      string
}{
	{"013_01_empty_body", "", -32700, call.Malformed, "empty text"},
	{"013_01_only_spaces", " \r\n\t", -32700, call.Malformed, "empty text"},
	{"013_02_null", "null", -32600, call.Malformed, "not one JSON object"},
	{"013_02_number", "1", -32600, call.Malformed, "not one JSON object"},
	{"013_02_string", `"x"`, -32600, call.Malformed, "not one JSON object"},
	{"013_03_truncated", toolsCall[:40], -32700, call.Malformed, "text ends early"},
	{"013_04_brace_after", toolsCall + "}", -32700, call.Malformed, `invalid character '}' at start of value at byte 96`},
	{"013_04_letter_after", toolsCall + "x", -32700, call.Malformed, `invalid character 'x' at start of value at byte 96`},
	{"013_04_literal_after", toolsCall + "null", -32700, call.Malformed, "bytes after the value"},
	{"013_05_two_objects", toolsCall + toolsCall, -32700, call.Malformed, "bytes after the value"},
	{"013_06_trailing_nul", toolsCall + "\x00", -32700, call.Malformed, `invalid character '\x00' at start of value at byte 96`},
	{"013_08_bom", "\xef\xbb\xbf" + toolsCall, -32700, call.Malformed, `invalid character '\ufeff' at start of value at byte 0`},
	{"013_12_invalid_utf8", with("read", "re\xffad"), -32700, call.Malformed, "invalid UTF-8 at byte 66"},
	{"013_13_overlong_slash", with("tools/", "tools\xc0\xaf"), -32700, call.Malformed, "invalid UTF-8 at byte 39"},
	{"013_14_lone_surrogate", with(`"a"`, `"\ud800"`), -32700, call.Malformed, "invalid surrogate pair `\\ud800\"}}}` in string at byte 91"},
	{"013_14_lone_low_surrogate", with(`"a"`, `"\udc00x"`), -32700, call.Malformed, ""},
	{"013_16_raw_control", with("read", "re\x01ad"), -32700, call.Malformed, `invalid character '\x01' in string (expecting non-control character) at byte 66`},
	{"013_18_comment", `/**/` + toolsCall, -32700, call.Malformed, ""},
	{"013_18_trailing_comma", with(`"path":"a"`, `"path":"a",`), -32700, call.Malformed, ""},
	{"013_18_single_quotes", with(`"read"`, `'read'`), -32700, call.Malformed, ""},
	{"013_18_nan", with(`"a"`, `NaN`), -32700, call.Malformed, ""},
	{"013_18_infinity", with(`"a"`, `-Infinity`), -32700, call.Malformed, ""},
	{"013_18_leading_zero", with(`"a"`, `01`), -32700, call.Malformed, ""},
	{"013_18_hexadecimal", with(`"a"`, `0x1`), -32700, call.Malformed, ""},
	{"013_25_depth_in_arguments", with(`"a"`, nest(510, "[", "", "]")), -32600, call.TooLarge, "nested deeper than 512"},
	{"013_25_depth_of_envelope", with(`"arguments":{"path":"a"}`, `"cursor":`+nest(63, "[", "", "]")), -32600, call.TooLarge, "nested deeper than 64"},
	{"013_26_array_100k_deep", nest(100_000, "[", "", "]"), -32600, call.TooLarge, "nested deeper than 64"},
	{"013_26_object_100k_deep", nest(100_000, `{"a":`, "1", "}"), -32600, call.TooLarge, "nested deeper than 64"},
	{"013_27_number_1MiB", with(`"a"`, strings.Repeat("1", 1<<20)), -32600, call.TooLarge, "number longer than 64 bytes"},
	{"013_27_number_65", with(`"a"`, strings.Repeat("1", 65)), -32600, call.TooLarge, "number longer than 64 bytes"},
	{"013_28_members_200k", with(`"path":"a"`, members(200_000)), -32600, call.TooLarge, "more than 10000 members in one object"},
	{"013_28_values_200k", with(`"a"`, "["+strings.Repeat("0,", 200_000)+"0]"), -32600, call.TooLarge, "more than 100000 values"},
	{"013_28_name_2KiB", with(`"path"`, `"`+strings.Repeat("p", 2<<10)+`"`), -32600, call.TooLarge, "member name longer than 1024 bytes"},
	{"013_29_duplicate_method", with(`"params"`, `"method":"tools/list","params"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_29_duplicate_method_first", with(`"method"`, `"method":"tools/list","method"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_30_duplicate_params", with(`"params"`, `"params":{},"params"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_31_duplicate_name", with(`"name"`, `"name":"safe","name"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_32_duplicate_escaped", with(`"name"`, `"na\u006de":"safe","name"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_33_upper_case_beside", with(`"method"`, `"METHOD":"tools/list","method"`), -32600, call.Ambiguous, `member "METHOD" differs from a known one by case only`},
	{"013_34_only_upper_case", with(`"method"`, `"Method"`), -32600, call.Ambiguous, `member "Method" differs from a known one by case only`},
	{"013_35_long_s", with(`"params"`, `"paramſ"`), -32600, call.Ambiguous, `member "paramſ" differs from a known one by case only`},
	{"013_35_long_s_in_jsonrpc", with(`"jsonrpc"`, `"jſonrpc":"2.0","jsonrpc"`), -32600, call.Ambiguous, `member "jſonrpc" differs from a known one by case only`},
	{"013_36_duplicate_in_arguments", with(`"path":"a"`, `"path":"a","path":"b"`), -32600, call.Ambiguous, "duplicate member name"},
	{"013_39_unknown_member", with(`"params"`, `"extra":1,"params"`), -32600, call.Malformed, `unknown member "extra"`},
	{"013_40_result_beside_method", with(`"params"`, `"result":{},"params"`), -32600, call.Malformed, `unknown member "result"`},
	{"013_40_error_beside_method", with(`"params"`, `"error":{},"params"`), -32600, call.Malformed, `unknown member "error"`},
	{"013_42_id_null", with(`1`, `null`), -32600, call.Malformed, badID},
	{"013_44_id_fraction", with(`"id":1`, `"id":1.5`), -32600, call.Malformed, badID},
	{"013_44_id_fraction_zero", with(`"id":1`, `"id":1.0`), -32600, call.Malformed, badID},
	{"013_44_id_exponent", with(`"id":1`, `"id":1e0`), -32600, call.Malformed, badID},
	{"013_44_id_huge_exponent", with(`"id":1`, `"id":1e400`), -32600, call.Malformed, badID},
	{"013_45_id_over_2_53", with(`"id":1`, `"id":9007199254740992`), -32600, call.Malformed, badID},
	{"013_45_id_under_minus_2_53", with(`"id":1`, `"id":-9007199254740992`), -32600, call.Malformed, badID},
	{"013_46_id_true", with(`"id":1`, `"id":true`), -32600, call.Malformed, badID},
	{"013_46_id_object", with(`"id":1`, `"id":{}`), -32600, call.Malformed, badID},
	{"013_46_id_array", with(`"id":1`, `"id":[1]`), -32600, call.Malformed, badID},
	{"013_46_id_control", with(`"id":1`, `"id":"a\u0007"`), -32600, call.Malformed, badID},
	{"013_46_id_2KiB", with(`"id":1`, `"id":"`+strings.Repeat("i", 2<<10)+`"`), -32600, call.Malformed, badID},
	{"013_57_empty_method", with(`"tools/call"`, `""`), -32600, call.Malformed, "method is not a string of 1 to 256 bytes"},
	{"013_57_method_number", with(`"tools/call"`, `1`), -32600, call.Malformed, "method is not a string of 1 to 256 bytes"},
	{"013_57_method_long", with(`tools/call`, strings.Repeat("m", 257)), -32600, call.Malformed, "method is not a string of 1 to 256 bytes"},
	{"013_58_params_array", `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`, -32600, call.Malformed, "params is not an object"},
	{"013_59_params_null", `{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`, -32600, call.Malformed, "params is not an object"},
	{"013_70_batch", "[" + toolsCall + "]", -32600, call.Malformed, "not one JSON object"},
	{"013_71_empty_array", "[]", -32600, call.Malformed, "not one JSON object"},
	{"jsonrpc_missing", `{"id":1,"method":"ping"}`, -32600, call.Malformed, `jsonrpc is not "2.0"`},
	{"jsonrpc_number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, -32600, call.Malformed, `jsonrpc is not "2.0"`},
	{"neither", `{"jsonrpc":"2.0","id":1}`, -32600, call.Malformed, "neither method, result nor error"},
	{"013_53_result_and_error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}`, -32600, call.Malformed, "both result and error"},
	{"013_55_response_1_0", `{"jsonrpc":"1.0","id":1,"result":{}}`, -32600, call.Malformed, `jsonrpc is not "2.0"`},
	{"result_without_id", `{"jsonrpc":"2.0","result":{}}`, -32600, call.Malformed, "a result without an id"},
	{"error_string", `{"jsonrpc":"2.0","id":1,"error":"no"}`, -32600, call.Malformed, badError},
	{"error_code_string", `{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}`, -32600, call.Malformed, badError},
	{"error_code_fraction", `{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}`, -32600, call.Malformed, badError},
	{"error_without_message", `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, -32600, call.Malformed, badError},
	{"error_twin", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","Data":1}}`, -32600, call.Malformed, badError},
	{"response_unknown_member", `{"jsonrpc":"2.0","id":1,"result":{},"extra":1}`, -32600, call.Malformed, `unknown member "extra"`},
}

const (
	badID    = "id is not a printable string of up to 1024 bytes or an integer within 2^53-1"
	badError = "error is not an object with an integer code and a string message"
)

func TestParseRefuses(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			m, err := jsonrpc.Parse([]byte(tt.text), jsonrpc.RequestLimits())
			if err == nil || m != nil {
				t.Fatalf("Parse = %v, %v; want nil and an error", m, err)
			}
			if err.Code != tt.code || err.Reason != tt.reason {
				t.Errorf("code %d %s, want %d %s", err.Code, err.Reason, tt.code, tt.reason)
			}
			if tt.cause != "" && err.Cause != tt.cause {
				t.Errorf("cause %q, want %q", err.Cause, tt.cause)
			}
			if err.Status() != 400 {
				t.Errorf("status %d, want 400", err.Status())
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct{ name, text, id, method string }{
		{"plain", toolsCall, "1", "tools/call"},
		{"013_07_trailing_newline", toolsCall + " \r\n", "1", "tools/call"},
		{"leading_spaces", "\n\t " + toolsCall, "1", "tools/call"},
		{"method_first", `{"method":"ping","jsonrpc":"2.0","id":0}`, "0", "ping"},
		{"013_15_surrogate_pair", with(`"a"`, `"\ud83d\ude00"`), "1", "tools/call"},
		{"013_25_depth_64", with(`"arguments":{"path":"a"}`, `"cursor":`+nest(62, "[", "", "]")), "1", "tools/call"},
		{"013_25_depth_512_in_arguments", with(`"a"`, nest(509, "[", "", "]")), "1", "tools/call"},
		{"013_27_number_64", with(`"a"`, strings.Repeat("1", 64)), "1", "tools/call"},
		{"number_after_200_spaces", with(`"a"`, strings.Repeat(" ", 200)+"1"), "1", "tools/call"},
		{"013_38_proto_keys", with(`"path":"a"`, `"__proto__":{},"constructor":1`), "1", "tools/call"},
		{"013_41_escaped_spelling", with(`"method":"tools/call"`, `"m\u0065thod":"tools\/c\u0061ll"`), "1", "tools/call"},
		{"013_47_id_empty_string", with(`"id":1`, `"id":""`), `""`, "tools/call"},
		{"013_48_id_zero", with(`"id":1`, `"id":0`), "0", "tools/call"},
		{"013_48_id_negative", with(`"id":1`, `"id":-7`), "-7", "tools/call"},
		{"013_45_id_2_53_less_1", with(`"id":1`, `"id":9007199254740991`), "9007199254740991", "tools/call"},
		{"013_49_id_string", with(`"id":1`, `"id":"1"`), `"1"`, "tools/call"},
		{"id_escaped", with(`"id":1`, `"id":"\u0061"`), `"\u0061"`, "tools/call"},
		{"no_params", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "1", "ping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := jsonrpc.Parse([]byte(tt.text), jsonrpc.RequestLimits())
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind != jsonrpc.Request || string(m.ID) != tt.id || m.Method != tt.method || string(m.Raw) != tt.text {
				t.Errorf("Parse = kind %d id %s method %q, want a request, %s, %q, with its bytes", m.Kind, m.ID, m.Method, tt.id, tt.method)
			}
		})
	}
}

func TestParseKinds(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind jsonrpc.Kind
	}{
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, jsonrpc.Notification},
		{`{"jsonrpc":"2.0","id":"a","result":{}}`, jsonrpc.Response},
		{`{"jsonrpc":"2.0","id":"a","result":null}`, jsonrpc.Response},
		{`{"jsonrpc":"2.0","error":{"code":-32700,"message":"no","data":[1]}}`, jsonrpc.Response},
	} {
		m, err := jsonrpc.Parse([]byte(tt.text), jsonrpc.ResponseLimits())
		if err != nil || m.Kind != tt.kind {
			t.Errorf("Parse(%s) = %v, %v; want kind %d", tt.text, m, err, tt.kind)
		}
	}
}

// A refusal echoes the id whenever the id itself could be read.
func TestErrorKeepsID(t *testing.T) {
	for _, tt := range []struct{ name, text, id string }{
		{"unknown member", with(`"params"`, `"extra":1,"params"`), "1"},
		{"twin", with(`"id":1,"method"`, `"id":"q","METHOD":"x","method"`), `"q"`},
		{"bad jsonrpc", with("2.0", "2.1"), "1"},
		{"bad id", with(`"id":1`, `"id":null`), ""},
		{"duplicate", with(`"params"`, `"params":{},"params"`), ""},
	} {
		_, err := jsonrpc.Parse([]byte(tt.text), jsonrpc.RequestLimits())
		if err == nil || string(err.ID) != tt.id {
			t.Errorf("%s: error %v with id %q, want id %q", tt.name, err, err.ID, tt.id)
		}
	}
}

func TestLimitOfBytes(t *testing.T) {
	l := jsonrpc.RequestLimits()
	l.Bytes = len(toolsCall)
	if _, err := jsonrpc.Parse([]byte(toolsCall), l); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := jsonrpc.Parse([]byte(toolsCall+" "), l)
	if got, want := err.Error(), "jsonrpc: -32600: text of 97 bytes, limit 96"; got != want {
		t.Errorf("over the limit: %q, want %q", got, want)
	}
}

func TestLimitOfString(t *testing.T) {
	l := jsonrpc.RequestLimits()
	l.String = 16
	if _, err := jsonrpc.Parse([]byte(with(`"a"`, `"`+strings.Repeat("a", 16)+`"`)), l); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := jsonrpc.Parse([]byte(with(`"a"`, `"`+strings.Repeat("a", 17)+`"`)), l)
	if err == nil || err.Cause != "string longer than 16 bytes" {
		t.Errorf("over the limit: %v", err)
	}
}

func TestResponsesNestDeeper(t *testing.T) {
	text := `{"jsonrpc":"2.0","id":1,"result":{"tools":` + nest(500, "[", "", "]") + `}}`
	if _, err := jsonrpc.Parse([]byte(text), jsonrpc.ResponseLimits()); err != nil {
		t.Error(err)
	}
}
