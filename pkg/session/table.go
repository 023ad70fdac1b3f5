package session

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// Errors a caller branches on.
var (
	ErrStranger = errors.New("session: it belongs to another principal")
	ErrPages    = errors.New("session: too many pages of one listing")
	ErrStreams  = errors.New("session: too many event streams")
	ErrBytes    = errors.New("session: too many bytes in memory")
)

// Key names a session of a service. The zero Key is no session.
type Key struct {
	service call.Service
	id      [sha256.Size]byte
}

// KeyOf returns the key of the session that a service knows by id.
func KeyOf(s call.Service, id string) Key { return Key{s, sha256.Sum256([]byte(id))} }

// Record is what is known of a session.
type Record struct {
	Principal      identity.ID // whose it is
	Version        string      // the revision its handshake settled; "" if we did not see one
	Client, Server []string    // names of the capabilities that each side has
	Path           string      // where its handshake was
	Opened, Seen   time.Time
}

// Eviction is something given up to stay within a limit.
type Eviction struct {
	Principal identity.ID
	Service   call.Service
	What      string // "session" or "stream"
	Scope     string // whose limit: "session", "principal" or "all"
	Limit     int
}

func (e Eviction) String() string {
	return fmt.Sprintf("the oldest %s made room: the limit of %d for %s is reached", e.What, e.Limit, scopes[e.Scope])
}

var scopes = map[string]string{"session": "one session", "principal": "one principal", "all": "everybody"}

// Table holds all of it. It is safe for concurrent use.
type Table struct {
	limits  Limits
	now     func() time.Time
	evicted func(Eviction)

	mu       sync.Mutex
	sessions *crowd[Key, *Record]
	streams  *streams
	listings *crowd[listing, int]
	bytes    bytes
}

// New returns an empty table. evicted is called without locks held.
func New(l Limits, now func() time.Time, evicted func(Eviction)) *Table {
	l = l.withDefaults()
	return &Table{
		limits: l, now: now, evicted: evicted,
		sessions: newCrowd[Key, *Record](l.Sessions, l.SessionsPerPrincipal),
		streams:  newStreams(),
		listings: newCrowd[listing, int](l.Listings, l.Listings),
		bytes:    bytes{ofPrincipal: map[identity.ID]int64{}, ofSession: map[Key]int64{}},
	}
}

// Open records the session that a handshake opened, or what a new handshake of its principal changed. A live record of
// another principal stays as it is, and the error is ErrStranger.
func (t *Table) Open(k Key, r Record) error {
	r.Seen = t.now()
	t.mu.Lock()
	old, err := t.live(k, r.Principal)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	if old != nil {
		r.Opened = old.Opened
	}
	victims := t.sessions.put(k, r.Principal, &r)
	t.mu.Unlock()
	t.report(victims)
	return nil
}

// Find returns the record of a session, the zero Record if there is none or k is zero. The error is ErrStranger if it is
// another principal's.
func (t *Table) Find(k Key, p identity.ID) (Record, error) {
	if k == (Key{}) {
		return Record{}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.live(k, p)
	if r == nil {
		return Record{}, err
	}
	return *r, nil
}

// Use is Find for a session that its server has just honoured: an unknown one is p's from now on.
func (t *Table) Use(k Key, p identity.ID) (Record, error) {
	if k == (Key{}) {
		return Record{}, nil
	}
	t.mu.Lock()
	r, err := t.live(k, p)
	if r != nil || err != nil {
		defer t.mu.Unlock()
		if err != nil {
			return Record{}, err
		}
		return *r, nil
	}
	now := t.now()
	opened := Record{Principal: p, Opened: now, Seen: now}
	kept := opened // what is in the table is the table's
	victims := t.sessions.put(k, p, &kept)
	t.mu.Unlock()
	t.report(victims)
	return opened, nil
}

// Close forgets a session that its server has ended.
func (t *Table) Close(k Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions.remove(k)
}

// live returns the record of k if it has not expired and is p's, and marks it as used. Nil is no record.
func (t *Table) live(k Key, p identity.ID) (*Record, error) {
	r, ok := t.sessions.get(k)
	switch now := t.now(); {
	case !ok:
		return nil, nil
	case now.Sub((*r).Seen) > t.limits.Idle:
		t.sessions.remove(k)
		return nil, nil
	case (*r).Principal != p:
		return nil, ErrStranger
	default:
		(*r).Seen = now
	}
	t.sessions.touch(k)
	return *r, nil
}

func (t *Table) report(victims []victim[Key]) {
	for _, v := range victims {
		t.evicted(Eviction{v.principal, v.key.service, "session", v.scope, v.limit})
	}
}

// listing is one listing that a caller reads page by page.
type listing struct {
	session   Key
	principal identity.ID
	service   call.Service
	method    string
}

// Turn counts a page of a listing; a request that is no later page starts it again. The error is ErrPages. A listing is the
// session's, or the principal's where there is none.
func (t *Table) Turn(k Key, p identity.ID, s call.Service, method string, page bool) error {
	l := listing{k, p, s, method}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !page {
		t.listings.remove(l)
		return nil
	}
	n, ok := t.listings.get(l)
	switch {
	case !ok:
		t.listings.put(l, p, 2) // the first page came without a cursor
	case *n >= t.limits.Pages:
		return fmt.Errorf("%w: over %d of %s", ErrPages, t.limits.Pages, method)
	default:
		*n++
		t.listings.touch(l)
	}
	return nil
}
