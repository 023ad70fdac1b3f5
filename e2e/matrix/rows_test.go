package matrix_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	calling   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}`
	list      = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	result    = `{"jsonrpc":"2.0","id":1,"result":{}}`
	twoTools  = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"wire"}]}}`
	faultText = "The server's answer could not be read"
)

// legacy is the header of an ordinary POST, with more fields in pairs.
func legacy(more ...string) http.Header {
	h := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-06-18"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = append(h[more[i]], more[i+1])
	}
	return h
}

// The inputs of contract 13 about the transport: what a client sends beside or instead of a message.
func TestRowsOfRequests(t *testing.T) {
	w := start(t, nil)
	c := w.client(t, "teller")
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		arrives            bool
	}{
		{"013_93_get_with_a_body", "GET", "/mcp", legacy(), calling, 400, false},
		{"013_93_delete_with_a_body", "DELETE", "/mcp", legacy("Mcp-Session-Id", "s"), calling, 400, false},
		{"013_94_put", "PUT", "/mcp", legacy(), calling, 405, false},
		{"013_94_patch", "PATCH", "/mcp", legacy(), calling, 405, false},
		{"013_94_trace", "TRACE", "/mcp", legacy(), "", 405, false},
		{"013_94_unknown", "BREW", "/mcp", legacy(), "", 405, false},
		{"013_95_websocket", "GET", "/mcp", http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"mcp"},
		}, "", 403, false},
		{"013_97_session_not_ascii", "POST", "/mcp", legacy("Mcp-Session-Id", "\xc3\xa4"), calling, 400, false},
		{"013_97_session_with_a_space", "POST", "/mcp", legacy("Mcp-Session-Id", "a b"), calling, 400, false},
		{"013_97_session_2KiB", "POST", "/mcp", legacy("Mcp-Session-Id", strings.Repeat("s", 2<<10)), calling, 400, false},
		{"013_97_session_1KiB", "POST", "/mcp", legacy("Mcp-Session-Id", strings.Repeat("s", 1<<10)), calling, 200, true},
		{"013_97_session_on_a_get", "GET", "/mcp", http.Header{"Accept": {"text/event-stream"}, "Mcp-Session-Id": {"a b"}}, "", 400, false},
		{"013_99_origin", "POST", "/mcp", legacy("Origin", "http://evil"), calling, 200, true},
		{"013_100_token_in_query", "POST", "/mcp?access_token=x", legacy(), calling, 400, false},
		{"013_100_token_in_query_of_a_get", "GET", "/mcp?a=1;access%5Ftoken=x", http.Header{"Accept": {"text/event-stream"}}, "", 400, false},
		{"013_24_body_over_the_limit", "POST", "/mcp", legacy(), calling + strings.Repeat(" ", 4<<20), 413, false},
		{"013_82_two_sessions", "POST", "/mcp", legacy("Mcp-Session-Id", "a", "Mcp-Session-Id", "b"), calling, 400, false},
		{"013_88_mirror_contradicts", "POST", "/mcp", legacy("Mcp-Name", "safe"), calling, 400, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.header.Set(numbered, tt.name)
			got := send(t, c, tt.method, tt.path, tt.header, []byte(tt.body))
			arrival, arrives := w.arrived(tt.name)
			if got.status != tt.status || arrives != tt.arrives {
				t.Errorf("answered %d %.200q, arrived %t; want %d, %t", got.status, got.body, arrives, tt.status, tt.arrives)
			}
			if origin := tt.header.Get("Origin"); arrives && arrival.header.Get("Origin") != origin {
				t.Errorf("Origin arrived as %q, want %q", arrival.header.Get("Origin"), origin)
			}
			if allow := got.header.Get("Allow"); (allow != "") != (tt.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow %q under %d", allow, got.status)
			}
		})
	}
}

// 013_96: what would make the method another one stays behind.
func TestRowMethodOverride(t *testing.T) {
	w := start(t, nil)
	fields := []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}
	h := legacy(numbered, "013_96")
	for _, name := range fields {
		h.Set(name, "DELETE")
	}
	got := send(t, w.client(t, "teller"), "POST", "/mcp", h, []byte(calling))
	arrival, arrives := w.arrived("013_96")
	if got.status != http.StatusOK || !arrives || arrival.method != "POST" {
		t.Fatalf("answered %d %q, arrived %t as %s", got.status, got.body, arrives, arrival.method)
	}
	for _, name := range fields {
		if v := arrival.header[name]; v != nil {
			t.Errorf("%s arrived: %q", name, v)
		}
	}
}

