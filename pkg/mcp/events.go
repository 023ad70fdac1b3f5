package mcp

import (
	"errors"
	"io"

	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/sse"
)

// events yields a stream, event by event (contract section 10).
func (r *Replies) events(yield func(*Item, error) bool) {
	events := sse.NewReader(r.body, r.m.opt.MaxEvent)
	for {
		e, err := events.Next()
		if err == io.EOF {
			return
		}
		if errors.Is(err, sse.ErrTooLarge) {
			err = faulty("an event over %d bytes", r.m.opt.MaxEvent)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		it, err := r.readEvent(e)
		if err != nil {
			yield(nil, err)
			return
		}
		if it != nil && !yield(it, nil) {
			return
		}
	}
}

// readEvent decodes one event; nil means that it is dropped, as every client would. Of an event under another name, clients
// take note of id and retry only.
func (r *Replies) readEvent(e *sse.Event) (*Item, error) {
	it := &Item{m: r.m, event: e}
	switch {
	case e.Name == "endpoint":
		return it, r.endpoint(it)
	case e.Name != "" && e.Name != "message":
		if !e.HasID && e.Retry == "" || e.Unterminated {
			return nil, nil
		}
		it.event = &sse.Event{ID: e.ID, HasID: e.HasID, Retry: e.Retry}
		return it, nil
	case len(e.Data) == 0 && e.Unterminated:
		return nil, nil
	case len(e.Data) == 0:
		return it, nil
	}
	return r.readData(it)
}

// readData decodes the message that an event holds, or the messages in answer to a batch.
func (r *Replies) readData(it *Item) (*Item, error) {
	if r.m.batch != nil && isArray(it.event.Data) {
		err := jsonrpc.Check(it.event.Data, r.m.opt.Response)
		if err != nil {
			return nil, r.broken(it.event, err)
		}
		return it, r.readArray(it, it.event.Data)
	}
	rpc, err := jsonrpc.Parse(it.event.Data, r.m.opt.Response)
	switch {
	case err != nil:
		return nil, r.broken(it.event, err)
	case rpc.Kind != jsonrpc.Response:
		return r.fromServer(it, rpc)
	}
	return it, r.readResponse(it, rpc)
}

// broken is what becomes of an event that cannot be read: nothing if the server was cut off, as nobody delivers half a message.
func (r *Replies) broken(e *sse.Event, err *jsonrpc.Error) error {
	if e.Unterminated && err.Code == jsonrpc.CodeParse {
		return nil
	}
	return faulty("%s", err.Cause)
}
