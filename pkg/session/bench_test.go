package session_test

import (
	"fmt"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/session"
)

func BenchmarkUse(b *testing.B) {
	held, _, _ := table(session.Limits{})
	k, a := session.KeyOf(bank, "s"), who("a")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := held.Use(k, a); err != nil {
			b.Fatal(err)
		}
	}
}

// Every session is new, and one has to go for it.
func BenchmarkUseWhenFull(b *testing.B) {
	held := session.New(session.Limits{Sessions: 1 << 10, SessionsPerPrincipal: 1 << 9}, time.Now, func(session.Eviction) {})
	keys := make([]session.Key, 1<<12)
	for i := range keys {
		keys[i] = session.KeyOf(bank, fmt.Sprint(i))
	}
	a := who("a")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := held.Use(keys[i%len(keys)], a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTurn(b *testing.B) {
	held, _, _ := table(session.Limits{Pages: 1 << 40})
	k, a := session.KeyOf(bank, "s"), who("a")
	b.ReportAllocs()
	for b.Loop() {
		if err := held.Turn(k, a, bank, "tools/list", true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTouch(b *testing.B) {
	held, _, _ := table(session.Limits{})
	k, a := session.KeyOf(bank, "s"), who("a")
	s := held.Stream(k, a, func(error) {})
	held.Stream(k, a, func(error) {})
	b.ReportAllocs()
	for b.Loop() {
		s.Touch()
	}
}

// What one exchange with a body in four pieces costs.
func BenchmarkHold(b *testing.B) {
	held, _, _ := table(session.Limits{})
	k, a := session.KeyOf(bank, "s"), who("a")
	b.ReportAllocs()
	for b.Loop() {
		h := held.Hold(k, a)
		for range 4 {
			if err := h.Grow(16 << 10); err != nil {
				b.Fatal(err)
			}
		}
		h.Release()
	}
}

func BenchmarkHoldByMany(b *testing.B) {
	held, _, _ := table(session.Limits{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		h := held.Hold(session.KeyOf(bank, "s"), who("a"))
		for pb.Next() {
			if err := h.Grow(1 << 10); err != nil {
				b.Error(err)
			}
			h.Shrink(1 << 10)
		}
	})
}
