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
	opened bool   // an endpoint event was seen
	done   uint64 // which parts of a batch were answered; there are no more than maxParts
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
	case says(h, "text/event-stream"): // in a longer name or a parameter, where some clients find it
		r.fault = faulty("Content-Type cannot be read in one way")
	case r.success() && m.streams() && status != http.StatusAccepted:
		r.fault = faulty("no event stream where one was asked for")
	case m.plain, r.success() && media != "" && !says(h, "json"):
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

// says reports whether a text is anywhere in the Content-Type: some clients look no closer.
func says(h http.Header, text string) bool {
	return strings.Contains(strings.ToLower(h.Get("Content-Type")), text)
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
	Reply    *call.Reply // nil if it carries no message, or several: priming, retry, a comment, an error page, a Batch
	m        *Message    // that it answers, or in answer to which it came
	event    *sse.Event  // nil for a body, and within an array
	rpc      *jsonrpc.Message
	raw      []byte
	batch    []*Item // of an array
	dropped  bool    // of an array: not all of its elements are in batch
	endpoint string  // of an endpoint event
}

// Resumable reports whether a client that has seen the item can ask for what follows it, should the stream break off.
func (it *Item) Resumable() bool {
	return it.event != nil && it.event.HasID && it.event.ID != "" && !it.m.version.Modern()
}

// Bytes returns what to write for the item as it is: a body as it came, an event in the one form every client reads, the text
// of an element of a Batch.
func (it *Item) Bytes() []byte {
	if it.dropped {
		return it.Join(it.texts())
	}
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
	case it.Reply.Items != nil:
		text = it.rpc.WithResult(it.m.private(body))
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
		return it.m.readError(it.Reply, rpc.Error)
	}
	o, ok := jsonrpc.Members(rpc.Result)
	if !ok {
		return faulty("a result that is not an object")
	}
	if err := it.m.readResult(it.Reply, o); err != nil {
		return err
	}
	var err error
	if it.Reply.Items, err = it.m.items(o); err != nil || it.Reply.Items == nil {
		return err
	}
	it.Reply.Shared, err = it.m.shared(o)
	return err
}

// readResult finds what a result puts before a client or a person.
func (m *Message) readResult(reply *call.Reply, o jsonrpc.Object) error {
	switch {
	case !m.answered():
	case m.method.Name == "initialize" && o.Twin("protocolVersion", "capabilities") != "":
		return faulty("a handshake with a member that differs from a known one by case only")
	case m.method.Name == "tasks/get":
		return m.readTask(reply, o)
	}
	return m.readContent(reply, o)
}

// readContent finds the requests in a result, and the links.
func (m *Message) readContent(reply *call.Reply, o jsonrpc.Object) error {
	asks, err := m.inputRequests(o)
	if err != nil {
		return err
	}
	found, err := links(o)
	reply.Asks, reply.Links = append(reply.Asks, asks...), append(reply.Links, found...)
	return err
}

// readTask reads a task, which may hold the result or the error that the call it stands for would have had (SEP-2663).
func (m *Message) readTask(reply *call.Reply, o jsonrpc.Object) error {
	if err := m.readContent(reply, o); err != nil || !m.version.Modern() {
		return err
	}
	if o.Twin("result", "error") != "" {
		return faulty("a task with a member that differs from a known one by case only")
	}
	if result, ok := jsonrpc.Members(o.Get("result")); ok {
		if err := m.readContent(reply, result); err != nil {
			return err
		}
	}
	return m.readError(reply, o.Get("error"))
}

// Cut returns the bytes that end an answer early with an error for each request of the caller's that has no response yet;
// nothing if none waits for one. A Denial of UpstreamUnavailable stands for a faulty or broken answer.
func (m *Message) Cut(r *Replies, d Denial) []byte {
	text := func(w *Message) []byte { return w.denial(d) }
	if d.Code == call.UpstreamUnavailable {
		text = (*Message).fault
	}
	waiting := r.waiting()
	if len(waiting) == 0 {
		return nil
	}
	if !r.stream {
		return m.say(waiting, text)
	}
	var events []byte
	for _, w := range waiting {
		events = append(events, asEvent(text(w))...)
	}
	return events
}

// shared reports whether a cache may show a list to other callers: any modern one that does not say otherwise.
func (m *Message) shared(result jsonrpc.Object) (bool, error) {
	if result.Twin("cacheScope") != "" {
		return false, faulty("a result member differs from cacheScope by case only")
	}
	scope, _ := result.String("cacheScope")
	return m.scoped(result) && scope != "private", nil
}

// scoped reports whether a list says for whom it is (2026-07-28, server/utilities/caching). That of a directory need not.
func (m *Message) scoped(result jsonrpc.Object) bool {
	return m.version.Modern() && (m.method == nil || m.method.Intent == call.List || result.Find("cacheScope") != nil)
}

// private marks a list as meant for one caller.
func (m *Message) private(result jsontext.Value) jsontext.Value {
	o, ok := jsonrpc.Members(result)
	if !ok || !m.scoped(o) {
		return result
	}
	return o.Set(result, "cacheScope", []byte(`"private"`))
}
