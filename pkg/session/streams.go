package session

import (
	"container/list"
	"fmt"

	"waymark.dev/waypoint/pkg/identity"
)

// Stream is an open event stream in a table.
type Stream struct {
	table     *Table
	key       Key
	principal identity.ID
	cut       func(error)
	places    [3]*list.Element // in its session's, its principal's and everybody's queue
}

// streams are three kinds of queues, the least recently active stream first in each.
type streams struct {
	ofSession   map[Key]*list.List
	ofPrincipal map[identity.ID]*list.List
	all         *list.List
}

func newStreams() *streams {
	return &streams{map[Key]*list.List{}, map[identity.ID]*list.List{}, list.New()}
}

// Stream registers an event stream. Where there are too many, the least recently active one of its session, its principal or
// of all is cut, with an error that wraps ErrStreams. Done must be called when the stream is over, cut or not.
func (t *Table) Stream(k Key, p identity.ID, cut func(error)) *Stream {
	s := &Stream{table: t, key: k, principal: p, cut: cut}
	t.mu.Lock()
	victims := t.crowdOut(k, p)
	t.streams.add(s)
	t.mu.Unlock()
	for _, v := range victims {
		v.stream.cut(fmt.Errorf("%w: over %d for %s", ErrStreams, v.Limit, scopes[v.Scope]))
		t.evicted(v.Eviction)
	}
	return s
}

type cutStream struct {
	Eviction
	stream *Stream
}

// crowdOut makes room for one stream more. The caller holds the lock.
func (t *Table) crowdOut(k Key, p identity.ID) (victims []cutStream) {
	for _, q := range []struct {
		queue *list.List
		scope string
		limit int
	}{
		{t.streams.ofSession[k], "session", t.limits.StreamsPerSession},
		{t.streams.ofPrincipal[p], "principal", t.limits.StreamsPerPrincipal},
		{t.streams.all, "all", t.limits.Streams},
	} {
		if q.queue == nil || q.queue.Len() < q.limit {
			continue
		}
		s := q.queue.Front().Value.(*Stream)
		t.streams.remove(s)
		victims = append(victims, cutStream{Eviction{s.principal, s.key.service, "stream", q.scope, q.limit}, s})
	}
	return victims
}

func (q *streams) add(s *Stream) {
	if s.key != (Key{}) {
		if q.ofSession[s.key] == nil {
			q.ofSession[s.key] = list.New()
		}
		s.places[0] = q.ofSession[s.key].PushBack(s)
	}
	if q.ofPrincipal[s.principal] == nil {
		q.ofPrincipal[s.principal] = list.New()
	}
	s.places[1] = q.ofPrincipal[s.principal].PushBack(s)
	s.places[2] = q.all.PushBack(s)
}

// remove takes s out of every queue it is in. It may be called twice.
func (q *streams) remove(s *Stream) {
	if s.places[2] == nil {
		return
	}
	if s.places[0] != nil {
		own := q.ofSession[s.key]
		if own.Remove(s.places[0]); own.Len() == 0 {
			delete(q.ofSession, s.key)
		}
	}
	own := q.ofPrincipal[s.principal]
	if own.Remove(s.places[1]); own.Len() == 0 {
		delete(q.ofPrincipal, s.principal)
	}
	q.all.Remove(s.places[2])
	s.places = [3]*list.Element{}
}

// Touch says that the stream has just carried something.
func (s *Stream) Touch() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.places[2] == nil {
		return
	}
	q := s.table.streams
	if s.places[0] != nil {
		q.ofSession[s.key].MoveToBack(s.places[0])
	}
	q.ofPrincipal[s.principal].MoveToBack(s.places[1])
	q.all.MoveToBack(s.places[2])
}

// Done says that the stream is over. It may be called twice.
func (s *Stream) Done() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.table.streams.remove(s)
}
