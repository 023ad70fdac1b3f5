package jsonrpc

import (
	"encoding/json/jsontext"
	"strconv"
)

// Kind says what an envelope is.
type Kind int

// The kinds of envelope.
const (
	Request Kind = iota + 1
	Notification
	Response
)

// Message is one envelope. Its values are slices of Raw.
type Message struct {
	Kind   Kind
	ID     ID
	Method string
	Params jsontext.Value // nil if absent; an object otherwise
	Result jsontext.Value
	Error  jsontext.Value // an object with an integer code and a string message
	Raw    []byte         // the whole text, as it came

	envelope Object
}

// maxMethod is above every method of the protocols we read; a longer one could only fill logs.
const maxMethod = 256

// Parse reads one envelope of any kind (JSON-RPC 2.0 sections 4 and 5, contract mcp-a2a 12.1). A batch is refused. The
// Message keeps b and shares its bytes.
func Parse(b []byte, l Limits) (*Message, *Error) {
	if err := Check(b, l); err != nil {
		return nil, err
	}
	o, ok := Members(b)
	if !ok {
		return nil, invalid("not one JSON object")
	}
	m := &Message{Raw: b, envelope: o}
	if v := o.Get("id"); v != nil {
		if m.ID, ok = readID(v, l); !ok {
			return nil, invalid("id is not a printable string of up to %d bytes or an integer within 2^53-1", l.ID)
		}
	}
	if err := m.read(); err != nil {
		err.ID = m.ID
		return nil, err
	}
	return m, nil
}

func (m *Message) read() *Error {
	if twin := m.envelope.Twin("jsonrpc", "id", "method", "params", "result", "error"); twin != "" {
		return ambiguous("member %q differs from a known one by case only", clip(twin))
	}
	if v := m.envelope.Get("jsonrpc"); string(v) != `"2.0"` && !equals(v, "2.0") {
		return invalid("jsonrpc is not \"2.0\"")
	}
	if m.envelope.Find("method") != nil {
		return m.readRequest()
	}
	return m.readResponse()
}

func (m *Message) readRequest() *Error {
	m.Kind = Notification
	if m.ID != nil {
		m.Kind = Request
	}
	for i := range m.envelope {
		f := &m.envelope[i]
		switch f.Name {
		case "jsonrpc", "id":
		case "method":
			s, ok := String(f.Value)
			if !ok || s == "" || len(s) > maxMethod {
				return invalid("method is not a string of 1 to %d bytes", maxMethod)
			}
			m.Method = s
		case "params":
			if f.Value.Kind() != '{' {
				return invalid("params is not an object")
			}
			m.Params = f.Value
		default:
			return invalid("unknown member %q", clip(f.Name))
		}
	}
	return nil
}

func (m *Message) readResponse() *Error {
	m.Kind = Response
	for i := range m.envelope {
		f := &m.envelope[i]
		switch f.Name {
		case "jsonrpc", "id":
		case "result":
			m.Result = f.Value
		case "error":
			m.Error = f.Value
		default:
			return invalid("unknown member %q", clip(f.Name))
		}
	}
	switch {
	case m.Result != nil && m.Error != nil:
		return invalid("both result and error")
	case m.Result == nil && m.Error == nil:
		return invalid("neither method, result nor error")
	case m.Result != nil && m.ID == nil:
		return invalid("a result without an id")
	case m.Error != nil && !validError(m.Error):
		return invalid("error is not an object with an integer code and a string message")
	}
	return nil
}

// equals reports whether v is a string, however escaped, that reads s.
func equals(v jsontext.Value, s string) bool {
	got, ok := String(v)
	return ok && got == s
}

func validError(v jsontext.Value) bool {
	o, ok := Members(v)
	if !ok {
		return false
	}
	_, ok = o.String("message")
	return ok && safeInteger(o.Get("code")) && o.Twin("code", "message", "data") == ""
}

// WithParams returns the message's text with other params; all other bytes stay.
func (m *Message) WithParams(v jsontext.Value) []byte { return m.envelope.Set(m.Raw, "params", v) }

// WithResult returns the message's text with another result; all other bytes stay.
func (m *Message) WithResult(v jsontext.Value) []byte { return m.envelope.Set(m.Raw, "result", v) }

// WithError returns the message's text with another error object; all other bytes stay.
func (m *Message) WithError(v jsontext.Value) []byte { return m.envelope.Set(m.Raw, "error", v) }

// AppendError appends an error response. The id is copied as it came and left out if there is none; data is raw JSON or nil.
func AppendError(b []byte, id ID, code int, message string, data jsontext.Value) []byte {
	b = appendHead(b, id)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, message)
	if data != nil {
		b = append(b, `,"data":`...)
		b = append(b, data...)
	}
	return append(b, "}}"...)
}

// AppendResult appends a response with a result, which is raw JSON.
func AppendResult(b []byte, id ID, result jsontext.Value) []byte {
	b = appendHead(b, id)
	b = append(b, `,"result":`...)
	b = append(b, result...)
	return append(b, '}')
}

func appendHead(b []byte, id ID) []byte {
	b = append(b, `{"jsonrpc":"2.0"`...)
	if id != nil {
		b = append(b, `,"id":`...)
		b = append(b, id...)
	}
	return b
}
