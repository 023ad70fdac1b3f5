package proxy

import (
	"errors"
	"sync"
)

// eventStream is an answer made of events. Whoever handles another exchange of the same 2024-11-05 session may write into it:
// there, answers to a POST travel on the stream that a GET opened.
type eventStream struct {
	mu   sync.Mutex
	x    exchange
	over bool
}

var errStreamOver = errors.New("proxy: the event stream is over")

// write sends one event and flushes it.
func (s *eventStream) write(event []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errStreamOver
	}
	if _, err := s.x.Write(event); err != nil {
		return err
	}
	return s.x.flush()
}

// end waits for a write that is under way. Nobody may write once the exchange that owns the stream has returned.
func (s *eventStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}
