package mcp

import (
	"encoding/json/jsontext"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Options of one route. The zero value means the defaults.
type Options struct {
	Request  jsonrpc.Limits // what a caller may send; zero means jsonrpc.RequestLimits
	Response jsonrpc.Limits // what a server may answer; zero means jsonrpc.ResponseLimits
	MaxEvent int            // bytes of one server-sent event; 0 means 16 MiB
	Style    Style          // "" means Masked
	Methods  []string       // methods to let through beyond the table; they are authorised by their own name only
}

// defaultMaxEvent is the Go SDK's own limit: a larger event never reached anybody.
const defaultMaxEvent = 16 << 20

func (o Options) withDefaults() Options {
	if o.Request == (jsonrpc.Limits{}) {
		o.Request = jsonrpc.RequestLimits()
	}
	if o.Response == (jsonrpc.Limits{}) {
		o.Response = jsonrpc.ResponseLimits()
	}
	if o.MaxEvent == 0 {
		o.MaxEvent = defaultMaxEvent
	}
	if o.Style == "" {
		o.Style = Masked
	}
	return o
}

// Message is one decoded exchange: a POST with its message, or a request without a body.
type Message struct {
	head    *call.Request
	opt     Options
	plain   bool             // an HTTP request that is no part of MCP's transport
	rpc     *jsonrpc.Message // nil unless it is a POST
	params  jsonrpc.Object
	meta    jsonrpc.Object // params._meta
	method  *Method        // nil unless it is a request or notification
	version Version
	intent  call.Intent
	target  call.Target
	args    jsontext.Value
}

// Decode reads one whole exchange (contract 3.2, 3.3): a POST with the body it came with, anything else with none. Exactly
// one of its results is nil; a Response is the refusal to send. The Message keeps h and body.
func Decode(h *call.Request, body []byte, o Options) (*Message, *Response) {
	m := &Message{head: h, opt: o.withDefaults(), version: assumed}
	r := m.checkHead()
	switch {
	case r != nil:
	case h.Method == http.MethodPost:
		r = m.readPost(body)
	default:
		r = m.readBodiless(body)
	}
	if r != nil {
		return nil, r
	}
	return m, nil
}

// readBodiless reads everything but a POST. Only a GET that opens a stream and a DELETE that ends a session are MCP; the rest
// is judged as the plain HTTP it is: a caller who may use one tool may not thereby fetch every path of the port.
func (m *Message) readBodiless(body []byte) *Response {
	if len(body) > 0 {
		return m.refuseText(http.StatusBadRequest, call.Malformed, "a body with "+m.head.Method)
	}
	if r := m.checkFields(); r != nil {
		return r
	}
	if header, ok := m.field("Mcp-Protocol-Version"); ok {
		if m.version = ParseVersion(header); m.version == 0 {
			return m.unsupported(header)
		}
	}
	m.plain = !m.transport()
	m.intent = call.Plumbing
	if m.plain && !m.discovery() {
		m.intent = call.Use
	}
	return nil
}

// transport reports whether a request without a body opens a stream or ends a session.
func (m *Message) transport() bool {
	if m.head.Method != http.MethodGet && m.head.Method != http.MethodDelete {
		return false
	}
	for _, name := range [...]string{"Mcp-Session-Id", "Mcp-Protocol-Version", "Last-Event-Id"} {
		if len(m.head.Header[name]) > 0 {
			return true
		}
	}
	return m.head.Method == http.MethodGet && accepts(m.head.Header, "text/event-stream")
}

// discovery reports whether a request reads the metadata by which a client finds out how to authenticate (RFC 9728, RFC 8414,
// contract 9.1): who has no token yet must be able to.
func (m *Message) discovery() bool {
	const oidc = "/.well-known/openid-configuration"
	path := m.head.Path
	return m.head.Method == http.MethodGet &&
		(strings.HasPrefix(path, "/.well-known/oauth-protected-resource") || strings.HasPrefix(path, "/.well-known/oauth-authorization-server") ||
			strings.HasPrefix(path, oidc) || strings.HasSuffix(path, oidc))
}

func (m *Message) readPost(body []byte) *Response {
	if r := m.checkBody(body); r != nil {
		return r
	}
	rpc, err := jsonrpc.Parse(body, m.opt.Request)
	if err != nil {
		m.rpc = &jsonrpc.Message{ID: err.ID}
		return m.refuse(err.Status(), err.Code, err.Reason, err.Cause, nil)
	}
	m.rpc = rpc
	if r := m.checkFields(); r != nil {
		return r
	}
	m.params, _ = jsonrpc.Members(rpc.Params)
	if twin := m.params.Twin(paramNames...); twin != "" {
		return m.ambiguous("a params member differs from a known one by case only")
	}
	if r := m.decideEra(); r != nil {
		return r
	}
	if rpc.Kind == jsonrpc.Response {
		return m.readAnswer()
	}
	return m.readCall()
}

// readAnswer reads what a client replies to a server's request. Only the legacy era has those.
func (m *Message) readAnswer() *Response {
	if m.version.Modern() {
		return m.malformed("a response from the client, which " + m.version.String() + " does not have")
	}
	m.intent = call.Plumbing
	return nil
}

func (m *Message) readCall() *Response {
	if r := m.lookup(); r != nil {
		return r
	}
	t, err := m.method.read(m.params, m.rpc.Params, m.version)
	if err != nil {
		return m.refuseParams(err)
	}
	m.target, m.args, m.intent = t.target, t.args, m.method.Intent
	if m.method.in == inSubscribing && t.target.Name != "" {
		m.intent = call.Use // to hear of a resource is to use it
	}
	return m.checkMirrors()
}

// lookup finds the method's row and checks that the envelope fits it.
func (m *Message) lookup() *Response {
	name := m.rpc.Method
	if strings.ContainsRune(name, 0) {
		return m.invalidParams(http.StatusBadRequest, "NUL in the method")
	}
	notification := m.rpc.Kind == jsonrpc.Notification
	named := strings.HasPrefix(name, "notifications/")
	row := m.opt.find(name, Client, notification)
	switch {
	case named && !notification:
		return m.malformed("a notification with an id")
	case notification && !named && methods[name] != nil:
		return m.malformed("a request without an id")
	case row == nil:
		return m.methodDenied(call.EntitlementDenied, "a method that is not in the table")
	case name == "initialize" && m.version.Modern():
		return m.methodDenied(call.EntitlementDenied, "initialize under "+m.version.String())
	}
	m.method = row
	return nil
}

// Fill sets what the message says in c: Protocol, Version, Direction, Method, Intent, Target, Arguments, Session and Trace.
// Version is that of the exchange, "" for a handshake that has not settled one.
func (m *Message) Fill(c *call.Call) {
	c.Protocol, c.Direction, c.Version = call.MCP, call.ToServer, m.version.String()
	c.Intent, c.Target, c.Arguments = m.intent, m.target, m.args
	c.Session, c.Trace = m.session(), m.trace()
	switch {
	case m.plain:
		c.Protocol, c.Version, c.Method = call.HTTP, "", m.head.Method
	case m.rpc == nil:
		c.Method = m.head.Method
	case m.method == nil:
		c.Method = "response"
	default:
		c.Method = m.method.Name
	}
	if _, said := m.field("Mcp-Protocol-Version"); !said && c.Method == "initialize" {
		c.Version = ""
	}
}

// session is the protocol's own session. The modern era has none, whatever a header says.
func (m *Message) session() string {
	if m.version.Modern() {
		return ""
	}
	return m.head.Header.Get("Mcp-Session-Id")
}

// Encode returns the body to forward: the bytes as they came, or, if arguments is not nil, the same with the arguments
// replaced, or added where a call had none. It is nil for a request without a body. A method without arguments is forwarded
// as it came.
func (m *Message) Encode(arguments jsontext.Value) []byte {
	if m.rpc == nil {
		return nil
	}
	if arguments == nil || m.method == nil {
		return m.rpc.Raw
	}
	switch m.method.args {
	case inArguments:
		return m.rpc.WithParams(m.params.Set(m.rpc.Params, "arguments", arguments))
	case inArgument:
		return m.rpc.WithParams(m.params.Set(m.rpc.Params, "argument", arguments))
	case inParams:
		return m.rpc.WithParams(arguments)
	}
	return m.rpc.Raw
}

// Upstream changes the header that is forwarded: an answer in an encoding we cannot read could not be judged, and a method
// override would be a second method.
func (m *Message) Upstream(h http.Header) {
	delete(h, "Accept-Encoding")
	for _, k := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		delete(h, k)
	}
}

// answered reports whether the message waits for a response with its own id.
func (m *Message) answered() bool { return m.rpc != nil && m.rpc.Kind == jsonrpc.Request }
