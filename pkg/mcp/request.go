package mcp

import (
	"encoding/json/jsontext"
	"fmt"
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
	Assumed  Version        // the revision on record for the session, for requests that name none; 0 means 2025-03-26
	Batches  bool           // read the arrays of 2025-03-26, whose parts are judged one by one; else they are refused
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
	if o.Assumed == 0 || o.Assumed.Modern() { // which every request names
		o.Assumed = assumed
	}
	return o
}

// Message is one decoded exchange: a POST with its message or messages, or a request without a body.
type Message struct {
	head    *call.Request
	opt     Options
	plain   bool             // an HTTP request that is no part of MCP's transport
	form    []byte           // the body of a plain POST
	batch   *batch           // nil unless the body is an array
	rpc     *jsonrpc.Message // nil unless it is a POST of one message
	text    []byte           // what to forward in place of the message's bytes, nil if nothing was changed
	params  jsonrpc.Object
	meta    jsonrpc.Object // params._meta
	method  *Method        // nil unless it is a request or notification
	version Version
	intent  call.Intent
	target  call.Target
	wants   []call.Target // what a listener names, if it asks for more than that one thing
	args    jsontext.Value
}

// Decode reads one whole exchange (contract 3.2, 3.3): a POST with the body it came with, anything else with none. Exactly
// one of its results is nil; a Response is the refusal to send. The Message keeps h and body.
func Decode(h *call.Request, body []byte, o Options) (*Message, *Response) {
	m := &Message{head: h, opt: o.withDefaults()}
	m.version = m.opt.Assumed
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
	if m.metadata() { // clients name a revision here too, and it means nothing
		m.plain, m.intent = true, call.Plumbing
		return nil
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
	if m.plain && !m.consent() {
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

func (m *Message) readPost(body []byte) *Response {
	if m.authorizes(body) {
		m.plain, m.form, m.intent = true, body, call.Plumbing
		return nil
	}
	if r := m.checkBody(body); r != nil {
		return r
	}
	if m.opt.Batches && isArray(body) {
		return m.readBatch(body)
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
	return m.readMessage()
}

// readMessage reads what the envelope holds.
func (m *Message) readMessage() *Response {
	m.params, _ = jsonrpc.Members(m.rpc.Params)
	if twin := m.params.Twin(paramNames...); twin != "" {
		return m.ambiguous("a params member differs from a known one by case only")
	}
	if r := m.decideEra(); r != nil {
		return r
	}
	if m.rpc.Kind == jsonrpc.Response {
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
	m.target, m.wants, m.args, m.intent = t.target, t.wants, t.args, m.method.Intent
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
		return m.methodDenied(call.EntitlementDenied, fmt.Sprintf("the method %q is not in the table", name))
	case name == "initialize" && m.version.Modern():
		return m.methodDenied(call.EntitlementDenied, "initialize under "+m.version.String())
	}
	m.method = row
	return nil
}

// Fill sets what the message says in c: Protocol, Version, Direction, Method, Intent, Target, Arguments, Session and Trace.
// Version is that of the exchange, "" for a handshake that has not settled one. Of a batch it says no more than that it is one:
// its Parts say the rest.
func (m *Message) Fill(c *call.Call) {
	c.Protocol, c.Direction, c.Version = call.MCP, call.ToServer, m.version.String()
	c.Intent, c.Target, c.Arguments = m.intent, m.target, m.args
	c.Session, c.Trace = m.session(), m.trace()
	switch {
	case m.plain && m.intent == call.Plumbing: // of authentication: whoever may use something here needs it
		c.Version, c.Method = "", m.head.Method
	case m.plain:
		c.Protocol, c.Version, c.Method = call.HTTP, "", m.head.Method
	case m.batch != nil:
		c.Method = "batch"
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

// Encode returns the body to forward: the bytes as they came but for what Trim and Rewrite changed, or, if arguments is not nil,
// the same with the arguments replaced, or added where a call had none. It is nil for a request without a body. A method
// without arguments is forwarded as it came.
func (m *Message) Encode(arguments jsontext.Value) []byte {
	switch {
	case m.batch != nil:
		return m.batch.encode()
	case m.rpc == nil:
		return m.form
	case arguments != nil && m.method != nil && m.method.args != noArgs:
		return m.rpc.WithParams(m.withArguments(arguments))
	case m.text != nil:
		return m.text
	}
	return m.rpc.Raw
}

// Rewrite replaces the arguments in what Encode returns from now on, of the message itself and of the batch it is part of.
func (m *Message) Rewrite(arguments jsontext.Value) { m.text = m.Encode(arguments) }

// withArguments returns the params with other arguments. All other bytes stay.
func (m *Message) withArguments(arguments jsontext.Value) []byte {
	switch m.method.args {
	case inArguments:
		return m.params.Set(m.rpc.Params, "arguments", arguments)
	case inArgument:
		return m.params.Set(m.rpc.Params, "argument", arguments)
	}
	return arguments
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
