package session

import (
	"strings"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

// Record is what is known of a session. What Find and Use return shares its lists with the table: they are to be read only.
type Record struct {
	Principal      identity.ID // whose it is
	Version        string      // the revision its handshake settled; "" if we did not see one
	Client, Server []string    // names of the capabilities that each side has
	Path           string      // where its handshake was; "" also for one over 1 KiB
	Opened, Seen   time.Time
}

// maxPath is the longest path that is kept: a request head could make every record as large as itself.
const maxPath = 1 << 10

type sessions struct {
	mu    sync.Mutex
	crowd *crowd[Key, Record]
}

// Open records the session that a handshake opened, or what a new handshake of its principal changed. A live record of
// another principal stays as it is, and the error is ErrStranger. The zero Key is not recorded.
func (t *Table) Open(k Key, r Record) error {
	if k == (Key{}) {
		return nil
	}
	gone, err := t.open(k, r.compact())
	t.report(gone)
	return err
}

func (t *Table) open(k Key, r Record) (*victim[Key, Record], error) {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	now := t.now()
	e, err := t.live(k, r.Principal, now)
	if err != nil {
		return nil, err
	}
	if r.Seen = now; r.Opened.IsZero() {
		r.Opened = now
	}
	if e == nil {
		return t.bind(k, r), nil
	}
	r.Opened = e.value.Opened
	e.value = r
	return nil, nil
}

// Find returns the record of a session, the zero Record if there is none or k is zero. The error is ErrStranger if it is
// another principal's.
func (t *Table) Find(k Key, p identity.ID) (Record, error) {
	if k == (Key{}) {
		return Record{}, nil
	}
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	e, err := t.live(k, p, t.now())
	if e == nil {
		return Record{}, err
	}
	return e.value, nil
}

// Use is Find for a session that its server has just honoured: an unknown one is p's from now on.
func (t *Table) Use(k Key, p identity.ID) (Record, error) {
	if k == (Key{}) {
		return Record{}, nil
	}
	r, gone, err := t.use(k, p)
	t.report(gone)
	return r, err
}

func (t *Table) use(k Key, p identity.ID) (Record, *victim[Key, Record], error) {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	now := t.now()
	switch e, err := t.live(k, p, now); {
	case err != nil:
		return Record{}, nil, err
	case e != nil:
		return e.value, nil, nil
	}
	r := Record{Principal: p, Opened: now, Seen: now}
	return r, t.bind(k, r), nil
}

// Close forgets a session that its server has ended.
func (t *Table) Close(k Key) {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	t.sessions.crowd.remove(k)
}

// live returns the entry of k if it has not expired and is p's, and marks it as used. Nil is no record. A stranger's question
// keeps no record alive. The caller holds the lock.
func (t *Table) live(k Key, p identity.ID, now time.Time) (*entry[Key, Record], error) {
	c := t.sessions.crowd
	expired := func(r *Record) bool { return t.expired(r.Seen, now) }
	c.forget(expired)
	e := c.entries[k]
	switch {
	case e == nil:
		return nil, nil
	case expired(&e.value):
		c.remove(k)
		return nil, nil
	case e.value.Principal != p:
		return nil, ErrStranger
	}
	e.value.Seen = now
	c.touch(e)
	return e, nil
}

func (t *Table) expired(seen, now time.Time) bool { return now.Sub(seen) > t.limits.Idle }

// bind adds a record, and returns what had to go unless that had expired: nobody misses it. The caller holds the lock.
func (t *Table) bind(k Key, r Record) *victim[Key, Record] {
	gone := t.sessions.crowd.put(k, r.Principal, r)
	if gone != nil && t.expired(gone.value.Seen, r.Seen) {
		return nil
	}
	return gone
}

func (t *Table) report(v *victim[Key, Record]) {
	if v != nil {
		t.evicted(Eviction{v.principal, v.key.service, "session", v.scope, v.limit})
	}
}

// compact returns a copy that keeps nothing else in memory: what a caller cut out of a message would hold all of it.
func (r Record) compact() Record {
	r.Version = strings.Clone(r.Version)
	r.Client, r.Server = compact(r.Client), compact(r.Server)
	if len(r.Path) > maxPath {
		r.Path = ""
	}
	r.Path = strings.Clone(r.Path)
	return r
}

// compact copies names into one string.
func compact(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	rest := strings.Join(names, "")
	out := make([]string, len(names))
	for i, name := range names {
		out[i], rest = rest[:len(name)], rest[len(name):]
	}
	return out
}
