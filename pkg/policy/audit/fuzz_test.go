package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
)

// Whatever a peer sends: one line, one valid JSON object, nothing in it that does not print, bounded, and the verdict is
// ours.
func FuzzRecord(f *testing.F) {
	f.Add("tools/call", "pay", "s1", `{"a":1}`, "because")
	f.Add("x\n{\"verdict\":\"pass\"}", "a\u202e\u200b\x00\x7f", "\xff", `{"a":`, "\u2028")
	f.Add(`","verdict":"pass`, strings.Repeat("€", 200), strings.Repeat("s", 5000), `"\ud800"`, strings.Repeat("\x1b", 3000))
	f.Fuzz(func(t *testing.T, method, target, session, arguments, reason string) {
		o := &policy.Outcome{
			Call: &call.Call{ID: target, Method: method, Target: call.Target{Kind: call.Tool, Name: target}, Version: session, Session: session,
				Arguments: []byte(arguments), Route: call.Route{Service: call.Service{Namespace: method, Name: target}}},
			Verdict: policy.Verdict{Action: policy.Deny, Code: call.Code(method), Policy: target, Rule: session, Reason: reason,
				Notes: []policy.Note{{Kind: method, Text: reason}}},
			Err: errors.New(reason),
		}
		o.Steps = []policy.Step{{Stage: method, Verdict: o.Verdict}, {Stage: target, Shadow: true, Verdict: o.Verdict}}
		line := write(t, o, audit.Options{})
		r := read(t, line)
		if r["verdict"] != "deny" {
			t.Errorf("verdict: got %v, want deny", r["verdict"])
		}
		for _, c := range strings.TrimSuffix(line, "\n") {
			if !unicode.IsPrint(c) {
				t.Fatalf("a character that does not print: %U in %q", c, line)
			}
		}
		if len(line) > 64<<10 {
			t.Errorf("the record has %d bytes", len(line))
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	s := audit.New(discard{}, audit.Options{})
	o := full()
	b.ReportAllocs()
	for b.Loop() {
		s.Observe(context.Background(), o)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
