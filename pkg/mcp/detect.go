package mcp

import (
	"bytes"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Shape is the protocol that an exchange positively is (contract section 14).
type Shape int

// The shapes, in the order in which the messages of an array decide. Unclear is a task method that MCP and A2A both have, with
// nothing to tell whose it is: two servers would read two things.
const (
	None Shape = iota
	A2A
	Unclear
	MCP
)

// String returns the name of the protocol, "" if there is not exactly one.
func (s Shape) String() string {
	switch s {
	case MCP:
		return "mcp"
	case A2A:
		return "a2a"
	}
	return ""
}

// Declares reports whether an exchange says by its headers that it is MCP. Nobody else sends these.
func Declares(h http.Header) bool {
	for _, name := range [...]string{"Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// Matches reports whether an exchange is positively MCP.
func Matches(h *call.Request, body []byte) bool { return Classify(h, body) == MCP }

// Classify tells what an exchange on an undeclared port is: by the headers that only one protocol has, or by a JSON-RPC method
// that only one has; a nil body leaves it to the headers and, for A2A, to the path. It chooses a decoder; it grants nothing.
// What says MCP wins: the paths and headers of A2A mean nothing to a server of MCP, which would run the message all the same.
//
// It finds what the most lenient server would run, not what the strict reader accepts: a malformed call must be refused by
// Decode rather than pass as plain HTTP.
func Classify(h *call.Request, body []byte) Shape {
	if Declares(h.Header) {
		return MCP
	}
	declared := a2aRequest(h)
	found := None
	if h.Method == http.MethodPost && len(body) > 0 {
		found = shapeOf(h.Header, body, declared)
	}
	if found == None && declared {
		return A2A
	}
	return found
}

func shapeOf(h http.Header, body []byte, declared bool) Shape {
	limits := jsonrpc.RequestLimits()
	switch {
	case len(body) > limits.Bytes, !identity(h["Content-Encoding"]), wide(body):
		// Only a client of streamable HTTP takes both forms, and no server of it answers one who does not.
		if accepts(h, "application/json") && accepts(h, "text/event-stream") {
			return MCP
		}
		return None
	case jsonrpc.Check(body, limits) != nil:
		return mentions(body)
	}
	elements, ok := jsonrpc.Elements(body)
	if !ok {
		return shapeOfCall(body, declared)
	}
	found := None
	for _, e := range elements {
		found = max(found, shapeOfCall(e.Value, declared))
	}
	return found
}

// evidence is what the strings of a message say.
type evidence struct {
	rpc, mcp, a2a bool
	task, both    bool // a method of the family that both have, and one that both have
	initialize    bool
	taskID, id    bool // how it names its task
	handshake     bool // a revision of MCP
}

// add reads a method's name.
func (e *evidence) add(method string) {
	e.mcp = e.mcp || mcpOnly(method)
	e.a2a = e.a2a || a2aOnly(method)
	e.task = e.task || strings.HasPrefix(method, "tasks/")
	e.both = e.both || method == "tasks/get" || method == "tasks/cancel" || method == "tasks/list"
	e.initialize = e.initialize || method == "initialize"
}

func (e *evidence) shape(declared bool) Shape {
	switch {
	case e.mcp, e.initialize && e.handshake:
		return MCP
	case e.a2a:
		return A2A
	case e.task && e.taskID && !e.id:
		return MCP
	case !e.both:
		return None
	case e.id != e.taskID, !e.id && declared:
		return A2A
	}
	return Unclear
}

// shapeOfCall tells whose JSON-RPC call an object is, under any spelling of its members' names.
func shapeOfCall(v []byte, declared bool) Shape {
	o, _ := jsonrpc.Members(v)
	var e evidence
	for i := range o {
		switch {
		case strings.EqualFold(o[i].Name, "jsonrpc"):
			e.rpc = true
		case strings.EqualFold(o[i].Name, "method"):
			name, _ := jsonrpc.String(o[i].Value)
			e.add(name)
		case strings.EqualFold(o[i].Name, "params"):
			e.addParams(o[i].Value)
		}
	}
	if !e.rpc {
		return None
	}
	return e.shape(declared)
}

// addParams reads by which members the params name a task, or a revision: a string. Other protocols count theirs.
func (e *evidence) addParams(v []byte) {
	params, _ := jsonrpc.Members(v)
	for i := range params {
		name, value := params[i].Name, params[i].Value
		e.taskID = e.taskID || strings.EqualFold(name, "taskId")
		e.id = e.id || strings.EqualFold(name, "id")
		e.handshake = e.handshake || strings.EqualFold(name, "protocolVersion") && value.Kind() == '"'
	}
}

// mcpOnly reports whether a method belongs to MCP alone. Of tasks/*, A2A has some; initialize is also the language servers', and
// ping everybody's.
func mcpOnly(name string) bool {
	switch name {
	case "server/discover", "subscriptions/listen", "completion/complete", "logging/setLevel", "tasks/result", "tasks/update":
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

// longestMethod is above the length of every method that mcpOnly and a2aOnly know.
const longestMethod = 64

// mentions looks for a method in a text that the strict reader refuses: in any string of it, escapes decoded. There, a task
// method is unclear whatever else the text says: it is refused either way.
func mentions(body []byte) Shape {
	if !bytes.Contains(body, []byte("jsonrpc")) && !bytes.Contains(body, []byte(`\u`)) {
		return None
	}
	var e evidence
	for name := range shortStrings(body) {
		e.add(name)
		e.handshake = e.handshake || strings.EqualFold(name, "protocolVersion")
	}
	return e.shape(false)
}

// shortStrings yields every string in a text that is no JSON, if it might be the name of a method.
func shortStrings(body []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			start := bytes.IndexByte(body, '"')
			if start < 0 {
				return
			}
			body = body[start:]
			end := stringEnd(body)
			if end < 0 {
				return
			}
			if end <= longestMethod*len(`\u0000`) {
				if name, ok := jsonrpc.String(body[:end]); ok && !yield(name) {
					return
				}
			}
			body = body[end:]
		}
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
