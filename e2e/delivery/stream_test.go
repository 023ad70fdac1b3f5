package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// stream is what the server says on one stream of events, kept for whoever resumes it.
type stream struct {
	number int // in the ids of its events; negative: they have none

	mu      sync.Mutex
	events  [][]byte
	over    bool
	round   int           // how often it was hung up
	changed chan struct{} // closed and replaced whenever anything above changes
}

func newStream(number int) *stream { return &stream{number: number, changed: make(chan struct{})} }

// add says one message. Empty data makes the event that only gives a stream its first id.
func (s *stream) add(data []byte) {
	s.change(func() {
		var e []byte
		if s.number >= 0 {
			e = fmt.Appendf(e, "id: %d-%d\n", s.number, len(s.events))
		}
		s.events = append(s.events, fmt.Appendf(e, "data: %s\n\n", data))
	})
}

// name says where a client of 2024-11-05 posts to.
func (s *stream) name(endpoint string) {
	s.change(func() { s.events = append(s.events, fmt.Appendf(nil, "event: endpoint\ndata: %s\n\n", endpoint)) })
}

func (s *stream) end()    { s.change(func() { s.over = true }) }
func (s *stream) hangUp() { s.change(func() { s.round++ }) }

func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// look returns what there is from an event on, and what is closed when there is more.
func (s *stream) look(from int) (events [][]byte, over bool, round int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[min(from, len(s.events)):], s.over, s.round, s.changed
}

// play writes the stream from an event on, until it is over, hung up, or left. With a cut it ends after most events.
func (s *stream) play(ctx context.Context, w http.ResponseWriter, from, most int, how cut) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher).Flush
	for _, _, began, _ := s.look(from); ; {
		events, over, round, changed := s.look(from)
		for _, e := range events {
			w.Write(e)
			from++
			if most--; how != 0 && most == 0 {
				flush()
				hang(how)
				return
			}
		}
		if over || round != began {
			return
		}
		flush()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func hang(how cut) {
	if how == abruptly {
		panic(http.ErrAbortHandler)
	}
}
