package mcp

import (
	"bytes"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Declares reports whether an exchange says by its headers that it is MCP. Nobody else sends these.
func Declares(h http.Header) bool {
	for _, name := range [...]string{"Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// Matches reports whether an exchange on an undeclared port is positively MCP (contract section 14): by its headers, or by a
// JSON-RPC method that only MCP has. It chooses a decoder; it grants nothing. Paths say nothing.
//
// It finds what the most lenient server would run, not what the strict reader accepts: a malformed call must be refused by
// Decode rather than pass as plain HTTP.
func Matches(h *call.Request, body []byte) bool {
	if Declares(h.Header) {
		return true
	}
	if h.Method != http.MethodPost || len(body) == 0 {
		return false
	}
	// Only a client of streamable HTTP takes both forms, and no server of it answers one who does not.
	client := accepts(h.Header, "application/json") && accepts(h.Header, "text/event-stream")
	limits := jsonrpc.RequestLimits()
	switch {
	case len(body) > limits.Bytes, !identity(h.Header["Content-Encoding"]), wide(body):
		return client
	case jsonrpc.Check(body, limits) != nil:
		return mentions(body)
	}
	if elements, ok := jsonrpc.Elements(body); ok {
		for _, e := range elements {
			if calls(e.Value) {
				return true
			}
		}
		return false
	}
	return calls(body)
}

// calls reports whether an object is a JSON-RPC call of an MCP method, under any spelling of its members' names.
func calls(v []byte) bool {
	o, _ := jsonrpc.Members(v)
	var rpc, mcp, shared, task bool
	for i := range o {
		switch {
		case strings.EqualFold(o[i].Name, "jsonrpc"):
			rpc = true
		case strings.EqualFold(o[i].Name, "method"):
			name, _ := jsonrpc.String(o[i].Value)
			mcp = mcp || mcpOnly(name)
			shared = shared || strings.HasPrefix(name, "tasks/") || name == "initialize"
		case strings.EqualFold(o[i].Name, "params"):
			params, _ := jsonrpc.Members(o[i].Value)
			task = task || params.Find("taskId") != nil || params.Find("protocolVersion") != nil
		}
	}
	return rpc && (mcp || shared && task)
}

// mcpOnly reports whether a method belongs to MCP alone. tasks/* is also A2A's, initialize the language servers', and ping
// everybody's.
func mcpOnly(name string) bool {
	switch name {
	case "server/discover", "subscriptions/listen", "completion/complete", "logging/setLevel":
		return true
	}
	family, _, ok := strings.Cut(name, "/")
	if !ok {
		return false
	}
	switch family {
	case "tools", "resources", "prompts", "notifications", "sampling", "elicitation", "roots", "skills":
		return true
	}
	return false
}

// longestMethod is above the length of every method that mcpOnly knows.
const longestMethod = 64

// mentions looks for an MCP method in a text that the strict reader refuses: in any string of it, escapes decoded.
func mentions(body []byte) bool {
	if !bytes.Contains(body, []byte("jsonrpc")) && !bytes.Contains(body, []byte(`\u`)) {
		return false
	}
	for {
		start := bytes.IndexByte(body, '"')
		if start < 0 {
			return false
		}
		body = body[start:]
		end := stringEnd(body)
		if end < 0 {
			return false
		}
		if end <= longestMethod*len(`\u0000`) {
			if name, ok := jsonrpc.String(body[:end]); ok && mcpOnly(name) {
				return true
			}
		}
		body = body[end:]
	}
}

// stringEnd returns where the string that b starts with ends, -1 if it does not.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
