// Package audit keeps the record: exactly one line of JSON for each decision, written when the call is over.
//
//	sink, err := os.OpenFile("audit.jsonl", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
//	stage := audit.New(sink, audit.Options{Log: log, Now: time.Now})
//	p := policy.NewPipeline("7", time.Now, policy.Entry{Stage: stage}, …) // first: entered always, and observes last
//
// A record never holds payload: arguments are there as a digest, sessions as a hash, and names that a peer chose are cut
// and escaped, so that no caller can write a line of its own or reorder what a terminal shows. docs/audit.md lists the fields.
//
// It is best effort. A record that the sink refuses is lost, counted and reported ([Stage.Failing]), and the call it is
// about has happened. A sink that blocks holds up the calls that are just ending.
package audit
