package mcp_test

import (
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// ofEra builds a message whose header and metadata name a revision each, "-" for none.
func ofEra(header, meta string, notification bool) *request {
	r := modern()
	if header == "-" {
		r.unset("Mcp-Protocol-Version")
	} else {
		r.set("Mcp-Protocol-Version", header)
	}
	members := `"io.modelcontextprotocol/clientCapabilities":{}`
	if meta != "-" {
		members += fmt.Sprintf(`,"io.modelcontextprotocol/protocolVersion":%q`, meta)
	}
	if notification {
		r.body = fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":{%s}}}`, members)
		return r.unset("Mcp-Method").unset("Mcp-Name")
	}
	r.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{%s},"name":"read"}}`, members)
	return r
}

// The table of contract 4.3, crossed: every kind of header with every kind of metadata, as request and as notification. A
// version is the verdict "forward", as that revision; a number is the JSON-RPC code under HTTP 400.
func TestEra(t *testing.T) {
	const (
		none   = "-"
		old    = "2025-06-18"
		older  = "2024-11-05"
		newest = "2026-07-28"
	)
	for _, tt := range []struct{ header, meta, request, notification string }{
		{none, none, "2025-03-26", "2025-03-26"},
		{none, old, "2025-03-26", "2025-03-26"},
		{none, newest, "-32020", "-32020"},
		{none, "2027-01-01", "-32022", "-32022"},
		{old, none, old, old},
		{old, old, old, old},
		{old, older, old, old}, // both are legacy; the header is what the server goes by
		{old, newest, "-32020", "-32020"},
		{old, "2027-01-01", "-32022", "-32022"},
		{older, none, older, older},
		{"2025-03-26", none, "2025-03-26", "2025-03-26"},
		{"2025-11-25", none, "2025-11-25", "2025-11-25"},
		{newest, none, "-32602", newest},
		{newest, old, "-32020", "-32020"},
		{newest, newest, newest, newest},
		{newest, "2027-01-01", "-32020", "-32020"},
		{newest, "zzz", "-32020", "-32020"},
		{newest, "", "-32020", "-32020"},
		{"2026-07-29", none, "-32022", "-32022"},
		{"2026-07-29", newest, "-32022", "-32022"},
		{"2026-07-29", "2026-07-29", "-32022", "-32022"},
		{"1999-01-01", old, "-32022", "-32022"},
		{"zzz", none, "-32022", "-32022"}, // above every date, if it were compared
		{"", none, "-32022", "-32022"},
		{" 2025-06-18", none, "-32022", "-32022"},
		{"2025-06-18, 2026-07-28", none, "-32022", "-32022"},
	} {
		for notification, want := range map[bool]string{false: tt.request, true: tt.notification} {
			name := fmt.Sprintf("header %q, metadata %q, notification %t", tt.header, tt.meta, notification)
			m, r := ofEra(tt.header, tt.meta, notification).decode(mcp.Options{})
			if r == nil {
				if got := filled(m).Version; got != want {
					t.Errorf("%s: forwarded as %s, want %s", name, got, want)
				}
				continue
			}
			_, code, _, _ := errorOf(t, r.Body)
			if got := fmt.Sprint(code); got != want || r.Status != 400 {
				t.Errorf("%s: refused with %d %s, want %s", name, r.Status, got, want)
			}
		}
	}
}

// A client falls back to a revision it is offered, so all of ours are; what it asked for is repeated only if it is harmless.
func TestUnsupportedVersion(t *testing.T) {
	for _, tt := range []struct{ header, requested string }{
		{"2027-01-01", `"2027-01-01"`}, {`a"b`, `"a\"b"`}, {strings.Repeat("9", 65), `""`}, {"\xff", `""`},
	} {
		_, r := legacy().set("Mcp-Protocol-Version", tt.header).decode(mcp.Options{})
		if r == nil || r.Code != call.UnsupportedVersion {
			t.Fatalf("%q: %+v", tt.header, r)
		}
		id, _, _, data := errorOf(t, r.Body)
		const all = `["2024-11-05","2025-03-26","2025-06-18","2025-11-25","2026-07-28"]`
		if id != "1" || string(data.Get("supported")) != all || string(data.Get("requested")) != tt.requested {
			t.Errorf("%q: %s, want the id, all revisions and %s", tt.header, r.Body, tt.requested)
		}
	}
}

// The matrix of contract 3.5: a header says the same as the body if its bytes do, or if its Base64 form does.
func TestMcpName(t *testing.T) {
	for _, tt := range []struct {
		name, header, body string
		same               bool
	}{
		{"plain", "read", "read", true},
		{"spaces_around", "\t read ", "read", true},
		{"space_inside", "read it", "read it", true},
		{"other_name", "safe", "read", false},
		{"other_case", "READ", "read", false},
		{"empty", "", "read", false},
		{"space_in_the_body_only", "read", " read", false},
		{"sentinel", sentinel("read"), "read", true},
		{"sentinel_keeps_spaces", sentinel(" read "), " read ", true},
		{"sentinel_of_spaces_is_not_trimmed", sentinel(" read "), "read", false},
		{"sentinel_not_ascii", sentinel("größe"), "größe", true},
		{"raw_not_ascii", "größe", "größe", true},
		{"another_normal_form", sentinel("größe"), "gro\u0308ße", false},
		{"latin1", "gr\xf6\xdfe", "größe", false},
		{"sentinel_of_another", sentinel("safe"), "read", false},
		{"sentinel_shaped_name_raw", sentinel("read"), sentinel("read"), true},
		{"sentinel_shaped_name_encoded", sentinel(sentinel("read")), sentinel("read"), true},
		{"sentinel_twice_is_not_decoded_twice", sentinel(sentinel("read")), "read", false},
		{"no_padding", "=?base64?cmVhZA?=", "read", false},
		{"url_alphabet", "=?base64?" + strings.ReplaceAll(sentinel("a?>b~")[9:15], "/", "_") + "==?=", "a?>b", false},
		{"line_break_in_base64", "=?base64?cmVh\nZA==?=", "read", false},
		{"loose_bits", "=?base64?cmVhZB==?=", "read", false},
		{"upper_case_marker", "=?BASE64?cmVhZA==?=", "read", false},
		{"upper_case_marker_is_the_name", "=?BASE64?cmVhZA==?=", "=?BASE64?cmVhZA==?=", true},
		{"no_prefix", "cmVhZA==?=", "read", false},
		{"no_suffix", "=?base64?cmVhZA==", "read", false},
		{"empty_sentinel", "=?base64??=", "read", false},
		{"overlapping_markers", "=?base64?=", "read", false},
	} {
		for method, member := range map[string]string{"tools/call": "name", "prompts/get": "name", "resources/read": "uri", "tasks/get": "taskId"} {
			r := modern().asks(method, fmt.Sprintf(`{%q:%s}`, member, quoted(tt.body))).set("Mcp-Name", tt.header)
			m, refusal := r.decode(mcp.Options{})
			if (refusal == nil) != tt.same {
				t.Errorf("%s of %s: refused %t, want %t", tt.name, method, refusal != nil, !tt.same)
			}
			if m != nil && filled(m).Target.Name != tt.body {
				t.Errorf("%s of %s: judged as %q, want the body's %q", tt.name, method, filled(m).Target.Name, tt.body)
			}
			if refusal == nil {
				continue
			}
			if _, code, _, _ := errorOf(t, refusal.Body); refusal.Status != 400 || code != -32020 {
				t.Errorf("%s of %s: %d %s, want 400 -32020", tt.name, method, refusal.Status, refusal.Body)
			}
		}
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

// The methods of contract 3.4 demand Mcp-Name in the modern era, and no other does.
func TestMirroredMethods(t *testing.T) {
	demand := map[string]bool{
		"tools/call": true, "prompts/get": true, "resources/read": true, "tasks/get": true, "tasks/update": true, "tasks/cancel": true,
	}
	members := map[call.Kind]string{call.Tool: "name", call.Prompt: "name", call.Resource: "uri", call.Task: "taskId", call.Skill: "uri"}
	for _, row := range mcp.Methods() {
		if row.From&mcp.Client == 0 || row.Notification || row.Name == "initialize" || row.Name == "completion/complete" {
			continue
		}
		params := `{}`
		if member := members[row.Kind]; member != "" && row.Intent == call.Use {
			params = fmt.Sprintf(`{%q:"x"}`, member)
		}
		_, r := modern().asks(row.Name, params).decode(mcp.Options{})
		if refused := r != nil; refused != demand[row.Name] {
			t.Errorf("%s without Mcp-Name: refused %t, want %t", row.Name, refused, demand[row.Name])
		}
		if _, r := legacy().asks(row.Name, params).decode(mcp.Options{}); r != nil {
			t.Errorf("%s in the legacy era: %s", row.Name, r.Body)
		}
	}
}
