package session_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

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
	if err := held.Open(session.Key{}, session.Record{Principal: who("a"), Version: "2025-11-25"}); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"a", "b"} {
		if r, err := held.Use(session.Key{}, who(p)); err != nil || r.Version != "" {
			t.Errorf("%s: got %+v, %v, want nothing", p, r, err)
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

// At the bound of all, whoever would have most gives way. A principal that has as many as the one that has most gives way
// itself, and the last entry of anybody goes only where nobody has two.
func TestWhoGivesWay(t *testing.T) {
	tests := []struct {
		name, held, comes, want string // one letter for each session of a principal
	}{
		{"the fullest, not the oldest", "abbb", "c", "b"},
		{"the newcomer, who would be the fullest", "abb", "b", "b"},
		{"the newcomer, who would have as many", "aab", "b", "b"},
		{"the fullest, where the newcomer stays smaller", "aaab", "b", "a"},
		{"the least recently active of several", "aabb", "c", "a"},
		{"the least recently active of those with one", "abc", "d", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			held, _, evictions := table(session.Limits{Sessions: len(tt.held)})
			for i, p := range tt.held + tt.comes {
				if _, err := held.Use(session.KeyOf(bank, fmt.Sprint(i)), who(string(p))); err != nil {
					t.Fatal(err)
				}
			}
			want := session.Eviction{Principal: who(tt.want), Service: bank, What: "session", Scope: "all", Limit: len(tt.held)}
			if got := *evictions; len(got) != 1 || got[0] != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// What has expired goes unasked, some of it with each operation, and leaves no report.
func TestTheExpiredAreForgotten(t *testing.T) {
	held, c, evictions := table(session.Limits{Idle: time.Hour, Sessions: 100, SessionsPerPrincipal: 50})
	for i := range 100 {
		_, _ = held.Use(session.KeyOf(bank, fmt.Sprint(i)), who(fmt.Sprint("p", i%2)))
		_ = held.Turn(session.KeyOf(bank, fmt.Sprint(i)), who("a"), bank, "tools/list", true)
	}
	c.t = c.t.Add(time.Hour)
	if r, _ := held.Find(session.KeyOf(bank, "0"), who("p0")); r.Opened.IsZero() {
		t.Error("a record that was idle for no longer than it may be is gone")
	}
	c.t = c.t.Add(time.Second)
	for i := range 20 {
		_, _ = held.Use(session.KeyOf(bank, fmt.Sprint("new", i)), who("p0"))
		_ = held.Turn(session.Key{}, who("a"), bank, "tools/list", true)
	}
	got, want := held.Counts(), session.Counts{Sessions: 21, Listings: 1}
	if got != want || len(*evictions) != 0 {
		t.Errorf("got %+v and %d evictions, want %+v and none", got, len(*evictions), want)
	}
}

// A record that expired while the table was full of it is no eviction, even if a limit is what removes it.
func TestTheExpiredAreNotEvicted(t *testing.T) {
	held, c, evictions := table(session.Limits{Idle: time.Hour, SessionsPerPrincipal: 2})
	for i := range 40 { // more than one operation forgets, all older than those of b
		_, _ = held.Use(session.KeyOf(bank, fmt.Sprint("a", i)), who(fmt.Sprint("a", i)))
	}
	for i := range 2 {
		_, _ = held.Use(session.KeyOf(bank, fmt.Sprint("b", i)), who("b"))
	}
	c.t = c.t.Add(61 * time.Minute)
	_, _ = held.Use(session.KeyOf(bank, "b2"), who("b"))
	if got := *evictions; len(got) != 0 {
		t.Errorf("got %v, want no evictions", got)
	}
}

// An evicted record is gone: the session may be bound anew. Its principal's own limit never costs another one's.
func TestTheEvictedMayBeBoundAnew(t *testing.T) {
	held, _, evictions := table(session.Limits{SessionsPerPrincipal: 2})
	_, _ = held.Use(session.KeyOf(bank, "b"), who("b"))
	for _, id := range []string{"0", "1", "2"} {
		_, _ = held.Use(session.KeyOf(bank, id), who("a"))
	}
	want := session.Eviction{Principal: who("a"), Service: bank, What: "session", Scope: "principal", Limit: 2}
	if got := *evictions; len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := want.String(), "the oldest session made room: the limit of 2 for one principal is reached"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := held.Use(session.KeyOf(bank, "0"), who("b")); err != nil {
		t.Errorf("a session that is not on record: %v", err)
	}
	if _, err := held.Use(session.KeyOf(bank, "1"), who("b")); !errors.Is(err, session.ErrStranger) {
		t.Errorf("one that is: got %v, want ErrStranger", err)
	}
}

// A record keeps what it says and nothing of the message that it was read from.
func TestARecordIsItsOwn(t *testing.T) {
	held, c, _ := table(session.Limits{})
	k := session.KeyOf(bank, "s")
	names := []string{"", "elicitation", "roots", "roots"}
	r := session.Record{Principal: who("a"), Version: "2025-11-25", Client: names, Server: []string{"tools"}, Path: "/mcp"}
	if err := held.Open(k, r); err != nil {
		t.Fatal(err)
	}
	opened := c.t
	c.t = c.t.Add(time.Minute)
	names[1] = "changed"
	got, _ := held.Find(k, who("a"))
	if want := []string{"", "elicitation", "roots", "roots"}; !slices.Equal(got.Client, want) || !slices.Equal(got.Server, r.Server) {
		t.Errorf("got %q and %q, want %q and %q", got.Client, got.Server, want, r.Server)
	}
	if got.Path != "/mcp" || !got.Opened.Equal(opened) || !got.Seen.Equal(c.t) {
		t.Errorf("got %+v, want it opened at %v and seen at %v", got, opened, c.t)
	}
	r.Path, r.Opened = "/"+strings.Repeat("p", 1<<10), c.t
	if err := held.Open(k, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := held.Find(k, who("a")); got.Path != "" || !got.Opened.Equal(opened) {
		t.Errorf("after a handshake on a long path: got path of %d bytes, opened at %v, want none and %v", len(got.Path), got.Opened, opened)
	}
}

// A stranger's questions keep no record alive, and spend nothing of its principal's.
func TestAStrangerSpendsNothing(t *testing.T) {
	held, c, evictions := table(session.Limits{Idle: time.Hour, StreamsPerSession: 1, BytesPerSession: 10, Pages: 2})
	k := session.KeyOf(bank, "s")
	_, _ = held.Use(k, who("a"))
	c.t = c.t.Add(time.Hour)
	_, _ = held.Use(k, who("b"))
	c.t = c.t.Add(time.Second)
	if r, err := held.Find(k, who("a")); err != nil || !r.Opened.IsZero() {
		t.Errorf("got %+v, %v, want nothing", r, err)
	}
	for _, p := range []string{"a", "b"} {
		held.Stream(k, who(p), func(err error) { t.Errorf("the stream of %s is cut: %v", p, err) })
		if err := errors.Join(held.Hold(k, who(p)).Grow(10), held.Turn(k, who(p), bank, "tools/list", true)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if len(*evictions) != 0 {
		t.Errorf("got %v, want no evictions", *evictions)
	}
}

func TestLimitsThatAreNotPositiveAreTheDefaults(t *testing.T) {
	held, _, evictions := table(session.Limits{Sessions: -1, SessionsPerPrincipal: -1, Idle: -1, StreamsPerSession: -1, Pages: -1, Bytes: -1})
	d := session.DefaultLimits()
	for i := range d.SessionsPerPrincipal + 1 {
		_, _ = held.Use(session.KeyOf(bank, fmt.Sprint(i)), who("a"))
	}
	cut := 0
	for range d.StreamsPerSession + 1 {
		held.Stream(session.KeyOf(bank, "s"), who("a"), func(error) { cut++ })
	}
	if len(*evictions) != 2 || cut != 1 {
		t.Errorf("got %d evictions and %d streams cut, want 2 and 1", len(*evictions), cut)
	}
	if err := held.Hold(session.Key{}, who("a")).Grow(int(d.BytesPerPrincipal)); err != nil {
		t.Error(err)
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

// Who reads most listings is forgotten first; a count that is forgotten begins again.
func TestListingsAreBounded(t *testing.T) {
	held, c, _ := table(session.Limits{Pages: 2, Listings: 4, Idle: time.Hour})
	turn := func(p string, port uint16) error {
		s := bank
		s.Port = port
		return held.Turn(session.Key{}, who(p), s, "tools/list", true)
	}
	_ = turn("quiet", 1)
	for port := range uint16(100) {
		if err := turn("x", port); err != nil {
			t.Fatal(err)
		}
	}
	if got := held.Counts().Listings; got != 4 {
		t.Errorf("got %d listings, want 4", got)
	}
	if err := turn("quiet", 1); !errors.Is(err, session.ErrPages) {
		t.Errorf("who reads one: got %v, want ErrPages", err)
	}
	if err := turn("x", 0); err != nil {
		t.Errorf("who reads many, from the first again: %v", err)
	}
	c.t = c.t.Add(61 * time.Minute)
	if err := turn("quiet", 1); err != nil {
		t.Errorf("after a long time: %v", err)
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

// What is cut may call back into the table: nothing is locked.
func TestCutCallsBack(t *testing.T) {
	var held *session.Table
	told := 0
	held = session.New(session.Limits{StreamsPerPrincipal: 1, SessionsPerPrincipal: 1}, time.Now, func(e session.Eviction) {
		told++
		_, _ = held.Find(session.KeyOf(bank, "s"), e.Principal)
	})
	var first *session.Stream
	first = held.Stream(session.KeyOf(bank, "s"), who("a"), func(error) { first.Touch(); first.Done() })
	held.Stream(session.Key{}, who("a"), func(error) { t.Error("the newcomer is cut") })
	for _, id := range []string{"s", "t"} {
		_, _ = held.Use(session.KeyOf(bank, id), who("a"))
	}
	if got, want := held.Counts(), (session.Counts{Sessions: 1, Streams: 1}); told != 2 || got != want {
		t.Errorf("got %+v and %d evictions, want %+v and 2", got, told, want)
	}
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
	if got := held.Counts(); got != (session.Counts{}) {
		t.Errorf("after all was given back: got %+v, want nothing", got)
	}
}

// No number that a caller could name turns a charge into a credit.
func TestBytesOfAnySize(t *testing.T) {
	held, _, _ := table(session.Limits{Bytes: 100, BytesPerPrincipal: math.MaxInt64})
	h, other := held.Hold(session.Key{}, who("a")), held.Hold(session.Key{}, who("b"))
	if err := h.Grow(100); err != nil {
		t.Fatal(err)
	}
	h.Shrink(-5)
	_ = h.Grow(-5)
	for _, n := range []int{1, math.MaxInt, math.MaxInt - 99} {
		if err := other.Grow(n); !errors.Is(err, session.ErrBytes) {
			t.Errorf("%d more: got %v, want ErrBytes", n, err)
		}
	}
	h.Shrink(math.MaxInt)
	if got := held.Counts(); got != (session.Counts{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}
