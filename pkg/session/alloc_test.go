//go:build !race

package session_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/session"
)

// Nothing that is done for every message of a session that is on record allocates.
func TestNoAllocations(t *testing.T) {
	held, _, _ := table(session.Limits{})
	k, a := session.KeyOf(bank, "s"), who("a")
	_ = held.Open(k, session.Record{Principal: a, Version: "2025-11-25", Client: []string{"roots"}})
	place, hold := held.Stream(k, a, func(error) {}), held.Hold(k, a)
	if err := hold.Grow(1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		do   func()
	}{
		{"Find", func() { _, _ = held.Find(k, a) }},
		{"Use", func() { _, _ = held.Use(k, a) }},
		{"Turn", func() { _ = held.Turn(k, a, bank, "tools/list", true) }},
		{"Touch", place.Touch},
		{"Grow and Shrink", func() { _ = hold.Grow(1); hold.Shrink(1) }},
	} {
		if got := testing.AllocsPerRun(100, tt.do); got != 0 {
			t.Errorf("%s allocates %v times, want 0", tt.name, got)
		}
	}
}
