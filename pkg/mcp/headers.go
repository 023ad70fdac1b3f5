package mcp

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// checkHead judges what can be judged without the body.
func (m *Message) checkHead() *Response {
	switch m.head.Method {
	case http.MethodPost, http.MethodGet, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default:
		r := m.refuseText(http.StatusMethodNotAllowed, call.Malformed, "an HTTP method that MCP does not have")
		r.Header.Set("Allow", "GET, POST, DELETE")
		return r
	}
	if m.webSocket() {
		return m.refuseText(http.StatusForbidden, call.EntitlementDenied, "WebSocket on an MCP port")
	}
	if tokenIn(m.head.Query) {
		return m.refuseText(http.StatusBadRequest, call.Malformed, "a token in the query string")
	}
	return nil
}

// webSocket recognises the upgrade also after a proxy has taken the hop-by-hop headers away.
func (m *Message) webSocket() bool {
	h := m.head.Header
	return strings.EqualFold(h.Get("Upgrade"), "websocket") || len(h["Sec-Websocket-Key"]) > 0 || len(h["Sec-Websocket-Protocol"]) > 0
}

// tokenIn reports whether a query carries a bearer token (RFC 6750, section 2.3), where logs and caches would keep it.
func tokenIn(query string) bool {
	for query != "" {
		end := strings.IndexAny(query, "&;")
		part := query
		if end >= 0 {
			part, query = query[:end], query[end+1:]
		} else {
			query = ""
		}
		name, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && strings.EqualFold(decoded, "access_token") {
			return true
		}
	}
	return false
}

// field returns the value of a header that checkFields has found at most once.
func (m *Message) field(name string) (string, bool) {
	if lines := m.head.Header[name]; len(lines) > 0 {
		return lines[0], true
	}
	return "", false
}

// checkFields judges the headers that may be there once: where a server would take the first of two and another the last, no
// one of them counts.
func (m *Message) checkFields() *Response {
	modern := false
	for _, v := range m.head.Header["Mcp-Protocol-Version"] {
		modern = modern || ParseVersion(v).Modern()
	}
	for _, name := range [...]string{"Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name"} {
		if len(m.head.Header[name]) > 1 {
			if modern {
				return m.mismatch("more than one " + name)
			}
			return m.refuseText(http.StatusBadRequest, call.Ambiguous, "more than one "+name)
		}
	}
	if id, ok := m.field("Mcp-Session-Id"); ok && !validSession(id) {
		return m.malformed("a malformed Mcp-Session-Id")
	}
	return nil
}

func validSession(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) <= maxSession
}

// checkBody judges what the headers of a POST say of its body: it must be what the strict reader reads, for every server.
func (m *Message) checkBody(body []byte) *Response {
	switch {
	case len(body) > m.opt.Request.Bytes:
		return m.refuseText(http.StatusRequestEntityTooLarge, call.TooLarge, "a body over the limit")
	case !plainJSON(m.head.Header["Content-Type"]):
		return m.unsupportedMedia("Content-Type is not exactly application/json in UTF-8")
	case !identity(m.head.Header["Content-Encoding"]):
		return m.unsupportedMedia("Content-Encoding is not identity")
	case wide(body):
		return m.unsupportedMedia("body is not UTF-8")
	}
	return nil
}

// plainJSON reports whether a body is labelled as JSON, and as nothing but that.
func plainJSON(lines []string) bool {
	return len(lines) == 1 && (lines[0] == "application/json" || labelled(lines, "application/json"))
}

// labelled reports whether a body has one media type, in UTF-8.
func labelled(lines []string, want string) bool {
	if len(lines) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(lines[0])
	if err != nil || media != want {
		return false
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}

func identity(lines []string) bool {
	return len(lines) == 0 || len(lines) == 1 && strings.EqualFold(strings.TrimSpace(lines[0]), "identity")
}

// wide reports whether a body looks like UTF-16 or UTF-32: some servers detect those, label or not, and run them. A JSON text
// starts with two ASCII characters, or is a single digit (RFC 4627, section 3).
func wide(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	return b[0] == 0 || b[1] == 0 || b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff
}

// checkMirrors compares Mcp-Method and Mcp-Name with the body (contract 3.4, 3.5). The modern era requires them of requests.
// Where they may be absent they may not be wrong: somebody on the way could believe them.
func (m *Message) checkMirrors() *Response {
	required := m.version.Modern() && m.rpc.Kind == jsonrpc.Request
	method, hasMethod := m.field("Mcp-Method")
	switch {
	case !hasMethod && required:
		return m.mismatch("Mcp-Method is missing")
	case hasMethod && trim(method) != m.rpc.Method:
		return m.contradicts("Mcp-Method differs from the body")
	}
	name, hasName := m.field("Mcp-Name")
	switch {
	case !m.method.Mirrored:
		return nil
	case !hasName && required:
		return m.mismatch("Mcp-Name is missing")
	case hasName && !mirrors(name, m.target.Name):
		return m.contradicts("Mcp-Name differs from the body")
	}
	return nil
}

func trim(s string) string { return strings.Trim(s, " \t") }

// mirrors reports whether a header value says the same as the body: byte for byte, as the Go SDK sends it, or in the Base64
// form of contract 3.5, as the TypeScript SDK does.
func mirrors(header, body string) bool {
	header = trim(header)
	if header == body {
		return true
	}
	encoded, prefix := strings.CutPrefix(header, "=?base64?")
	encoded, suffix := strings.CutSuffix(encoded, "?=")
	if !prefix || !suffix || strings.ContainsAny(encoded, "\r\n") { // which Go's decoder skips
		return false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return err == nil && string(decoded) == body
}

// accepts reports whether Accept names a media type. Weights are not read: no server or client honours them.
func accepts(h http.Header, media string) bool {
	for _, line := range h["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(trim(name), media) {
				return true
			}
		}
	}
	return false
}

// onlyEvents reports whether a caller takes an answer as server-sent events and in no other form.
func onlyEvents(h http.Header) bool {
	return accepts(h, "text/event-stream") && !accepts(h, "application/json") && !accepts(h, "*/*") && !accepts(h, "application/*")
}
