package audit

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"waymark.dev/waypoint/pkg/policy"
)

// record is one line. docs/audit.md describes the fields; a test holds the two against each other.
type record struct {
	ID              string    `json:"id"`
	Time            string    `json:"time"`
	Caller          string    `json:"caller,omitzero"`
	Source          string    `json:"source,omitzero"`
	Service         string    `json:"service,omitzero"`
	Port            uint16    `json:"port,omitzero"`
	Protocol        string    `json:"protocol,omitzero"`
	Version         string    `json:"version,omitzero"`
	Direction       string    `json:"direction,omitzero"`
	Method          string    `json:"method,omitzero"`
	TargetKind      string    `json:"targetKind,omitzero"`
	Target          string    `json:"target,omitzero"`
	Session         string    `json:"session,omitzero"`
	ArgumentsDigest string    `json:"argumentsDigest,omitzero"`
	Trace           string    `json:"trace,omitzero"`
	LinkedTrace     string    `json:"linkedTrace,omitzero"`
	Verdict         string    `json:"verdict"`
	Code            string    `json:"code,omitzero"`
	Stage           string    `json:"stage,omitzero"`
	Policy          string    `json:"policy,omitzero"`
	Rule            string    `json:"rule,omitzero"`
	Reason          string    `json:"reason,omitzero"`
	Generation      string    `json:"generation,omitzero"`
	JudgedMicros    int64     `json:"judgedMicros"`
	TookMillis      int64     `json:"tookMillis"`
	Rewritten       bool      `json:"rewritten,omitzero"`
	Replies         int       `json:"replies,omitzero"`
	Hidden          int       `json:"hidden,omitzero"`
	Status          int       `json:"status,omitzero"`
	Error           string    `json:"error,omitzero"`
	Notes           []noted   `json:"notes,omitzero"`
	Shadow          []verdict `json:"shadow,omitzero"`
}

// noted is a rule that matched without deciding.
type noted struct {
	Kind   string `json:"kind"`
	Policy string `json:"policy,omitzero"`
	Rule   string `json:"rule,omitzero"`
	Text   string `json:"text,omitzero"`
}

// verdict is what a stage in shadow would have done.
type verdict struct {
	Stage   string `json:"stage"`
	Verdict string `json:"verdict"`
	Code    string `json:"code,omitzero"`
	Policy  string `json:"policy,omitzero"`
	Rule    string `json:"rule,omitzero"`
	Reason  string `json:"reason,omitzero"`
}

// Limits of one record. A name is what a peer chose, a text what we composed of it.
const (
	maxName   = 256
	maxText   = 1024
	maxNotes  = 32
	maxShadow = 8
)

func (s *Stage) newRecord(o *policy.Outcome) *record {
	c := o.Call
	received := c.Received
	if received.IsZero() {
		received = s.now()
	}
	r := &record{
		ID: cut(c.ID, maxName), Time: received.UTC().Format(time.RFC3339Nano),
		Caller: cut(c.Principal.String(), maxText), Service: cut(c.Route.Service.String(), maxName), Port: c.Route.Service.Port,
		Protocol: cut(string(c.Protocol), maxName), Version: cut(c.Version, maxName), Direction: cut(string(c.Direction), maxName),
		Method: cut(c.Method, maxName), TargetKind: cut(string(c.Target.Kind), maxName), Target: cut(c.Target.Name, maxName),
		Session: s.hash(c.Session), ArgumentsDigest: s.digest(c.Arguments),
		Trace: traceID(c.Trace.Parent), LinkedTrace: traceID(c.Trace.Link),
		Generation: cut(o.Generation, maxName), JudgedMicros: o.Judged.Microseconds(), TookMillis: o.Took.Milliseconds(),
		Rewritten: o.Rewritten, Replies: o.Replies, Hidden: o.Hidden, Status: o.Status, Error: class(o.Err),
		Notes: notes(o), Shadow: shadow(o),
	}
	if c.Source.IsValid() {
		r.Source = c.Source.String()
	}
	r.decide(o)
	return r
}

// traceID returns the trace id of a traceparent, which the codec has found well-formed (W3C Trace Context, section 3.2.2).
func traceID(parent string) string {
	const start, end = len("00-"), len("00-") + 32
	if len(parent) < end {
		return ""
	}
	return parent[start:end]
}

// decide fills in who decided and why. Of a call that passed it is the last stage that named a policy: the ALLOW rule.
func (r *record) decide(o *policy.Outcome) {
	v, stage := o.Verdict, o.Stage
	r.Verdict = v.Action.String()
	if o.Allowed() {
		for _, step := range slices.Backward(o.Steps) {
			if !step.Shadow && step.Verdict.Policy != "" {
				v, stage = step.Verdict, step.Stage
				break
			}
		}
	}
	r.Code, r.Stage = cut(string(v.Code), maxName), cut(stage, maxName)
	r.Policy, r.Rule, r.Reason = cut(v.Policy, maxName), cut(v.Rule, maxName), cut(v.Reason, maxText)
}

// notes collects what every step noted, each once: re-checks of a long stream note the same again.
func notes(o *policy.Outcome) []noted {
	var out []noted
	for _, step := range o.Steps {
		for _, n := range step.Verdict.Notes {
			got := noted{cut(n.Kind, maxName), cut(n.Policy, maxName), cut(n.Rule, maxName), cut(n.Text, maxText)}
			if len(out) < maxNotes && !slices.Contains(out, got) {
				out = append(out, got)
			}
		}
	}
	return out
}

func shadow(o *policy.Outcome) []verdict {
	var out []verdict
	for _, step := range o.Steps {
		v := step.Verdict
		if !step.Shadow || v.Action == policy.Pass || len(out) == maxShadow {
			continue
		}
		out = append(out, verdict{cut(step.Stage, maxName), v.Action.String(), cut(string(v.Code), maxName),
			cut(v.Policy, maxName), cut(v.Rule, maxName), cut(v.Reason, maxText)})
	}
	return out
}

// class names the kind of an error. Its text is not recorded: it may quote what a peer sent.
func class(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	case errors.As(err, &network):
		return "network"
	}
	return "other"
}

// line appends the record with its newline. Invalid UTF-8 becomes U+FFFD, and what a terminal would not print as a sign of
// its own is escaped.
func (r *record) line(b []byte) []byte { return append(escape(r.append(b)), '\n') }
