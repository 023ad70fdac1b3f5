package audit_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 123456789, time.FixedZone("", 7200))

// full is an outcome with something in every field.
func full() *policy.Outcome {
	return &policy.Outcome{
		Call: &call.Call{
			ID: "d1", Received: noon, Protocol: call.MCP, Version: "2025-11-25", Direction: call.ToServer, Method: "tools/call",
			Target: call.Target{Kind: call.Tool, Name: "pay"}, Arguments: []byte(`{"b": 1, "a": "x"}`), Session: "s3cret",
			Trace: call.Trace{
				Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
				Link:   "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			},
			Principal: identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller"), Source: netip.MustParseAddrPort("10.1.2.3:40000"),
			Route: call.Route{Service: call.Service{Namespace: "bank", Name: "company-mcp", Port: 3000}},
		},
		Verdict: policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied, Policy: "bank/no-pay", Rule: "rules[0]", Reason: "a DENY rule matches"},
		Stage:   "authz",
		Steps: []policy.Step{
			{Stage: "guard", Shadow: true, Verdict: policy.Verdict{Action: policy.Deny, Code: call.GuardRejected, Policy: "bank/g", Rule: "detectors[0]", Reason: "looks odd"}},
			{Stage: "authz", Verdict: policy.Verdict{Action: policy.Deny, Notes: []policy.Note{{Kind: "audit", Policy: "bank/a", Rule: "rules[1]", Text: "an AUDIT rule matches"}}}},
			{Stage: "authz", Verdict: policy.Verdict{Action: policy.Deny, Notes: []policy.Note{{Kind: "audit", Policy: "bank/a", Rule: "rules[1]", Text: "an AUDIT rule matches"}}}},
		},
		Generation: "7", Judged: 1500 * time.Nanosecond, Took: 2 * time.Second, Rewritten: true, Replies: 3, Hidden: 2, Status: 200, Err: context.Canceled,
	}
}

func write(t testing.TB, o *policy.Outcome, options audit.Options) string {
	t.Helper()
	var b bytes.Buffer
	audit.New(&b, options).Observe(context.Background(), o)
	return b.String()
}

