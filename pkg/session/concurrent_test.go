package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/session"
)

// Callers of everything at once: nobody ever sees another's record, no limit is passed at any moment, and what is given back
// is gone.
func TestManyAtOnce(t *testing.T) {
	l := session.Limits{
		Sessions: 64, SessionsPerPrincipal: 16, Streams: 10, StreamsPerPrincipal: 3, StreamsPerSession: 1,
		Listings: 32, Pages: 5, Bytes: 4000, BytesPerPrincipal: 1500, BytesPerSession: 700,
	}
	var evicted, cut atomic.Int64
	held := session.New(l, time.Now, func(session.Eviction) { evicted.Add(1) })
	var callers sync.WaitGroup
	for i := range 12 {
		callers.Go(func() {
			c := caller{held, fmt.Sprint("p", i%6), rand.New(rand.NewPCG(1, uint64(i))), &cut}
			for range 500 {
				if err := c.step(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for range 200 {
			if c := held.Counts(); c.Sessions > l.Sessions || c.Streams > l.Streams || c.Listings > l.Listings || c.Bytes > l.Bytes {
				t.Errorf("got %+v, over %+v", c, l)
			}
		}
	}()
	callers.Wait()
	<-watched
	for i := range sessionsInAll {
		held.Close(session.KeyOf(bank, fmt.Sprint(i)))
		for p := range 6 {
			_ = held.Turn(session.KeyOf(bank, fmt.Sprint(i)), who(fmt.Sprint("p", p)), bank, "tools/list", false)
		}
	}
	if got := held.Counts(); got != (session.Counts{}) {
		t.Errorf("after all was given back: got %+v, want nothing", got)
	}
	if evicted.Load() == 0 || cut.Load() == 0 {
		t.Errorf("got %d evictions and %d streams cut: the limits were not reached", evicted.Load(), cut.Load())
	}
}

const sessionsInAll = 200

// caller is one of several goroutines of one principal.
type caller struct {
	held *session.Table
	name string
	dice *rand.Rand
	cut  *atomic.Int64
}

// step is one exchange: it presents a session, listens, turns a page and holds some bytes.
func (c *caller) step() error {
	k, p := session.KeyOf(bank, fmt.Sprint(c.dice.IntN(sessionsInAll))), who(c.name)
	s := c.held.Stream(k, p, func(error) { c.cut.Add(1) })
	defer s.Done()
	hold := c.held.Hold(k, p)
	defer hold.Release()
	r, err := c.held.Use(k, p)
	if err != nil && !errors.Is(err, session.ErrStranger) || err == nil && (r.Principal != p || r.Version != "" && r.Version != c.name) {
		return fmt.Errorf("%s was shown %+v, %v", c.name, r, err)
	}
	switch c.dice.IntN(4) {
	case 0:
		err = c.held.Open(k, session.Record{Principal: p, Version: c.name, Client: []string{c.name}})
	case 1:
		c.held.Close(k)
	case 2:
		err = c.held.Turn(k, p, bank, "tools/list", c.dice.IntN(4) > 0)
	case 3:
		other := c.held.Stream(k, p, func(error) { c.cut.Add(1) })
		defer other.Done()
	}
	s.Touch()
	for range 3 {
		err = errors.Join(err, hold.Grow(c.dice.IntN(300)))
		hold.Shrink(c.dice.IntN(100))
	}
	return expected(err)
}

// expected lets the errors pass that a caller over its limits gets.
func expected(err error) error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil || errors.Is(err, session.ErrStranger) || errors.Is(err, session.ErrPages) || errors.Is(err, session.ErrBytes) {
			return nil
		}
		return err
	}
	for _, err := range many.Unwrap() {
		if err := expected(err); err != nil {
			return err
		}
	}
	return nil
}
