package clients_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/internal/testmesh"
)

// unharmed checks what reached the server: nothing that was refused, no answer of a client's that the server may not hear,
// and calls on no other transport than the one under test.
func (f *fixture) unharmed(t *testing.T, tr transport) {
	t.Helper()
	never := []string{"tools/call " + forbidden, templates, moved, progress, unheard, "unreadable"}
	for _, m := range f.server.messages() {
		switch {
		case slices.Contains(never, m.what):
			t.Errorf("%s reached the server", m.what)
		case strings.HasPrefix(m.what, "result ") && m.what != `result {"action":"decline"}`:
			t.Errorf("a client's answer reached the server: %s", m.what)
		case strings.HasPrefix(m.what, "tools/call ") && m.transport != tr:
			t.Errorf("%s came as %s, want %s", m.what, m.transport, tr)
		}
	}
}

// accounted checks that the waypoint recorded a refusal for each step that should meet one, and no other: a client which
// never sent what should be refused has proven nothing.
func (f *fixture) accounted(t *testing.T, p plan) {
	t.Helper()
	want := map[string]int{}
	for _, s := range p.Sessions {
		for _, step := range s.Steps {
			for _, what := range refusalsOf(s, step, p.Transport) {
				want[what]++
			}
		}
	}
	f.recorded(t, want)
}

// recorded waits until the refusals are recorded: the one of a notification may come after the client has gone on.
func (f *fixture) recorded(t *testing.T, want map[string]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := map[string]int{}
	_, err := f.waypoint.Audit().Find(ctx, 0, func(r testmesh.Record) bool {
		if !r.Allowed() {
			got[nameOf(r)]++
		}
		return maps.Equal(got, want)
	})
	if err != nil {
		t.Errorf("got refusals  %v\nwant refusals %v", got, want)
	}
}

// refusalsOf are those that a step meets. A tool that asks meets that of its question or, if the question passes, of the
// answer; where the question is part of the tool's result, the call is refused with it.
func refusalsOf(s session, step step, tr transport) []string {
	asks := asking[step.Name]
	switch {
	case step.Name == greet:
		return nil
	case step.Name == unheard: // the name is the caller's invention: it is not recorded as a method
		return []string{clerk}
	case step.Do != "call":
		return []string{clerk + " " + step.Name}
	case asks == "":
		return []string{clerk + " tools/call " + step.Name}
	case s.Name == mute:
		return []string{mute + " response"}
	case tr == modern:
		return []string{clerk + " " + asks, clerk + " tools/call " + step.Name}
	}
	return []string{clerk + " " + asks}
}

func nameOf(r testmesh.Record) string {
	caller := r.Caller[strings.LastIndexByte(r.Caller, '/')+1:]
	return strings.TrimSpace(caller + " " + r.Method + " " + r.Target)
}
