package session_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/session"
)

// model is what a crowd is, without any of its books: a list that is searched from end to end.
type model struct {
	all, each int
	entries   []modelled
	moved     map[string]int // when a principal's entries last changed or were used
	steps     int
}

type modelled struct {
	name, principal, version string
	opened, seen             time.Time
	used                     int
}

func (m *model) find(name string) *modelled {
	for i := range m.entries {
		if m.entries[i].name == name {
			return &m.entries[i]
		}
	}
	return nil
}

func (m *model) touch(e *modelled) {
	m.steps++
	e.used = m.steps
	m.moved[e.principal] = m.steps
}

func (m *model) remove(name string) {
	m.steps++
	for _, e := range m.entries {
		if e.name == name {
			m.moved[e.principal] = m.steps
		}
	}
	m.entries = slices.DeleteFunc(m.entries, func(e modelled) bool { return e.name == name })
}

// add returns the entry that had to go and whose limit it was, if one had to.
func (m *model) add(e modelled) (gone modelled, scope string) {
	switch {
	case m.count(e.principal) >= m.each:
		gone, scope = m.oldest(e.principal), "principal"
	case len(m.entries) >= m.all:
		gone, scope = m.oldest(m.fullest(e.principal)), "all"
	}
	if scope != "" {
		m.remove(gone.name)
	}
	m.entries = append(m.entries, e)
	m.touch(m.find(e.name))
	return gone, scope
}

func (m *model) count(p string) (n int) {
	for _, e := range m.entries {
		if e.principal == p {
			n++
		}
	}
	return n
}

func (m *model) oldest(p string) modelled {
	own := slices.DeleteFunc(slices.Clone(m.entries), func(e modelled) bool { return e.principal != p })
	return slices.MinFunc(own, func(a, b modelled) int { return cmp.Compare(a.used, b.used) })
}

func (m *model) fullest(newcomer string) string {
	most := slices.MaxFunc(m.entries, func(a, b modelled) int {
		return cmp.Or(cmp.Compare(m.count(a.principal), m.count(b.principal)), cmp.Compare(m.moved[b.principal], m.moved[a.principal]))
	}).principal
	if own := m.count(newcomer); own > 0 && own+1 >= m.count(most) {
		return newcomer
	}
	return most
}

// expire removes what is too old, the oldest first, as a table with fewer entries than one operation forgets does.
func (m *model) expire(now time.Time, idle time.Duration) {
	byUse := slices.SortedFunc(slices.Values(m.entries), func(a, b modelled) int { return cmp.Compare(a.used, b.used) })
	for _, e := range byUse {
		if now.Sub(e.seen) > idle {
			m.remove(e.name)
		}
	}
}

var (
	principals = rapid.SampledFrom([]string{"a", "b", "c", "d"})
	names      = rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"})
)

// records is a table of sessions beside its model.
type records struct {
	table     *session.Table
	clock     *clock
	evictions *[]session.Eviction
	want      []session.Eviction
	model     model
}

const idle = time.Hour

func (r *records) owner(t *rapid.T) (name, principal string, known *modelled) {
	name, principal = names.Draw(t, "session"), principals.Draw(t, "principal")
	r.model.expire(r.clock.t, idle)
	return name, principal, r.model.find(name)
}

func (r *records) open(t *rapid.T) {
	name, p, known := r.owner(t)
	version := rapid.SampledFrom([]string{"2024-11-05", "2025-11-25"}).Draw(t, "version")
	err := r.table.Open(session.KeyOf(bank, name), session.Record{Principal: who(p), Version: version})
	switch {
	case known == nil:
		r.bind(modelled{name, p, version, r.clock.t, r.clock.t, 0})
	case known.principal == p:
		known.version, known.seen = version, r.clock.t
		r.model.touch(known)
	}
	if stranger := known != nil && known.principal != p; stranger != errors.Is(err, session.ErrStranger) || !stranger && err != nil {
		t.Fatalf("Open of %s by %s: got %v; it is %+v", name, p, err, known)
	}
}

func (r *records) use(t *rapid.T) {
	name, p, known := r.owner(t)
	got, err := r.table.Use(session.KeyOf(bank, name), who(p))
	if known == nil {
		r.bind(modelled{name, p, "", r.clock.t, r.clock.t, 0})
		known = r.model.find(name)
	}
	r.compare(t, p, known, got, err)
}

