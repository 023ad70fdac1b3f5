package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/call"
)

// liveCall is an exchange or raw connection that is under way.
type liveCall struct {
	call   *call.Call
	tunnel *tunnel
	cut    context.CancelCauseFunc
	also   []*call.Call // what it was divided into, as far as it passed

	timer   *time.Timer // what is done at its time; the mutex of the set guards it
	lasting atomic.Bool // no end of it is in sight: an event stream, an upgraded or raw connection
}

// liveSet holds what is under way, so that a change of rules reaches it. A call registers before it is judged: a change in
// between then finds it, and nothing slips past.
type liveSet struct {
	mu    sync.Mutex
	calls map[*liveCall]struct{}

	ctx    context.Context // of what is done later
	cancel context.CancelFunc
	closed bool
	work   sync.WaitGroup
}

func newLiveSet() *liveSet {
	s := &liveSet{calls: map[*liveCall]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// close ends what is done later, and waits for it.
func (s *liveSet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
}

// add registers c and returns its entry, a context that ends when it is cut, and the function that ends the registration.
func (s *liveSet) add(ctx context.Context, t *tunnel, c *call.Call) (*liveCall, context.Context, func()) {
	ctx, cut := context.WithCancelCause(ctx)
	e := &liveCall{call: c, tunnel: t, cut: cut}
	s.mu.Lock()
	s.calls[e] = struct{}{}
	s.mu.Unlock()
	return e, ctx, func() {
		s.mu.Lock()
		delete(s.calls, e)
		if e.timer != nil {
			e.timer.Stop()
		}
		s.mu.Unlock()
		cut(nil)
	}
}

// later does something about e after a while, unless e has ended by then. It can be called once.
func (s *liveSet) later(e *liveCall, after time.Duration, do func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.calls[e]; !ok || e.timer != nil {
		return
	}
	e.timer = time.AfterFunc(max(after, 0), func() {
		if s.begin(e) {
			defer s.work.Done()
			do(s.ctx)
		}
	})
}

func (s *liveSet) begin(e *liveCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.calls[e]
	if ok = ok && !s.closed; ok {
		s.work.Add(1)
	}
	return ok
}

// again does it once more, after a while.
func (s *liveSet) again(e *liveCall, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.calls[e]; ok {
		e.timer.Reset(after)
	}
}

// divide says which calls e was divided into.
func (s *liveSet) divide(e *liveCall, parts []*call.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.also = parts
}

func (s *liveSet) parts(e *liveCall) []*call.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.also
}

// each calls f for every live call, without holding the lock.
func (s *liveSet) each(f func(*liveCall)) {
	s.mu.Lock()
	all := make([]*liveCall, 0, len(s.calls))
	for e := range s.calls {
		all = append(all, e)
	}
	s.mu.Unlock()
	for _, e := range all {
		f(e)
	}
}

// newID returns a decision id: 128 random bits in hexadecimal.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