// 013_98: a session belongs to who opened it. Whoever else names it hears that there is none.
func TestRowSessionOfAnother(t *testing.T) {
	w := start(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Mcp-Session-Id", "secret")
		rw.Header().Set("Content-Type", "application/json")
		io.WriteString(rw, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`)
	})
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
	owner, stranger := w.client(t, "teller"), w.client(t, "intern")
	if got := send(t, owner, "POST", "/mcp", legacy(numbered, "hello"), []byte(hello)); got.status != http.StatusOK {
		t.Fatalf("the handshake is answered %d %q", got.status, got.body)
	}
	for _, tt := range []struct {
		name, method, body string
		code               int
	}{
		{"013_98_call", "POST", calling, -32600},
		{"013_98_end", "DELETE", "", 0},
		{"013_98_stream", "GET", "", 0},
	} {
		h := legacy("Mcp-Session-Id", "secret", numbered, tt.name)
		got := send(t, stranger, tt.method, "/mcp", h, []byte(tt.body))
		if _, arrives := w.arrived(tt.name); got.status != http.StatusNotFound || arrives {
			t.Errorf("%s: answered %d %q, arrived %t; want 404 and that nothing arrives", tt.name, got.status, got.body, arrives)
		}
		if tt.body != "" && codeIn(got.body) == 0 {
			t.Errorf("%s: answered %q, want an error with the id", tt.name, got.body)
		}
	}
	if got := send(t, owner, "POST", "/mcp", legacy("Mcp-Session-Id", "secret", numbered, "own"), []byte(calling)); got.status != http.StatusOK {
		t.Errorf("the owner's call is answered %d %q", got.status, got.body)
	}
}

// What a 2024-11-05 server says of where to post is passed on once, and only if it leads back to itself.
func TestRowsOfEndpoints(t *testing.T) {
	for _, tt := range []struct{ name, events, want string }{
		{"013_109_here", "event: endpoint\ndata: /m?s=1\n\n", "event: endpoint\ndata: /m?s=1\n\n"},
		{"013_109_here_in_full", "event: endpoint\ndata: http://" + host + "/m\n\n", "event: endpoint\ndata: http://" + host + "/m\n\n"},
		{"013_109_another_host", "event: endpoint\ndata: http://evil:3000/m\n\n", ""},
		{"013_109_another_scheme", "event: endpoint\ndata: https://" + host + "/m\n\n", ""},
		{"013_109_no_scheme", "event: endpoint\ndata: //evil/m\n\n", ""},
		{"013_109_backslash", "event: endpoint\ndata: /\\evil/m\n\n", ""},
		{"013_109_userinfo", "event: endpoint\ndata: http://" + host + "@evil/m\n\n", ""},
		{"013_110_second", "event: endpoint\ndata: /m\n\nevent: endpoint\ndata: /n\n\n", "event: endpoint\ndata: /m\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(rw, tt.events)
			})
			got := send(t, w.client(t, "teller"), "GET", stream, http.Header{"Accept": {"text/event-stream"}}, nil)
			if got.status != http.StatusOK || got.body != tt.want {
				t.Errorf("answered %d %q, want 200 %q", got.status, got.body, tt.want)
			}
		})
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

// What comes back is read, or does not reach the client.
func TestRowsOfAnswers(t *testing.T) {
	const unread = "fault"
	for _, tt := range []struct {
		name, media, coding string
		body                []byte
		want                string
	}{
		{"013_114_compressed", "application/json", "gzip", zipped(twoTools), unread},
		{"013_114_compressed_stream", "text/event-stream", "gzip", zipped("data: " + twoTools + "\n\n"), unread},
		{"013_114_compressed_and_not_said", "application/json", "", zipped(twoTools), unread},
		{"013_115_empty_cursor", "application/json", "", []byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":""}}`),
			`{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":""}}`},
		{"013_116_bomb", "application/json", "gzip", zipped(strings.Repeat(" ", 64<<20) + result), unread},
		{"013_116_not_compressed", "application/json", "", []byte(strings.Repeat(" ", 17<<20) + result), unread},
		{"013_105_event_over_16_MiB", "text/event-stream", "", []byte("data: " + strings.Repeat(" ", 17<<20) + result + "\n\n"), unread},
		{"013_101_bare_CR", "text/event-stream", "", []byte("data: " + twoTools + "\r\r"), "data: " + twoTools + "\n\n"},
		{"013_103_BOM", "text/event-stream", "", []byte("\xef\xbb\xbfdata: " + twoTools + "\n\n"), "data: " + twoTools + "\n\n"},
		{"013_104_unterminated", "text/event-stream", "", []byte("data: " + twoTools), "data: " + twoTools + "\n\n"},
		{"013_106_other_event", "text/event-stream", "", []byte("event: messag\u0435\ndata: " + twoTools + "\n\ndata: " + result + "\n\n"),
			"data: " + result + "\n\n"},
		{"013_54_array", "application/json", "", []byte("[" + twoTools + "]"), unread},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", tt.media)
				if tt.coding != "" {
					rw.Header().Set("Content-Encoding", tt.coding)
				}
				rw.Write(tt.body)
			})
			c := w.client(t, "teller")
			c.Transport.(*http.Transport).DisableCompression = true
			h := legacy(numbered, "asked", "Accept-Encoding", "gzip")
			got := send(t, c, "POST", "/mcp", h, []byte(list))
			if arrival, _ := w.arrived("asked"); arrival.header.Get("Accept-Encoding") == "gzip" {
				t.Error("the server was asked for a compressed answer")
			}
			if broken := strings.Contains(got.body, faultText); tt.want == unread && !broken || tt.want != unread && got.body != tt.want {
				t.Errorf("answered %d %.200q, want %.200q", got.status, got.body, tt.want)
			}
			if strings.Contains(got.body, "wire") && !strings.Contains(tt.want, "wire") || bytes.HasPrefix([]byte(got.body), []byte("\x1f\x8b")) {
				t.Errorf("passed unread: %d %.100q", got.status, got.body)
			}
			if got.status != http.StatusOK {
				t.Errorf("status %d", got.status)
			}
		})
	}
}

// 013_108: in the modern form nobody asks the client but in an answer.
func TestRowModernServerRequest(t *testing.T) {
	w := start(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(rw, "data: %s\n\n", `{"jsonrpc":"2.0","id":9,"method":"roots/list"}`)
	})
	h := legacy("Mcp-Method", "tools/list")
	h.Set("Mcp-Protocol-Version", "2026-07-28")
	got := send(t, w.client(t, "teller"), "POST", "/mcp", h, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
	if strings.Contains(got.body, "roots/list") || !strings.Contains(got.body, faultText) {
		t.Errorf("answered %d %q, want our error alone", got.status, got.body)
	}
}