func (r *records) find(t *rapid.T) {
	name, p, known := r.owner(t)
	got, err := r.table.Find(session.KeyOf(bank, name), who(p))
	if known != nil {
		r.compare(t, p, known, got, err)
	} else if err != nil || !got.Seen.IsZero() {
		t.Fatalf("Find of %s by %s: got %+v, %v, want nothing", name, p, got, err)
	}
}

func (r *records) close(t *rapid.T) {
	name := names.Draw(t, "session")
	r.table.Close(session.KeyOf(bank, name))
	r.model.remove(name)
}

func (r *records) wait(t *rapid.T) {
	r.clock.t = r.clock.t.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "minutes")) * time.Minute)
}

func (r *records) bind(e modelled) {
	if gone, scope := r.model.add(e); scope != "" {
		limit := map[string]int{"principal": r.model.each, "all": r.model.all}[scope]
		r.want = append(r.want, session.Eviction{Principal: who(gone.principal), Service: bank, What: "session", Scope: scope, Limit: limit})
	}
}

// compare checks what p was told of a session that is known.
func (r *records) compare(t *rapid.T, p string, known *modelled, got session.Record, err error) {
	if known.principal != p {
		if !errors.Is(err, session.ErrStranger) || !got.Seen.IsZero() {
			t.Fatalf("%s asks for %+v: got %+v, %v, want ErrStranger", p, known, got, err)
		}
		return
	}
	known.seen = r.clock.t
	r.model.touch(known)
	if err != nil || got.Principal != who(p) || got.Version != known.version || !got.Opened.Equal(known.opened) || !got.Seen.Equal(known.seen) {
		t.Fatalf("%s asks for %+v: got %+v, %v", p, known, got, err)
	}
}

// check compares everything else. It counts what the table holds only where nothing can be in it that has expired.
func (r *records) check(t *rapid.T) {
	if got := *r.evictions; !slices.Equal(got, r.want) {
		t.Fatalf("got evictions %v, want %v", got, r.want)
	}
	if got, want := r.table.Counts().Sessions, len(r.model.entries); got != want {
		t.Fatalf("got %d sessions, want %d", got, want)
	}
}

func TestSessionsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, each := rapid.IntRange(1, 7).Draw(t, "all"), rapid.IntRange(1, 4).Draw(t, "each")
		held, c, evictions := table(session.Limits{Sessions: all, SessionsPerPrincipal: each, Idle: idle})
		r := &records{held, c, evictions, nil, model{all: all, each: each, moved: map[string]int{}}}
		t.Repeat(map[string]func(*rapid.T){"open": r.open, "use": r.use, "find": r.find, "close": r.close, "wait": r.wait, "": r.check})
	})
}

// Streams are a crowd whose entries nobody else can name, with one bound more.
func TestStreamsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := session.Limits{
			Streams: rapid.IntRange(1, 8).Draw(t, "all"), StreamsPerPrincipal: rapid.IntRange(1, 5).Draw(t, "each"),
			StreamsPerSession: rapid.IntRange(1, 3).Draw(t, "session"),
		}
		held, _, _ := table(l)
		m := model{all: l.Streams, each: l.StreamsPerPrincipal, moved: map[string]int{}}
		var opened []*session.Stream
		var cut, want []string
		open := func(t *rapid.T) {
			p, s := principals.Draw(t, "principal"), rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "session")
			name := fmt.Sprint(len(opened))
			var k session.Key
			if s != "" {
				k = session.KeyOf(bank, s)
			}
			if gone, scope := m.addStream(modelled{name: name, principal: p, version: s}, l.StreamsPerSession); scope != "" {
				want = append(want, gone+" "+scope)
			}
			opened = append(opened, held.Stream(k, who(p), func(err error) { cut = append(cut, name+" "+scopeOf(l, err)) }))
		}
		pick := func(t *rapid.T) (*session.Stream, string) {
			if len(opened) == 0 {
				t.Skip("none is open")
			}
			i := rapid.IntRange(max(0, len(opened)-12), len(opened)-1).Draw(t, "stream")
			return opened[i], fmt.Sprint(i)
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": open,
			"touch": func(t *rapid.T) {
				s, name := pick(t)
				if s.Touch(); m.find(name) != nil {
					m.touch(m.find(name))
				}
			},
			"done": func(t *rapid.T) {
				s, name := pick(t)
				s.Done()
				m.remove(name)
			},
			"": func(t *rapid.T) {
				if n := held.Counts().Streams; !slices.Equal(cut, want) || n != len(m.entries) {
					t.Fatalf("got %d streams and cut %v, want %d and %v", n, cut, len(m.entries), want)
				}
			},
		})
	})
}

