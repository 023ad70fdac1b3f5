package mcp

import (
	"net/http"
	"slices"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// What a keeper of sessions has to know of an exchange.

// Opens reports whether the message is the handshake by which a session begins.
func (m *Message) Opens() bool { return m.method != nil && m.method.Name == "initialize" }

// Ends reports whether the message ends a session.
func (m *Message) Ends() bool {
	return m.head.Method == http.MethodDelete && !m.plain && m.session() != ""
}

// Listens reports whether the message opens a stream that lasts until somebody closes it: a GET of the legacy transports, resumed
// or not, or subscriptions/listen.
func (m *Message) Listens() bool {
	return m.streams() || m.method != nil && m.method.in == inSubscribing
}

// Listing returns the method of a request that lists something, "" for any other, and whether it asks for a further page.
func (m *Message) Listing() (method string, page bool) {
	if m.method == nil || m.method.list == "" && m.method.Name != "tasks/list" {
		return "", false
	}
	cursor := m.params.Get("cursor")
	return m.method.Name, cursor != nil && cursor.Kind() != 'n'
}

// NoSession refuses a message as if its session did not exist, so that its client begins a new one (contract 13.98). The body
// keeps clients alive that take a bare 404 for the end of everything.
func (m *Message) NoSession() *Response {
	const text = "Session not found"
	waiting := m.waiting()
	if len(waiting) == 0 {
		return m.refuseText(http.StatusNotFound, call.EntitlementDenied, text)
	}
	r := m.reply(http.StatusNotFound, call.EntitlementDenied, m.say(waiting, func(w *Message) []byte {
		return jsonrpc.AppendError(nil, w.rpc.ID, jsonrpc.CodeInvalidRequest, text, nil)
	}))
	r.Reason = text
	return r
}

// Bounds on what is remembered of a handshake.
const (
	maxCapabilities = 64
	maxCapability   = 64 // bytes of a name
)

// Handshake is what a session was opened with.
type Handshake struct {
	Version        Version  // that the server chose; 0 if it is none we know
	Client, Server []string // names of the capabilities of each side, sorted
}

// Handshake returns what was agreed, if the item is the successful answer to initialize (contract 4.1).
func (it *Item) Handshake() (Handshake, bool) {
	if request := it.Request(); request == nil || !request.Opens() || it.Reply.Body == nil {
		return Handshake{}, false
	}
	result, _ := jsonrpc.Members(it.Reply.Body)
	version, _ := result.String("protocolVersion")
	return Handshake{ParseVersion(version), capabilities(it.m.params), capabilities(result)}, true
}

func capabilities(o jsonrpc.Object) []string {
	declared, _ := jsonrpc.Members(o.Get("capabilities"))
	var names []string
	for _, c := range declared {
		if len(c.Name) <= maxCapability {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), maxCapabilities)]
}
