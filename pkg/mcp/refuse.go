package mcp

import (
	"encoding/json/jsontext"
	"net/http"
	"strconv"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Style is how the refusal of a named target looks to the caller.
type Style string

// The styles (contract section 7).
const (
	Masked    Style = "masked"    // as if the name did not exist; the default
	Explained Style = "explained" // an error that says it was policy
	Result    Style = "result"    // for tools: a result with isError, which the model reads; else as Explained
)

// Denial is a decision to render.
type Denial struct {
	Code      call.Code
	Retry     time.Duration // when asking again may help
	Ticket    string        // for ApprovalRequired
	Challenge string        // for WWW-Authenticate; "" if the caller has nothing to gain from one
}

// Codes of our own lie outside the range that JSON-RPC reserves, as MCP 2026-07-28 asks (basic/index). The others are MCP's.
const (
	codeDenied             = -31403
	codeUnauthenticated    = -31401
	codeRateLimited        = -31429
	codeNoResource         = -32002 // revisions before 2026-07-28 only
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022
)

// form is the wire form of a reason code.
type form struct {
	status int
	code   int
	text   string
}

// forms is the one table of reason codes: a row for each. 200 wherever a policy speaks: 4xx ends the sessions of some clients
// (contract 8.1).
var forms = map[call.Code]form{
	call.EntitlementDenied:   {http.StatusOK, codeDenied, "Not permitted"},
	call.ScopeMissing:        {http.StatusForbidden, codeDenied, "More scope is needed"},
	call.Unauthenticated:     {http.StatusUnauthorized, codeUnauthenticated, "Authentication is needed"},
	call.TokenInvalid:        {http.StatusUnauthorized, codeUnauthenticated, "The token is not valid"},
	call.ChainInvalid:        {http.StatusOK, codeDenied, "The delegation chain is not valid"},
	call.ChainUnbound:        {http.StatusOK, codeDenied, "The delegation chain is not the caller's"},
	call.ActorNotAllowed:     {http.StatusOK, codeDenied, "Not permitted for this actor"},
	call.Quarantined:         {http.StatusOK, codeDenied, "Not available"},
	call.RateLimited:         {http.StatusOK, codeRateLimited, "Too many requests"},
	call.BudgetExhausted:     {http.StatusOK, codeRateLimited, "The budget is used up"},
	call.LoopDetected:        {http.StatusOK, codeDenied, "Stopped as a loop"},
	call.DepthExceeded:       {http.StatusOK, codeDenied, "Delegated too deeply"},
	call.GuardRejected:       {http.StatusOK, codeDenied, "Rejected"},
	call.SchemaInvalid:       {http.StatusOK, jsonrpc.CodeInvalidParams, "The arguments do not fit the schema"},
	call.DefinitionChanged:   {http.StatusOK, codeDenied, "The definition has changed"},
	call.ApprovalRequired:    {http.StatusOK, codeDenied, "Approval is needed"},
	call.ApprovalRefused:     {http.StatusOK, codeDenied, "Approval was refused"},
	call.Malformed:           {http.StatusBadRequest, jsonrpc.CodeInvalidRequest, "Invalid request"},
	call.Ambiguous:           {http.StatusOK, jsonrpc.CodeInvalidRequest, "Invalid request"},
	call.TooLarge:            {http.StatusRequestEntityTooLarge, jsonrpc.CodeInvalidRequest, "Too large"},
	call.UnsupportedVersion:  {http.StatusBadRequest, codeUnsupportedVersion, "Unsupported protocol version"},
	call.UpstreamUnavailable: {http.StatusServiceUnavailable, jsonrpc.CodeInternal, "The server is not available"},
	call.PolicyError:         {http.StatusOK, codeDenied, "Not permitted"},
}

// formOf returns the row of a code. A code without one says no more than that the answer is no.
func formOf(c call.Code) form {
	f, ok := forms[c]
	if !ok {
		return forms[call.PolicyError]
	}
	return f
}

// Deny renders a policy refusal for what this message is (contract sections 7 and 8): a request gets an error with its own
// id, a notification the 202 that no client minds, a stream or the end of a session a 405. A batch gets an array with an error
// for each request in it.
func (m *Message) Deny(d Denial) *Response {
	waiting := m.waiting()
	switch {
	case m.rpc == nil && m.batch == nil:
		return m.denyBodiless(d)
	case len(waiting) == 0:
		return &Response{Status: http.StatusAccepted, Header: http.Header{}, Code: d.Code}
	}
	r := m.reply(waiting[0].denialStatus(d), d.Code, m.say(waiting, func(w *Message) []byte { return w.denial(d) }))
	m.decorate(r, d)
	return r
}

// Instead returns the message to forward in place of a client's answer that was refused, so that the server does not wait for
// it for ever (contract 6.5). It is nil for every other message, and for an answer to nothing.
func (m *Message) Instead() []byte {
	if m.rpc == nil || m.rpc.Kind != jsonrpc.Response || m.rpc.ID == nil {
		return nil
	}
	return jsonrpc.AppendError(nil, m.rpc.ID, codeDenied, formOf(call.EntitlementDenied).text, nil)
}

// denyBodiless answers a request that has no message. 405 tells a client that there is no stream here; it goes on without.
func (m *Message) denyBodiless(d Denial) *Response {
	status := formOf(d.Code).status
	switch {
	case status == http.StatusUnauthorized:
	case formOf(d.Code).code == codeRateLimited:
		status = http.StatusTooManyRequests
	case m.plain:
		status = http.StatusForbidden
	default:
		status = http.StatusMethodNotAllowed
	}
	r := m.refuseText(status, d.Code, "")
	if status == http.StatusMethodNotAllowed {
		r.Header.Set("Allow", "POST")
	}
	m.decorate(r, d)
	return r
}

// decorate adds the headers that tell a caller what would help.
func (m *Message) decorate(r *Response, d Denial) {
	if formOf(d.Code).code == codeRateLimited && d.Retry > 0 {
		r.Header.Set("Retry-After", strconv.FormatInt(int64((d.Retry+time.Second-1)/time.Second), 10))
	}
	switch {
	case d.Challenge != "" && (r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden):
		r.Header.Set("WWW-Authenticate", d.Challenge)
	case r.Status == http.StatusUnauthorized: // RFC 9110, section 15.5.2 demands one
		r.Header.Set("WWW-Authenticate", "Bearer")
	}
}

// hidden reports whether the refusal is about what the message asks for, and not about who, when or how often. A stage that
// says Ambiguous has found two readings of a name or an argument: to say so would tell that a rule speaks of it.
func hidden(c call.Code) bool {
	return c == call.EntitlementDenied || c == call.PolicyError || c == call.Ambiguous
}

// unnamed reports whether d refuses a method as such.
func (m *Message) unnamed(d Denial) bool { return hidden(d.Code) && m.named().Name == "" }

// named is what the message asks for, as far as a refusal speaks of it: of several things the first.
func (m *Message) named() call.Target {
	if len(m.wants) > 0 {
		return m.wants[0]
	}
	return m.target
}

func (m *Message) denialStatus(d Denial) int {
	switch {
	case m.unnamed(d):
		return m.methodStatus()
	case hidden(d.Code):
		return http.StatusOK
	case d.Code == call.ScopeMissing && d.Challenge == "": // without a way to step up, 403 only ends sessions
		return http.StatusOK
	}
	return formOf(d.Code).status
}

// methodStatus is 200 for legacy clients and the 404 that 2026-07-28 demands for an unimplemented method.
func (m *Message) methodStatus() int {
	if m.version.Modern() {
		return http.StatusNotFound
	}
	return http.StatusOK
}

// denial is the JSON-RPC response that refuses a request.
func (m *Message) denial(d Denial) []byte {
	f := formOf(d.Code)
	switch {
	case m.unnamed(d):
		return jsonrpc.AppendError(nil, m.rpc.ID, jsonrpc.CodeMethodNotFound, bland(jsonrpc.CodeMethodNotFound), nil)
	case hidden(d.Code) && m.opt.Style == Masked:
		return m.masked()
	case m.opt.Style == Result && m.method.Name == "tools/call" && m.denialStatus(d) == http.StatusOK:
		return m.toolError(f.text, d)
	}
	return jsonrpc.AppendError(nil, m.rpc.ID, f.code, f.text, d.data())
}

// data tells a program what the text tells a person. Of a name it says no more than that it was policy.
func (d Denial) data() jsontext.Value {
	reason := string(d.Code)
	if hidden(d.Code) {
		reason = "policy"
	}
	b := append([]byte(`{"reason":`), jsonrpc.Quote(reason)...)
	if d.Retry > 0 {
		b = strconv.AppendInt(append(b, `,"retryAfterMs":`...), d.Retry.Milliseconds(), 10)
	}
	if d.Ticket != "" {
		b = append(append(b, `,"ticket":`...), jsonrpc.Quote(d.Ticket)...)
	}
	return append(b, '}')
}

// masked is what a server says of a name it does not have. It depends on nothing but the request.
func (m *Message) masked() []byte {
	name, code := m.named().Name, jsonrpc.CodeInvalidParams
	switch m.named().Kind {
	case call.Tool:
		return jsonrpc.AppendError(nil, m.rpc.ID, code, "Unknown tool: "+name, nil)
	case call.Prompt:
		return jsonrpc.AppendError(nil, m.rpc.ID, code, "Unknown prompt: "+name, nil)
	case call.Task:
		return jsonrpc.AppendError(nil, m.rpc.ID, code, "Failed to retrieve task: Task not found", nil)
	case call.Resource:
		if !m.version.Modern() {
			code = codeNoResource
		}
	}
	data := append(append([]byte(`{"uri":`), jsonrpc.Quote(name)...), '}')
	return jsonrpc.AppendError(nil, m.rpc.ID, code, "Resource not found", data)
}

func (m *Message) toolError(text string, d Denial) []byte {
	b := []byte(`{"content":[{"type":"text","text":`)
	b = append(b, jsonrpc.Quote(text+" ("+string(d.Code)+")")...)
	b = append(b, `}],"isError":true`...)
	if m.version.Modern() {
		b = append(b, `,"resultType":"complete"`...)
	}
	return jsonrpc.AppendResult(nil, m.rpc.ID, append(b, '}'))
}

// Unavailable says that no endpoint answered; status is 503 or 504.
func (m *Message) Unavailable(status int) *Response {
	waiting := m.waiting()
	if len(waiting) == 0 {
		return m.refuseText(status, call.UpstreamUnavailable, "")
	}
	f := formOf(call.UpstreamUnavailable)
	return m.reply(status, call.UpstreamUnavailable, m.say(waiting, func(w *Message) []byte {
		return jsonrpc.AppendError(nil, w.rpc.ID, f.code, f.text, nil)
	}))
}

// Faulty replaces an answer that no client may see, when nothing of it was written yet.
func (m *Message) Faulty() *Response {
	waiting := m.waiting()
	if len(waiting) == 0 {
		return m.refuseText(http.StatusBadGateway, call.UpstreamUnavailable, "")
	}
	return m.reply(http.StatusOK, call.UpstreamUnavailable, m.say(waiting, (*Message).fault))
}

func (m *Message) fault() []byte {
	return jsonrpc.AppendError(nil, m.rpc.ID, jsonrpc.CodeInternal, "The server's answer could not be read", nil)
}
