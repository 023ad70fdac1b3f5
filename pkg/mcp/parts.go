package mcp

import (
	"bytes"

	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/sse"
)

// match finds the request that a response answers. A response to a batch answers exactly one of its requests, and each request
// has one response.
func (r *Replies) match(it *Item, id jsonrpc.ID) error {
	if r.m.batch == nil {
		if r.m.answered() && !id.Equal(r.m.rpc.ID) {
			return faulty("a response to another id")
		}
		return nil
	}
	for i, part := range r.m.batch.parts {
		if !part.answered() || !id.Equal(part.rpc.ID) {
			continue
		}
		if r.done&(1<<i) != 0 {
			return faulty("a second response to one request")
		}
		r.done |= 1 << i
		it.m = part
		return nil
	}
	return faulty("a response to another id")
}

// waiting returns the requests that have no response yet. Of a message alone nobody keeps count: whoever got its response reads
// no further.
func (r *Replies) waiting() []*Message {
	if r.m.batch == nil {
		return r.m.waiting()
	}
	var left []*Message
	for i, part := range r.m.batch.parts {
		if r.done&(1<<i) == 0 {
			left = append(left, part.waiting()...)
		}
	}
	return left
}

// readArray reads an array in answer to a batch, which Check accepted.
func (r *Replies) readArray(it *Item, text []byte) error {
	elements, _ := jsonrpc.Elements(text)
	if len(elements) == 0 {
		return faulty("an empty array")
	}
	it.batch = make([]*Item, 0, len(elements))
	for _, e := range elements {
		element, err := r.readElement(it, e.Value)
		if err != nil {
			return err
		}
		if element == nil {
			it.dropped = true
			continue
		}
		it.batch = append(it.batch, element)
	}
	return nil
}

// readElement reads one message of an array; nil means that it is dropped. A server may ask and notify in the arrays of an
// event stream only.
func (r *Replies) readElement(array *Item, text []byte) (*Item, error) {
	rpc, err := jsonrpc.Parse(text, r.m.opt.Response)
	if err != nil {
		return nil, faulty("%s", err.Cause)
	}
	it := &Item{m: r.m, raw: text}
	switch {
	case rpc.Kind != jsonrpc.Response && array.event == nil:
		return nil, faulty("not a response")
	case rpc.Kind != jsonrpc.Response:
		return r.fromServer(it, rpc)
	}
	return it, r.readResponse(it, rpc)
}

// Request returns the message of this exchange that the item answers: the Message itself, or the part of a batch. It is nil for
// what answers none of them: notifications, requests, and what a GET brings.
func (it *Item) Request() *Message {
	if it.Reply == nil || !it.Reply.Final || !it.m.answered() {
		return nil
	}
	return it.m
}

// Batch returns the messages of an array in answer to a batch, nil for every other item. Bytes and With of these return bare
// JSON texts, of which Join makes what to write.
func (it *Item) Batch() []*Item { return it.batch }

// Join returns what to write for an array: one text for each of its Batch, nil for those that are dropped. An event of which
// nothing is left keeps its id and retry.
func (it *Item) Join(texts [][]byte) []byte {
	if it.unchanged(texts) {
		return it.Bytes()
	}
	array := joinArray(texts)
	if it.event == nil {
		return array
	}
	e := *it.event
	if e.Data = array; len(array) == len("[]") {
		e = sse.Event{ID: e.ID, HasID: e.HasID, Retry: e.Retry}
		if !e.HasID && e.Retry == "" {
			return nil
		}
	}
	return e.Append(nil)
}

func (it *Item) unchanged(texts [][]byte) bool {
	if it.dropped || len(texts) != len(it.batch) {
		return false
	}
	for i, text := range texts {
		if !bytes.Equal(text, it.batch[i].raw) {
			return false
		}
	}
	return true
}

// texts returns the elements of an array as they came.
func (it *Item) texts() [][]byte {
	texts := make([][]byte, len(it.batch))
	for i, element := range it.batch {
		texts[i] = element.raw
	}
	return texts
}