func TestRecord(t *testing.T) {
	const want = `{"id":"d1","time":"2026-09-01T10:00:00.123456789Z","caller":"spiffe://cluster.local/ns/bank/sa/teller","source":"10.1.2.3:40000",` +
		`"service":"bank/company-mcp","port":3000,"protocol":"mcp","version":"2025-11-25","direction":"to-server","method":"tools/call","targetKind":"tool","target":"pay",` +
		`"session":"session-sha256:af47d2309b32229a6a3885c8b670584cde0d66c0be30705e3f9919ca4a611126",` +
		`"argumentsDigest":"sha256:cdab067e9f3beb32d1252cfd63e492592fecbf591b0d08cadb24bb17f3864246",` +
		`"trace":"0af7651916cd43dd8448eb211c80319c","linkedTrace":"4bf92f3577b34da6a3ce929d0e0e4736","verdict":"deny","code":"entitlement_denied","stage":"authz","policy":"bank/no-pay","rule":"rules[0]","reason":"a DENY rule matches",` +
		`"generation":"7","judgedMicros":1,"tookMillis":2000,"rewritten":true,"replies":3,"hidden":2,"status":200,"error":"canceled",` +
		`"notes":[{"kind":"audit","policy":"bank/a","rule":"rules[1]","text":"an AUDIT rule matches"}],` +
		`"shadow":[{"stage":"guard","verdict":"deny","code":"guard_rejected","policy":"bank/g","rule":"detectors[0]","reason":"looks odd"}]}` + "\n"
	if got := write(t, full(), audit.Options{}); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestRecordOfARawConnection(t *testing.T) {
	o := &policy.Outcome{Call: &call.Call{Received: noon, Protocol: call.TCP}, Verdict: policy.Verdict{Action: policy.Pass}}
	const want = `{"id":"","time":"2026-09-01T10:00:00.123456789Z","service":"/","protocol":"tcp","verdict":"pass","judgedMicros":0,"tookMillis":0}` + "\n"
	if got := write(t, o, audit.Options{}); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestTimeOfACallWithoutOne(t *testing.T) {
	o := &policy.Outcome{Call: &call.Call{}}
	if got := write(t, o, audit.Options{Now: func() time.Time { return noon }}); !strings.Contains(got, `"time":"2026-09-01T10:00:00.123456789Z"`) {
		t.Errorf("got %s", got)
	}
}

// A call that passed names the ALLOW rule, not whoever was last.
func TestRecordOfAPass(t *testing.T) {
	o := full()
	o.Verdict, o.Stage = policy.Verdict{Action: policy.Pass}, ""
	o.Steps = []policy.Step{
		{Stage: "authz", Verdict: policy.Verdict{Action: policy.Pass, Policy: "bank/allow", Rule: "rules[2]", Reason: "an ALLOW rule matches"}},
		{Stage: "shadowed", Shadow: true, Verdict: policy.Verdict{Action: policy.Pass, Policy: "bank/other"}},
		{Stage: "audit", Verdict: policy.Verdict{Action: policy.Pass}},
	}
	r := read(t, write(t, o, audit.Options{}))
	if got := fmt.Sprint(r["verdict"], r["code"], r["stage"], r["policy"], r["rule"], r["reason"]); got != "pass<nil>authzbank/allowrules[2]an ALLOW rule matches" {
		t.Errorf("got %s", got)
	}
}

func read(t testing.TB, line string) map[string]any {
	t.Helper()
	if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Fatalf("not one line: %q", line)
	}
	var r map[string]any
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return r
}

func TestDigests(t *testing.T) {
	digest := func(arguments string, key string) string {
		o := full()
		o.Call.Arguments = []byte(arguments)
		options := audit.Options{}
		if key != "" {
			options.Key = []byte(key)
		}
		d, _ := read(t, write(t, o, options))["argumentsDigest"].(string)
		return d
	}
	plain := digest(`{"a":"x","b":1}`, "")
	if got := digest(" {\"b\": 1.0,\n\"\\u0061\":\"x\"}", ""); got != plain {
		t.Errorf("another spelling: got %s, want %s", got, plain)
	}
	if got := digest(`{"a":"x","b":2}`, ""); got == plain {
		t.Error("another value has the same digest")
	}
	if got := digest(`{"a":"x","b":1}`, "k"); got == plain || !strings.HasPrefix(got, "hmac-sha256:") {
		t.Errorf("keyed: got %s", got)
	}
	if got := digest(`{"a":`, ""); !strings.HasPrefix(got, "raw-sha256:") {
		t.Errorf("not JSON: got %s", got)
	}
	if line := write(t, full(), audit.Options{}); strings.Contains(line, "s3cret") {
		t.Errorf("the session is in the record: %s", line)
	}
}

func TestArgumentsAreNotTouched(t *testing.T) {
	o := full()
	before := string(o.Call.Arguments)
	write(t, o, audit.Options{})
	if got := string(o.Call.Arguments); got != before {
		t.Errorf("got %s, want %s", got, before)
	}
}

func TestNamesAreBoundedAndEscaped(t *testing.T) {
	for _, tt := range []struct{ name, target, want string }{
		{"long", strings.Repeat("a", 300), `"` + strings.Repeat("a", 256) + `…(+44 bytes)"`},
		{"long, inside a character", strings.Repeat("a", 255) + "é" + strings.Repeat("b", 9), `"` + strings.Repeat("a", 255) + `…(+11 bytes)"`},
		{"long, not UTF-8", strings.Repeat("\x80", 300), ""},
		{"line", "a\nb\r\x00\x1b[2J", `"a\nb\r\u0000\u001b[2J"`},
		{"quote", `a","verdict":"pass`, `"a\",\"verdict\":\"pass"`},
		{"direction override", "a\u202eb\u2066", `"a\u202eb\u2066"`},
		{"zero width, tags, separators", "a\u200b\U000e0041\u2028\u2029\u0085\u00a0\x7f", `"a\u200b\udb40\udc41\u2028\u2029\u0085\u00a0\u007f"`},
		{"letters", "überweisung-支付-💶", `"überweisung-支付-💶"`},
		{"not UTF-8", "a\xff", `"a�"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := full()
			o.Call.Target.Name = tt.target
			line := write(t, o, audit.Options{})
			read(t, line)
			if !strings.Contains(line, `"target":`+tt.want) {
				t.Errorf("got  %s\nwant %s", line, tt.want)
			}
		})
	}
}

func TestErrorClasses(t *testing.T) {
	for want, err := range map[string]error{
		"canceled": fmt.Errorf("relay: %w", context.Canceled),
		"timeout":  fmt.Errorf("dial: %w", os.ErrDeadlineExceeded),
		"closed":   fmt.Errorf("read: %w", io.ErrUnexpectedEOF),
		"network":  &net.OpError{Op: "dial", Err: errors.New("refused by s3cret")},
		"other":    errors.New("the body said s3cret"),
	} {
		o := full()
		o.Err = err
		line := write(t, o, audit.Options{})
		if got := read(t, line)["error"]; got != want || strings.Contains(line, "s3cret") {
			t.Errorf("%v: got %v, want %s", err, got, want)
		}
	}
}

func TestInspectPasses(t *testing.T) {
	v, err := audit.New(io.Discard, audit.Options{}).Inspect(context.Background(), full().Call)
	if err != nil || v.Action != policy.Pass {
		t.Errorf("got %v, %v", v, err)
	}
}

// sink fails as told: each entry is how many bytes one write takes before it fails, or -1 for all of them.
type sink struct {
	bytes.Buffer
	takes []int
}

var errFull = errors.New("no space left on device")

func (s *sink) Write(b []byte) (int, error) {
	if len(s.takes) == 0 {
		return s.Buffer.Write(b)
	}
	n := s.takes[0]
	s.takes = s.takes[1:]
	if n < 0 {
		return s.Buffer.Write(b)
	}
	s.Buffer.Write(b[:n])
	return n, errFull
}

func TestFailingSink(t *testing.T) {
	now := noon
	var log bytes.Buffer
	out := &sink{takes: []int{-1, 0, 5, 0, -1, 0}}
	s := audit.New(out, audit.Options{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i, want := range []error{nil, errFull, errFull, errFull, nil, errFull} {
		s.Observe(context.Background(), full())
		if got := s.Failing(); !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("write %d: failing: got %v, want %v", i, got, want)
		}
		now = now.Add(20 * time.Second)
	}
	if written, lost := s.Counts(); written != 2 || lost != 4 {
		t.Errorf("got %d written and %d lost, want 2 and 4", written, lost)
	}
	if got := strings.Count(log.String(), "audit records are being lost"); got != 2 {
		t.Errorf("got %d reports within two minutes, want 2:\n%s", got, log.String())
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want 3 (the second one torn): %q", len(lines), lines)
	}
	for _, i := range []int{0, 2} {
		read(t, lines[i]+"\n")
	}
}

func TestShortWriteIsLost(t *testing.T) {
	s := audit.New(shortWriter{}, audit.Options{})
	s.Observe(context.Background(), full())
	if err := s.Failing(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want %v", err, io.ErrShortWrite)
	}
}

type shortWriter struct{}

func (shortWriter) Write(b []byte) (int, error) { return len(b) / 2, nil }

func TestConcurrentRecordsDoNotMix(t *testing.T) {
	var out bytes.Buffer
	s := audit.New(&out, audit.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				s.Observe(context.Background(), full())
			}
		})
	}
	wg.Wait()
	lines := strings.SplitAfter(out.String(), "\n")
	if len(lines) != 401 {
		t.Fatalf("got %d lines, want 400", len(lines)-1)
	}
	for _, line := range lines[:400] {
		read(t, line)
	}
}

// docs/audit.md lists exactly the fields there are.
func TestDocumentedFields(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := read(t, write(t, full(), audit.Options{}))
	for name := range fields {
		if !strings.Contains(string(doc), "\n| `"+name+"` |") {
			t.Errorf("field %s is not in docs/audit.md", name)
		}
	}
	for line := range strings.SplitSeq(string(doc), "\n") {
		name, ok := strings.CutPrefix(line, "| `")
		if name, _, _ = strings.Cut(name, "`"); ok && fields[name] == nil {
			t.Errorf("docs/audit.md lists %s, which no record has", name)
		}
	}
}
