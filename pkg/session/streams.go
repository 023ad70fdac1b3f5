package session

import (
	"fmt"
	"sync"

	"waymark.dev/waypoint/pkg/identity"
)

// Stream is an open event stream in a table.
type Stream struct {
	table     *Table
	of        owned
	cut       func(error)
	open      bool // in the table
	inSession link[Stream]
}

// streams are a crowd, and of each session a queue with the least recently active stream first.
type streams struct {
	mu        sync.Mutex
	crowd     *crowd[*Stream, struct{}]
	ofSession map[owned]*queue[Stream]
}

// Stream registers an event stream. Where there are too many in its session, of its principal or in all, one is cut: the
// least recently active one of that session, of that principal, or of whoever has most. Its cut is called before Stream
// returns, without locks, with an error that wraps ErrStreams; cut of this one may be called at once too, by the next. Done
// must be called when the stream is over, cut or not.
func (t *Table) Stream(k Key, p identity.ID, cut func(error)) *Stream {
	s := &Stream{table: t, of: owned{k, p}, cut: cut, open: true}
	s.inSession.member = s
	if gone := t.admit(s); gone != nil {
		v := gone.key
		v.cut(fmt.Errorf("%w: over %d for %s", ErrStreams, gone.limit, nameOf(gone.scope)))
		t.evicted(Eviction{v.of.principal, v.of.service, "stream", gone.scope, gone.limit})
	}
	return s
}

// admit adds a stream and takes out the one that makes room for it, nil if none has to. It is one at most: what goes from one
// scope is missing in the others.
func (t *Table) admit(s *Stream) (gone *victim[*Stream, struct{}]) {
	q := &t.streams
	q.mu.Lock()
	defer q.mu.Unlock()
	own := q.ofSession[s.of]
	if own != nil && own.size >= t.limits.StreamsPerSession {
		gone = &victim[*Stream, struct{}]{key: own.oldest(), scope: "session", limit: t.limits.StreamsPerSession}
		q.remove(gone.key)
		q.add(s)
	} else if gone = q.add(s); gone != nil {
		q.leave(gone.key)
	}
	return gone
}

func (q *streams) add(s *Stream) *victim[*Stream, struct{}] {
	if s.of.Key != (Key{}) {
		if q.ofSession[s.of] == nil {
			q.ofSession[s.of] = newQueue[Stream]()
		}
		q.ofSession[s.of].pushBack(&s.inSession)
	}
	return q.crowd.put(s, s.of.principal, struct{}{})
}

// remove takes s out, if it is still there.
func (q *streams) remove(s *Stream) {
	if s.open {
		q.crowd.remove(s)
		q.leave(s)
	}
}

// leave takes s, which is not in the crowd any more, out of its session.
func (q *streams) leave(s *Stream) {
	s.open = false
	own := q.ofSession[s.of]
	if own == nil { // no session
		return
	}
	if own.remove(&s.inSession); own.size == 0 {
		delete(q.ofSession, s.of)
	}
}

// Touch says that the stream has just carried something.
func (s *Stream) Touch() {
	q := &s.table.streams
	q.mu.Lock()
	defer q.mu.Unlock()
	if !s.open {
		return
	}
	q.crowd.touch(q.crowd.entries[s])
	if own := q.ofSession[s.of]; own != nil {
		own.moveToBack(&s.inSession)
	}
}

// Done says that the stream is over. It may be called twice.
func (s *Stream) Done() {
	q := &s.table.streams
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(s)
}
