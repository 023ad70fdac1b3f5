package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/session"
)

var bank = call.Service{Namespace: "bank", Name: "company-mcp", Hostname: "company-mcp.bank.svc.cluster.local", Port: 3000}

func who(name string) identity.ID {
	return identity.RequireID("spiffe://cluster.local/ns/agents/sa/" + name)
}

// clock is a time that only a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func table(l session.Limits) (*session.Table, *clock, *[]session.Eviction) {
	c := &clock{time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)}
	evictions := &[]session.Eviction{}
	return session.New(l, c.now, func(e session.Eviction) { *evictions = append(*evictions, e) }), c, evictions
}

func TestASessionBelongsToItsPrincipal(t *testing.T) {
	held, c, _ := table(session.Limits{Idle: time.Hour})
	k := session.KeyOf(bank, "s")
	if err := held.Open(k, session.Record{Principal: who("a"), Version: "2025-11-25"}); err != nil {
		t.Fatal(err)
	}
	if r, err := held.Find(k, who("a")); err != nil || r.Version != "2025-11-25" {
		t.Errorf("its principal: got %+v, %v", r, err)
	}
	for name, err := range map[string]error{
		"Find": second(held.Find(k, who("b"))),
		"Use":  second(held.Use(k, who("b"))),
		"Open": held.Open(k, session.Record{Principal: who("b"), Version: "2024-11-05"}),
	} {
		if !errors.Is(err, session.ErrStranger) {
			t.Errorf("%s by another: got %v, want ErrStranger", name, err)
		}
	}
	if err := held.Open(k, session.Record{Principal: who("a"), Version: "2025-06-18"}); err != nil {
		t.Errorf("a second handshake: %v", err)
	}
	if r, _ := held.Find(k, who("a")); r.Version != "2025-06-18" {
		t.Errorf("a second handshake: got version %q, want the new one", r.Version)
	}
	other := bank
	other.Port++
	if r, err := held.Find(session.KeyOf(other, "s"), who("b")); err != nil || r.Version != "" {
		t.Errorf("the same id on another port: got %+v, %v, want nothing", r, err)
	}
	c.t = c.t.Add(61 * time.Minute)
	if r, err := held.Use(k, who("b")); err != nil || r.Version != "" || r.Principal != who("b") {
		t.Errorf("after it expired: got %+v, %v, want a record of the next user's", r, err)
	}
	held.Close(k)
	if r, err := held.Find(k, who("a")); err != nil || !r.Seen.IsZero() {
		t.Errorf("after Close: got %+v, %v, want nothing", r, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestNoSessionIsNobodys(t *testing.T) {
	held, _, _ := table(session.Limits{})
	for _, p := range []string{"a", "b"} {
		if _, err := held.Use(session.Key{}, who(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// A flood of one principal pushes out its own sessions, also where the bound of all is what it reaches.
func TestAFloodHurtsWhoFloods(t *testing.T) {
	held, _, evictions := table(session.Limits{Sessions: 10, SessionsPerPrincipal: 8})
	quiet := session.KeyOf(bank, "quiet")
	_ = held.Open(quiet, session.Record{Principal: who("quiet"), Version: "2025-11-25"})
	for i := range 100 {
		_ = held.Open(session.KeyOf(bank, fmt.Sprint("x", i)), session.Record{Principal: who("x")})
		_ = held.Open(session.KeyOf(bank, fmt.Sprint("y", i)), session.Record{Principal: who("y")})
	}
	if r, err := held.Find(quiet, who("quiet")); err != nil || r.Version == "" {
		t.Errorf("got %+v, %v, want the record", r, err)
	}
	if got, want := len(*evictions), 200+1-10; got != want {
		t.Errorf("got %d evictions, want %d", got, want)
	}
	for _, e := range *evictions {
		if e.Principal == who("quiet") || e.What != "session" || e.Service != bank {
			t.Fatalf("got %+v", e)
		}
	}
}

func TestPages(t *testing.T) {
	held, _, _ := table(session.Limits{Pages: 3})
	turn := func(p, method string, page bool) error { return held.Turn(session.Key{}, who(p), bank, method, page) }
	for i, page := range []bool{false, true, true} {
		if err := turn("a", "tools/list", page); err != nil {
			t.Fatalf("page %d: %v", i+1, err)
		}
	}
	if err := turn("a", "tools/list", true); !errors.Is(err, session.ErrPages) {
		t.Errorf("a page too many: got %v, want ErrPages", err)
	}
	if err := errors.Join(turn("b", "tools/list", true), turn("a", "prompts/list", true)); err != nil {
		t.Errorf("another caller, another listing: %v", err)
	}
	if err := errors.Join(turn("a", "tools/list", false), turn("a", "tools/list", true)); err != nil {
		t.Errorf("from the start again: %v", err)
	}
}

func TestTheQuietestStreamIsCut(t *testing.T) {
	held, _, evictions := table(session.Limits{Streams: 5, StreamsPerPrincipal: 3, StreamsPerSession: 2})
	cut := map[string]error{}
	open := func(name, p string, k session.Key) *session.Stream {
		return held.Stream(k, who(p), func(err error) { cut[name] = err })
	}
	s := session.KeyOf(bank, "s")
	first := open("first", "a", s)
	open("second", "a", s)
	first.Touch()
	open("third", "a", s) // over the session's limit: the second is the quietest
	open("fourth", "a", session.Key{})
	open("fifth", "a", session.Key{}) // over the principal's: now the first is
	open("b1", "b", session.Key{})
	open("c1", "c", session.Key{})
	open("d1", "d", session.Key{}) // over all: the third
	for name, want := range map[string]string{
		"second": "session: too many event streams: over 2 for one session",
		"first":  "session: too many event streams: over 3 for one principal",
		"third":  "session: too many event streams: over 5 for everybody",
	} {
		if got := cut[name]; got == nil || got.Error() != want || !errors.Is(got, session.ErrStreams) {
			t.Errorf("%s: got %v, want %q", name, got, want)
		}
	}
	if len(cut) != 3 || len(*evictions) != 3 {
		t.Errorf("got %d cut and %d evictions, want 3: %v", len(cut), len(*evictions), cut)
	}
	first.Done()
	first.Done()
	first.Touch()
}

func TestBytes(t *testing.T) {
	held, _, _ := table(session.Limits{Bytes: 100, BytesPerPrincipal: 60, BytesPerSession: 40})
	s := session.KeyOf(bank, "s")
	inSession, without, other := held.Hold(s, who("a")), held.Hold(session.Key{}, who("a")), held.Hold(session.Key{}, who("b"))
	for _, step := range []struct {
		h    *session.Hold
		n    int
		want string // "" is no error
	}{
		{inSession, 40, ""},
		{inSession, 1, "session: too many bytes in memory: over 40 for one session"},
		{without, 20, ""},
		{without, 1, "session: too many bytes in memory: over 60 for one principal"},
		{other, 40, ""},
		{other, 1, "session: too many bytes in memory: over 100 for everybody"},
	} {
		err := step.h.Grow(step.n)
		if got := fmt.Sprint(err); err != nil && (got != step.want || !errors.Is(err, session.ErrBytes)) || err == nil && step.want != "" {
			t.Errorf("%d more: got %v, want %q", step.n, err, step.want)
		}
	}
	inSession.Shrink(39)
	if err := errors.Join(inSession.Grow(30), other.Grow(9)); err != nil {
		t.Errorf("after some was given back: %v", err)
	}
	for _, h := range []*session.Hold{inSession, inSession, without, other} {
		h.Release()
	}
	if err := held.Hold(session.Key{}, who("c")).Grow(60); err != nil {
		t.Errorf("after all was given back: %v", err)
	}
}

// The table against a list that is searched from end to end.
func TestTableAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const all, each = 6, 3
		held, _, _ := table(session.Limits{Sessions: all, SessionsPerPrincipal: each})
		var model []modelled // least recently used first
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "principal")
			id := rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}).Draw(t, "session")
			i := find(model, id)
			_, err := held.Use(session.KeyOf(bank, id), who(p))
			switch {
			case i >= 0 && model[i].principal != p:
				if !errors.Is(err, session.ErrStranger) {
					t.Fatalf("%s is %s's: got %v for %s", id, model[i].principal, err, p)
				}
				continue
			case err != nil:
				t.Fatalf("%s by %s: %v", id, p, err)
			case i >= 0:
				model = append(model[:i:i], model[i+1:]...)
			}
			model = append(model, modelled{id, p})
			own := count(model, p)
			if own > each {
				model = dropOldest(model, p)
			}
			if len(model) > all {
				return // who goes of several with equally many is not said
			}
		}
		for _, m := range model {
			if r, err := held.Find(session.KeyOf(bank, m.id), who(m.principal)); err != nil || r.Seen.IsZero() {
				t.Fatalf("%s of %s is gone: %+v, %v", m.id, m.principal, r, err)
			}
		}
	})
}

type modelled struct{ id, principal string }

func find(model []modelled, id string) int {
	for i, m := range model {
		if m.id == id {
			return i
		}
	}
	return -1
}

func count(model []modelled, p string) (n int) {
	for _, m := range model {
		if m.principal == p {
			n++
		}
	}
	return n
}

func dropOldest(model []modelled, p string) []modelled {
	for i, m := range model {
		if m.principal == p {
			return append(model[:i:i], model[i+1:]...)
		}
	}
	return model
}

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
