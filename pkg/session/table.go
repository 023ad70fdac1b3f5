package session

import (
	"crypto/sha256"
	"errors"
	"fmt"
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

// owned is a session as one principal holds it: whoever presents another's id spends nothing of the other's.
type owned struct {
	Key

	principal identity.ID
}

// Eviction is something given up to stay within a limit. What merely expired is none.
type Eviction struct {
	Principal identity.ID
	Service   call.Service // of a stream outside of any session: the zero Service
	What      string       // "session" or "stream"
	Scope     string       // whose limit: "session", "principal" or "all"
	Limit     int
}

func (e Eviction) String() string {
	return fmt.Sprintf("the oldest %s made room: the limit of %d for %s is reached", e.What, e.Limit, nameOf(e.Scope))
}

func nameOf(scope string) string {
	switch scope {
	case "session":
		return "one session"
	case "principal":
		return "one principal"
	default:
		return "everybody"
	}
}

// Table holds all of it. It is safe for concurrent use. Sessions, listings, streams and bytes have a lock each, held for O(1)
// steps and never while something of the caller's runs.
type Table struct {
	limits  Limits
	now     func() time.Time
	evicted func(Eviction)

	sessions sessions
	listings listings
	streams  streams
	bytes    accounts
}

// New returns an empty table. evicted, if it is not nil, is called without locks held.
func New(l Limits, now func() time.Time, evicted func(Eviction)) *Table {
	l = l.withDefaults()
	if evicted == nil {
		evicted = func(Eviction) {}
	}
	return &Table{
		limits: l, now: now, evicted: evicted,
		sessions: sessions{crowd: newCrowd[Key, Record](l.Sessions, l.SessionsPerPrincipal)},
		listings: listings{crowd: newCrowd[listing, turned](l.Listings, l.Listings)},
		streams: streams{
			crowd:     newCrowd[*Stream, struct{}](l.Streams, l.StreamsPerPrincipal),
			ofSession: map[owned]*queue[Stream]{},
		},
		bytes: accounts{ofPrincipal: map[identity.ID]*account{}, ofSession: map[owned]*account{}},
	}
}
