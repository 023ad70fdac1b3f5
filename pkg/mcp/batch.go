package mcp

import (
	"bytes"
	"net/http"
	"strconv"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// maxParts bounds the messages of one batch (contract 4.4).
const maxParts = 64

// batch is an array of messages, which only 2025-03-26 has.
type batch struct {
	raw   []byte
	at    []jsonrpc.Member // where the parts stand in raw
	parts []*Message
}

// isArray reports whether a body would be an array, if it is JSON at all.
func isArray(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '['
}

// readBatch reads an array of messages (contract 4.4). One part that would be refused alone refuses them all: what is left of a
// batch is not what its sender meant.
func (m *Message) readBatch(body []byte) *Response {
	if r := m.checkFields(); r != nil {
		return r
	}
	if r := m.checkBatchEra(); r != nil {
		return r
	}
	if err := jsonrpc.Check(body, m.opt.Request); err != nil {
		return m.refuse(err.Status(), err.Code, err.Reason, err.Cause, nil)
	}
	elements, _ := jsonrpc.Elements(body)
	switch {
	case len(elements) == 0:
		return m.malformed("an empty batch")
	case len(elements) > maxParts:
		return m.refuse(http.StatusBadRequest, jsonrpc.CodeInvalidRequest, call.TooLarge, "a batch of more than "+strconv.Itoa(maxParts)+" messages", nil)
	}
	b := &batch{raw: body, at: elements}
	for i, e := range elements {
		part, r := m.readPart(e.Value)
		if r == nil {
			r = b.add(part)
		}
		if r != nil {
			return m.refuse(http.StatusBadRequest, jsonrpc.CodeInvalidRequest, r.Code, "message "+strconv.Itoa(i)+" of a batch: "+r.Reason, nil)
		}
	}
	m.batch, m.intent = b, call.Plumbing
	return nil
}

// checkBatchEra refuses an array in a revision that does not have them: some of its servers would run it all the same.
func (m *Message) checkBatchEra() *Response {
	if header, ok := m.field("Mcp-Protocol-Version"); ok {
		if m.version = ParseVersion(header); m.version == 0 {
			return m.unsupported(header)
		}
	}
	if m.version != V2503 {
		return m.malformed("a batch, which " + m.version.String() + " does not have")
	}
	return nil
}

// readPart reads one element by the rules for a message alone.
func (m *Message) readPart(text []byte) (*Message, *Response) {
	part := &Message{head: m.head, opt: m.opt, version: m.version}
	rpc, err := jsonrpc.Parse(text, m.opt.Request)
	if err != nil {
		return nil, m.refuse(err.Status(), err.Code, err.Reason, err.Cause, nil)
	}
	part.rpc = rpc
	if r := part.readMessage(); r != nil {
		return nil, r
	}
	switch {
	case part.Opens():
		return nil, part.malformed("initialize may not be batched")
	case part.wants != nil:
		return nil, part.malformed("a subscription that needs several verdicts")
	}
	return part, nil
}

// add appends a part, unless there is another with its id: nobody could tell the two answers apart. Ids of requests and ids of
// responses do not know of each other.
func (b *batch) add(part *Message) *Response {
	for _, other := range b.parts {
		if other.rpc.Kind == part.rpc.Kind && other.rpc.ID.Equal(part.rpc.ID) {
			return part.ambiguous("an id that another message has")
		}
	}
	b.parts = append(b.parts, part)
	return nil
}

// encode returns the array with the parts that were rewritten in their places. All other bytes stay.
func (b *batch) encode() []byte {
	var out []byte
	from := 0
	for i, part := range b.parts {
		if part.text != nil {
			out = append(append(out, b.raw[from:b.at[i].Start]...), part.text...)
			from = b.at[i].End
		}
	}
	if from == 0 {
		return b.raw
	}
	return append(out, b.raw[from:]...)
}

// Parts returns the messages of a batch in order, nil if the message is none. Each can be judged like a message alone.
func (m *Message) Parts() []*Message {
	if m.batch == nil {
		return nil
	}
	return m.batch.parts
}

// waiting returns the requests of this exchange, each of which waits for a response with its own id.
func (m *Message) waiting() []*Message {
	switch {
	case m.batch == nil && !m.answered():
		return nil
	case m.batch == nil:
		return []*Message{m}
	}
	var found []*Message
	for _, part := range m.batch.parts {
		found = append(found, part.waiting()...)
	}
	return found
}

// say renders one text for each of the waiting requests: as an array in answer to a batch.
func (m *Message) say(waiting []*Message, text func(*Message) []byte) []byte {
	if m.batch == nil {
		return text(waiting[0])
	}
	texts := make([][]byte, len(waiting))
	for i, w := range waiting {
		texts[i] = text(w)
	}
	return joinArray(texts)
}

// joinArray writes an array of JSON texts; a nil one is left out.
func joinArray(texts [][]byte) []byte {
	out := []byte{'['}
	for _, text := range texts {
		if text == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, text...)
	}
	return append(out, ']')
}
