package mcp

import (
	"encoding/json/jsontext"
	"net/http"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/sse"
)

// Response is a finished answer of the proxy's own. Code and Reason are for the record; the peer sees the rest.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Code   call.Code
	Reason string
}

func (m *Message) malformed(reason string) *Response {
	return m.refuse(http.StatusBadRequest, jsonrpc.CodeInvalidRequest, call.Malformed, reason, nil)
}

func (m *Message) ambiguous(reason string) *Response {
	return m.refuse(http.StatusBadRequest, jsonrpc.CodeInvalidRequest, call.Ambiguous, reason, nil)
}

// mismatch refuses what the header and the body say differently, in the modern era's own form.
func (m *Message) mismatch(reason string) *Response {
	return m.refuse(http.StatusBadRequest, codeHeaderMismatch, call.Ambiguous, reason, nil)
}

// contradicts is a mismatch in either era: the legacy one has no code for it.
func (m *Message) contradicts(reason string) *Response {
	if m.version.Modern() {
		return m.mismatch(reason)
	}
	return m.ambiguous(reason)
}

func (m *Message) unsupportedMedia(reason string) *Response {
	return m.refuse(http.StatusUnsupportedMediaType, jsonrpc.CodeInvalidRequest, call.Malformed, reason, nil)
}

func (m *Message) invalidParams(status int, reason string) *Response {
	return m.refuse(status, jsonrpc.CodeInvalidParams, call.Malformed, reason, nil)
}

// refuseParams renders why params could not be read (contract section 7: 200 in the legacy era, 400 in the modern one).
func (m *Message) refuseParams(err *paramError) *Response {
	switch err.kind {
	case badText:
		return m.invalidParams(http.StatusBadRequest, err.text)
	case twoWays, otherCase:
		return m.ambiguous(err.text)
	}
	status := http.StatusOK
	if m.version.Modern() {
		status = http.StatusBadRequest
	}
	return m.invalidParams(status, err.text)
}

// methodDenied refuses a method as if it did not exist. A notification is dropped.
func (m *Message) methodDenied(code call.Code, reason string) *Response {
	if m.rpc.Kind == jsonrpc.Notification {
		return &Response{Status: http.StatusAccepted, Header: http.Header{}, Code: code, Reason: reason}
	}
	return m.refuse(m.methodStatus(), jsonrpc.CodeMethodNotFound, code, reason, nil)
}

// bland is all that a peer is told of what was wrong with its message.
func bland(code int) string {
	switch code {
	case jsonrpc.CodeParse:
		return "Parse error"
	case jsonrpc.CodeMethodNotFound:
		return "Method not found"
	case jsonrpc.CodeInvalidParams:
		return "Invalid params"
	case codeHeaderMismatch:
		return "Header mismatch"
	case codeUnsupportedVersion:
		return "Unsupported protocol version"
	}
	return "Invalid request"
}

// refuse answers something that was not understood or does not exist. The id is left out if it could not be read.
func (m *Message) refuse(status, rpc int, code call.Code, reason string, data jsontext.Value) *Response {
	var id jsonrpc.ID
	if m.rpc != nil {
		id = m.rpc.ID
	}
	r := m.reply(status, code, jsonrpc.AppendError(nil, id, rpc, bland(rpc), data))
	r.Reason = reason
	return r
}

// reply wraps a JSON body as the caller accepts it: JSON, or one event if it takes nothing else.
func (m *Message) reply(status int, code call.Code, body []byte) *Response {
	r := &Response{Status: status, Code: code, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
	if status == http.StatusOK && onlyEvents(m.head.Header) { // no client reads events out of an error status
		r.Body = asEvent(body)
		r.Header = http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"}}
	}
	return r
}

func asEvent(body []byte) []byte {
	e := sse.Event{Data: body, HasData: true}
	return e.Append(nil)
}

// refuseText answers where nobody waits for a JSON-RPC message. Nobody is told more than the code.
func (m *Message) refuseText(status int, code call.Code, reason string) *Response {
	return &Response{
		Status: status, Code: code, Reason: reason,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte(string(code) + "\n"),
	}
}
