package session_test

import (
	"fmt"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/session"
)

func Example() {
	ann := identity.RequireID("spiffe://cluster.local/ns/agents/sa/ann")
	bob := identity.RequireID("spiffe://cluster.local/ns/agents/sa/bob")
	held := session.New(session.Limits{StreamsPerSession: 1}, time.Now, func(e session.Eviction) { fmt.Println(e) })

	k := session.KeyOf(call.Service{Namespace: "bank", Name: "accounts", Port: 80}, "the id that the server chose")
	_ = held.Open(k, session.Record{Principal: ann, Version: "2025-11-25"})
	_, err := held.Find(k, bob)
	fmt.Println(err)

	first := held.Stream(k, ann, func(err error) { fmt.Println(err) })
	defer first.Done()
	second := held.Stream(k, ann, func(error) {})
	defer second.Done()
	// Output:
	// session: it belongs to another principal
	// session: too many event streams: over 1 for one session
	// the oldest stream made room: the limit of 1 for one session is reached
}
