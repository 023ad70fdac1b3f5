package proxy

import (
	"errors"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/session"
)

var (
	bank = call.Service{Namespace: "bank", Name: "company-mcp", Port: 3000}
	a    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/a")
	b    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/b")
)

func at(caller identity.ID, uri string) *endpoint {
	return &endpoint{caller: caller, marks: marksOf(bank, uri)}
}

// Two callers may not hear on one endpoint, and an endpoint is gone with its stream.
func TestEndpoints(t *testing.T) {
	s := &endpoints{open: map[session.Key][]*endpoint{}}
	const uri = "/message?sessionId=1"
	first, second := at(a, uri), at(a, uri)
	removeFirst, err := s.add(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.add(at(b, uri)); !errors.Is(err, errEndpointTaken) {
		t.Errorf("got %v, want errEndpointTaken", err)
	}
	removeSecond, err := s.add(second)
	if err != nil {
		t.Fatal(err)
	}
	removeFirst() // the older stream of two ends: the newer one stays
	if own, _ := s.find(marksOf(bank, uri), a); own != second {
		t.Errorf("got %v, want the second stream", own)
	}
	removeSecond()
	if own, stranger := s.find(marksOf(bank, uri), b); own != nil || stranger || len(s.open) != 0 {
		t.Errorf("got %v, %v after both streams ended", own, stranger)
	}
}

// Whatever a server takes for the same endpoint is the same endpoint.
func TestEndpointMarks(t *testing.T) {
	s := &endpoints{open: map[session.Key][]*endpoint{}}
	for _, e := range []*endpoint{at(a, "/message?v=1&sessionId=aaaa"), at(b, "/message?v=1&sessionId=bbbb"), at(a, "/messages/cccc")} {
		if _, err := s.add(e); err != nil {
			t.Fatal(err)
		}
	}
	other := bank
	other.Port++
	for _, tt := range []struct {
		name     string
		service  call.Service
		uri      string
		stranger bool // to b
	}{
		{"another's", bank, "/message?v=1&sessionId=aaaa", true},
		{"with a member more", bank, "/message?sessionId=aaaa&x=1", true},
		{"with an empty member", bank, "/message?&sessionId=aaaa", true},
		{"with a semicolon", bank, "/message?x=1;sessionId=aaaa", true},
		{"escaped", bank, "/message?sessionId=%61aaa", true},
		{"under another name", bank, "/message?session_id=aaaa", true},
		{"by path", bank, "/messages/cccc", true},
		{"by path, with a query", bank, "/messages/cccc?x=1", true},
		{"by path, with a slash more", bank, "/messages//cccc/", true},
		{"by path, escaped", bank, "/messages/%63ccc", true},
		{"its own", bank, "/message?v=1&sessionId=bbbb", false},
		{"what they have in common", bank, "/other?v=1", false},
		{"another port", other, "/message?v=1&sessionId=aaaa", false},
		{"no endpoint at all", bank, "/mcp", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			marks := marksIn(tt.service, tt.uri)
			if _, got := s.find(marks, b); got != tt.stranger {
				t.Errorf("got stranger %v, want %v", got, tt.stranger)
			}
		})
	}
}