// addStream is add with the bound of a session, which is the version of e.
func (m *model) addStream(e modelled, most int) (gone, scope string) {
	own := slices.DeleteFunc(slices.Clone(m.entries), func(o modelled) bool { return o.version != e.version || o.principal != e.principal })
	if e.version != "" && len(own) >= most {
		gone = slices.MinFunc(own, func(a, b modelled) int { return cmp.Compare(a.used, b.used) }).name
		m.remove(gone)
		m.add(e)
		return gone, "session"
	}
	v, scope := m.add(e)
	return v.name, scope
}

// scopeOf reads a scope from an error's text.
func scopeOf(l session.Limits, err error) string {
	for scope, text := range map[string]string{
		"session":   fmt.Sprintf("session: too many event streams: over %d for one session", l.StreamsPerSession),
		"principal": fmt.Sprintf("session: too many event streams: over %d for one principal", l.StreamsPerPrincipal),
		"all":       fmt.Sprintf("session: too many event streams: over %d for everybody", l.Streams),
	} {
		if err.Error() == text && errors.Is(err, session.ErrStreams) {
			return scope
		}
	}
	return "nobody's: " + err.Error()
}

// charged is what one exchange of the model holds.
type charged struct {
	hold               *session.Hold
	principal, session string
	size               int64
}

func TestBytesAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := session.Limits{Bytes: 100, BytesPerPrincipal: 60, BytesPerSession: 40}
		held, _, _ := table(l)
		var holds []*charged
		for _, p := range []string{"a", "a", "b", "c"} {
			for _, s := range []string{"", "1", "2"} {
				var k session.Key
				if s != "" {
					k = session.KeyOf(bank, s)
				}
				holds = append(holds, &charged{held.Hold(k, who(p)), p, s, 0})
			}
		}
		sum := func(of func(*charged) bool) (n int64) {
			for _, c := range holds {
				if of(c) {
					n += c.size
				}
			}
			return n
		}
		any, amount := rapid.SampledFrom(holds), rapid.IntRange(-2, 45)
		t.Repeat(map[string]func(*rapid.T){
			"grow": func(t *rapid.T) {
				c, n := any.Draw(t, "hold"), amount.Draw(t, "bytes")
				err, more := c.hold.Grow(n), max(int64(n), 0)
				full := sum(func(*charged) bool { return true })+more > l.Bytes ||
					sum(func(o *charged) bool { return o.principal == c.principal })+more > l.BytesPerPrincipal ||
					c.session != "" && l.BytesPerSession < more+
						sum(func(o *charged) bool { return o.principal == c.principal && o.session == c.session })
				if full = full && more > 0; full != errors.Is(err, session.ErrBytes) || !full && err != nil {
					t.Fatalf("%d more: got %v, and full is %v", n, err, full)
				}
				if !full {
					c.size += more
				}
			},
			"shrink": func(t *rapid.T) {
				c, n := any.Draw(t, "hold"), amount.Draw(t, "bytes")
				c.hold.Shrink(n)
				c.size -= min(max(int64(n), 0), c.size)
			},
			"release": func(t *rapid.T) {
				c := any.Draw(t, "hold")
				c.hold.Release()
				c.size = 0
			},
			"": func(t *rapid.T) {
				if got, want := held.Counts().Bytes, sum(func(*charged) bool { return true }); got != want {
					t.Fatalf("got %d bytes, want %d", got, want)
				}
			},
		})
		for _, c := range holds {
			c.hold.Release()
		}
		if got := held.Counts(); got != (session.Counts{}) {
			t.Fatalf("after all was given back: got %+v, want nothing", got)
		}
	})
}
