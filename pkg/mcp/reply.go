package mcp

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/sse"
)

// Mode says what to do with an answer.
type Mode int

// The modes.
const (
	Relay       Mode = iota + 1 // decode and judge each item
	Passthrough                 // no client reads a message out of it
)

// ErrUpstream marks an answer that no client may see: the server broke the protocol, or its answer might be read in two ways.
var ErrUpstream = errors.New("mcp: faulty answer")

func faulty(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUpstream, fmt.Sprintf(format, args...))
}

// Replies is the answer to one Message.
type Replies struct {
	m      *Message
	status int
	mode   Mode
	stream bool
	fault  error // what is already wrong with the head
	body   io.Reader
	seq    int
	opened bool // an endpoint event was seen
}

// Replies looks at an answer's head and prepares to read its body. It reads nothing yet.
func (m *Message) Replies(status int, h http.Header, body io.Reader) *Replies {
	r := &Replies{m: m, status: status, mode: Relay, body: body}
	media, charset, ok := mediaType(h["Content-Type"])
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified || m.head.Method == http.MethodHead:
		r.mode = Passthrough // there is no body
		return r
	case !ok:
		r.fault = faulty("Content-Type cannot be read in one way")
	case media == "text/event-stream":
		r.stream = true
	case r.success() && m.streams() && status != http.StatusAccepted:
		r.fault = faulty("no event stream where one was asked for")
	case m.plain, r.success() && media != "" && !strings.Contains(media, "json"):
		// A client that got 200 and another type gives up. Of an error status some read the body whatever its type.
		r.mode = Passthrough
		return r
	}
	switch {
	case r.fault != nil:
	case !identity(h["Content-Encoding"]):
		r.fault = faulty("compressed although identity was asked for")
	case charset != "" && !strings.EqualFold(charset, "utf-8"):
		r.fault = faulty("charset is not utf-8")
	}
	return r
}

func mediaType(lines []string) (media, charset string, ok bool) {
	switch len(lines) {
	case 0:
		return "", "", true
	case 1:
		if lines[0] == "application/json" || lines[0] == "text/event-stream" {
			return lines[0], "", true
		}
		media, params, err := mime.ParseMediaType(lines[0])
		return media, params["charset"], err == nil
	}
	return "", "", false
}

// streams reports whether the message opens a server's stream.
func (m *Message) streams() bool {
	return m.rpc == nil && !m.plain && m.head.Method == http.MethodGet
}

func (r *Replies) success() bool { return r.status >= 200 && r.status < 300 }

// Mode says whether the answer has to be decoded.
func (r *Replies) Mode() Mode { return r.mode }

// Stream reports whether the answer comes as server-sent events.
func (r *Replies) Stream() bool { return r.stream }

// All yields the items in order, each as soon as it is there. An error is final: the answer is faulty (ErrUpstream) or could
// not be read. On a stream that a GET opened, items go on after a Final one: it answers a request of another exchange.
func (r *Replies) All() iter.Seq2[*Item, error] {
	switch {
	case r.fault != nil:
		return func(yield func(*Item, error) bool) { yield(nil, r.fault) }
	case r.stream:
		return r.events
	}
	return r.object
}

// Item is one thing to relay.
type Item struct {
	Reply *call.Reply // nil if it carries no message: priming, retry, a comment, an error page
	m     *Message
	event *sse.Event // nil for a body
	rpc   *jsonrpc.Message
	raw   []byte
}

// Bytes returns what to write for the item as it is: a body as it came, an event in the one form every client reads.
func (it *Item) Bytes() []byte {
	if it.event == nil {
		return it.raw
	}
	return it.event.Append(nil)
}

// With returns what to write for the item with its Reply's Body replaced, or, if the reply is an error, with another error
// object. All other bytes of the message stay. A modern list is marked private, because it was cut for one caller and no
// cache may show it to another; the pages of one listing must agree on that, so a caller of With for one page calls it for
// all (contract 6.1). The item must have a Reply.
func (it *Item) With(body []byte) []byte {
	var text []byte
	switch {
	case !it.Reply.Final:
		text = it.rpc.WithParams(body)
	case it.Reply.Err != nil:
		text = it.rpc.WithError(body)
	case it.m.version.Modern() && it.Reply.Items != nil:
		text = it.rpc.WithResult(private(body))
	default:
		text = it.rpc.WithResult(body)
	}
	if it.event == nil {
		return text
	}
	e := *it.event
	e.Data = text
	return e.Append(nil)
}

// fill makes it the answer that rpc is.
func (r *Replies) fill(it *Item, rpc *jsonrpc.Message) error {
	it.rpc = rpc
	it.Reply = &call.Reply{Seq: r.seq, Final: true, Body: rpc.Result, Err: rpc.Error}
	r.seq++
	if rpc.Result == nil {
		return nil
	}
	o, ok := jsonrpc.Members(rpc.Result)
	if !ok {
		return faulty("a result that is not an object")
	}
	var err error
	if it.Reply.Asks, err = r.m.inputRequests(o); err != nil {
		return err
	}
	it.Reply.Items, err = r.m.items(o)
	return err
}

// Cut returns the bytes that end an answer early with an error the caller can match to its request; nothing if no request
// waits for one. A Denial of UpstreamUnavailable stands for a faulty or broken answer.
func (m *Message) Cut(r *Replies, d Denial) []byte {
	if !m.answered() {
		return nil
	}
	text := m.fault()
	if d.Code != call.UpstreamUnavailable {
		text = m.denial(d)
	}
	if r.stream {
		return asEvent(text)
	}
	return text
}

// private marks a modern list as meant for one caller (2026-07-28, server/utilities/caching).
func private(result jsontext.Value) jsontext.Value {
	o, ok := jsonrpc.Members(result)
	if !ok {
		return result
	}
	return o.Set(result, "cacheScope", []byte(`"private"`))
}
