package testmesh

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"fmt"
	"sync"
)

// Record is what a test reads of one audit line. docs/audit.md describes the fields; those it does not name are in
// Line.
type Record struct {
	Caller     string `json:"caller"`
	Protocol   string `json:"protocol"`
	Method     string `json:"method"`
	Target     string `json:"target"`
	Verdict    string `json:"verdict"`
	Code       string `json:"code"`
	Policy     string `json:"policy"`
	Rule       string `json:"rule"`
	Reason     string `json:"reason"`
	Hidden     int    `json:"hidden"`
	Status     int    `json:"status"`
	Generation string `json:"generation"`

	Line string `json:"-"` // the whole line
}

// Allowed reports whether the call was let through.
func (r Record) Allowed() bool { return r.Verdict == "pass" || r.Verdict == "rewrite" }

// Audit is the sink a waypoint writes its audit records to. It is safe for concurrent use.
type Audit struct {
	mu      sync.Mutex
	partial []byte
	records []Record
	grown   chan struct{} // closed and replaced whenever records grows
}

func newAudit() *Audit { return &Audit{grown: make(chan struct{})} }

// Write takes audit lines, whole or in parts. A line that is not a JSON object is an error.
func (a *Audit) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.partial = append(a.partial, b...)
	for {
		line, rest, whole := bytes.Cut(a.partial, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		r := Record{Line: string(line)}
		if err := json.Unmarshal(line, &r); err != nil {
			return 0, fmt.Errorf("testmesh: audit line %q: %w", line, err)
		}
		a.partial = rest
		a.records = append(a.records, r)
		close(a.grown)
		a.grown = make(chan struct{})
	}
}

// Len is how many records there are; together with Find it asks for what comes next.
func (a *Audit) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.records)
}

// Records returns a copy of the records from the given one on.
func (a *Audit) Records(from int) []Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Record(nil), a.records[min(from, len(a.records)):]...)
}

// Find waits for a record, at or after the given one, that matches. A call is recorded when it is over, which may be
// just after its caller has the answer.
func (a *Audit) Find(ctx context.Context, from int, match func(Record) bool) (Record, error) {
	for {
		a.mu.Lock()
		grown := a.grown
		for ; from < len(a.records); from++ {
			if match(a.records[from]) {
				defer a.mu.Unlock()
				return a.records[from], nil
			}
		}
		a.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return Record{}, fmt.Errorf("testmesh: no such audit record: %w", ctx.Err())
		}
	}
}
