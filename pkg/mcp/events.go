package mcp

import (
	"errors"
	"io"
	"net/url"
	"strings"

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
		return it, r.endpoint(e)
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
	rpc, err := jsonrpc.Parse(e.Data, r.m.opt.Response)
	switch {
	case err != nil && e.Unterminated && err.Code == jsonrpc.CodeParse: // the server was cut off: nobody delivers half a message
		return nil, nil
	case err != nil:
		return nil, faulty("%s", err.Cause)
	case rpc.Kind != jsonrpc.Response:
		return r.fromServer(it, rpc)
	case r.m.answered() && !rpc.ID.Equal(r.m.rpc.ID):
		return nil, faulty("a response to another id")
	}
	return it, r.fill(it, rpc)
}

// endpoint checks the event by which a 2024-11-05 server says where to POST: once, and on its own origin.
func (r *Replies) endpoint(e *sse.Event) error {
	if !r.m.streams() || r.opened || e.Unterminated {
		return faulty("an endpoint event out of place")
	}
	r.opened = true
	u, err := url.Parse(string(e.Data))
	switch {
	case err != nil, strings.ContainsAny(string(e.Data), "\\\n\t "):
		return faulty("an endpoint that is no URI")
	case u.Opaque != "", u.User != nil, u.Host == "" && (u.Scheme != "" || strings.HasPrefix(string(e.Data), "//")):
		return faulty("an endpoint on another origin")
	case u.Host != "" && (u.Scheme != "http" || !strings.EqualFold(u.Host, r.m.head.Host)):
		return faulty("an endpoint on another origin")
	}
	return nil
}
