package proxy

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/session"
)

// endpoint is where the answers to POSTs of one caller appear: the event stream of its 2024-11-05 session. The URI that the
// server chose for POSTs is all there is to know such a session by.
type endpoint struct {
	caller identity.ID
	stream *eventStream
	marks  []session.Key
}

// endpoints are those of every open stream, by what marks them.
type endpoints struct {
	mu   sync.Mutex
	open map[session.Key][]*endpoint // the later one last
}

var errEndpointTaken = errors.New("proxy: the server gave an endpoint to two callers")

// marksOf returns what in a URI may stand for a session: the decoded value of each query member, or the path if there is none.
// Servers do not agree on the rest: to most of them a URI with one more member, or an escaped letter, is the same endpoint.
func marksOf(s call.Service, uri string) []session.Key {
	path, query, _ := strings.Cut(uri, "?")
	var marks []session.Key
	for member := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		_, value, _ := strings.Cut(member, "=")
		if decoded, err := url.QueryUnescape(value); err == nil && decoded != "" {
			marks = append(marks, session.KeyOf(s, "endpoint by query "+decoded))
		}
	}
	if len(marks) > 0 {
		return marks
	}
	return []session.Key{pathMark(s, path)}
}

// marksIn returns everything in the target of a POST that an endpoint could be marked by: what a server takes for one is for it
// to say, and so the query and the path both count.
func marksIn(s call.Service, target string) []session.Key {
	path, query, ok := strings.Cut(target, "?")
	marks := []session.Key{pathMark(s, path)}
	if ok {
		marks = append(marks, marksOf(s, "?"+query)...)
	}
	return marks
}

func pathMark(s call.Service, path string) session.Key {
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	return session.KeyOf(s, "endpoint by path /"+strings.Join(segments, "/"))
}

// add makes e known until the returned function is called. Two streams of one caller may share an endpoint, and the later one
// hears the answers; two callers may not.
func (s *endpoints) add(e *endpoint) (remove func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.open[e.marks[0]] {
		if other.caller != e.caller && slices.Equal(other.marks, e.marks) {
			return nil, errEndpointTaken
		}
	}
	for _, k := range e.marks {
		s.open[k] = append(s.open[k], e)
	}
	return func() { s.remove(e) }, nil
}

func (s *endpoints) remove(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range e.marks {
		rest := slices.DeleteFunc(s.open[k], func(other *endpoint) bool { return other == e })
		if s.open[k] = rest; len(rest) == 0 {
			delete(s.open, k)
		}
	}
}

// none reports whether no such stream is open, which is nearly always.
func (s *endpoints) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0
}

// find returns the caller's own endpoint that a mark belongs to, nil if there is none, and whether one of them is somebody
// else's alone. What the endpoints of several callers have in common marks none of them.
func (s *endpoints) find(marks []session.Key, caller identity.ID) (own *endpoint, stranger bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range marks {
		mine, others := 0, map[identity.ID]bool{}
		for _, e := range s.open[k] {
			if e.caller != caller {
				others[e.caller] = true
				continue
			}
			mine++
			own = e
		}
		stranger = stranger || mine == 0 && len(others) == 1
	}
	return own, stranger
}
