package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// session is what the server knows of one session or, in the modern form, of one caller.
type session struct {
	id, who string
	out     *stream // that stands beside the calls
	ctx     context.Context
	stop    context.CancelFunc

	mu      sync.Mutex
	streams map[int]*stream
	last    int // number of the last stream
	running map[string]*running
	seen    map[arrival]bool
	asks    int                 // ids that the server's own requests have used
	asked   map[int]chan string // where their answers go
	pushed  int
}

// running is a call that is being worked on.
type running struct {
	order  order
	cancel context.CancelFunc
}

// arrival is what may come once: a call, or its second half in the modern form.
type arrival struct {
	nonce  int
	second bool
}

func newSession(ctx context.Context, id, who string) *session {
	s := &session{
		id: id, who: who, streams: map[int]*stream{}, running: map[string]*running{}, seen: map[arrival]bool{}, asked: map[int]chan string{},
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	return s
}

// kept is how many of the latest streams of a session can be resumed.
const kept = 16

// stream makes one for the answer to one call. The numbers are the same in every session.
func (s *session) stream() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	st := newStream(s.last)
	s.streams[s.last] = st
	delete(s.streams, s.last-kept)
	return st
}

func (s *session) find(number int) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number == 0 {
		return s.out
	}
	return s.streams[number]
}

// begin puts a call among those that can be cancelled, until its context is.
func (s *session) begin(ctx context.Context, m *message) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{m.Params.Arguments, cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[string(m.ID)] = r
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running[string(m.ID)] == r {
			delete(s.running, string(m.ID))
		}
	}
}

// cancel ends the call that a client names, if there is one still.
func (s *session) cancel(b *backend, m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.running[string(m.Params.RequestID)]
	if r == nil {
		return
	}
	if got, want := m.Params.Reason, b.prove.of(ofCancel, s.who, s.id, r.order.Nonce); got != want {
		b.book.report(trespass, "%s's call %d is cancelled by another", s.who, r.order.Nonce)
		return
	}
	r.cancel()
}

// first reports whether something comes for the first time.
func (s *session) first(a arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.seen[a]
	s.seen[a] = true
	return !was
}

// expect gives a request of the server's an id and a place for its answer.
func (s *session) expect() (id int, answer <-chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = s.asks
	s.asks++
	c := make(chan string, 1)
	s.asked[id] = c
	return id, c
}

// reply takes a client's answer.
func (s *session) reply(b *backend, m *message) {
	var id int
	if _, err := fmt.Sscan(string(m.ID), &id); err != nil || m.Result == nil {
		b.book.report(broken, "%s answers %s", s.who, m.ID)
		return
	}
	s.mu.Lock()
	c := s.asked[id]
	delete(s.asked, id)
	s.mu.Unlock()
	if c == nil {
		b.book.report(duplicate, "%s's answer to request %d of the server", s.who, id)
		return
	}
	c <- m.Result.Meta.Proof
}

// push says something on the stream that stands beside the calls.
func (s *session) push(b *backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.pushed
	s.pushed++
	if b.errs(swallowsEvents) {
		return
	}
	s.out.add(b.news(s, n))
	if b.errs(repeatsEvents) {
		s.out.add(b.news(s, n))
	}
	if to := b.receiver(s, crossesEvents); to != s {
		s.out.add(b.news(to, n))
	}
}

func (s *session) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushed
}

// close ends a session. A call that waits for its cancellation means that this did not arrive.
func (s *session) close(b *backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		if r.order.Hold && !strings.HasPrefix(s.id, modern) {
			b.book.report(lost, "the cancellation of %s's call %d", s.who, r.order.Nonce)
		}
	}
	s.out.end()
	s.stop()
}
