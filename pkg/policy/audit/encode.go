package audit

import (
	"encoding/json/jsontext"
	"strconv"
	"sync"
)

// lines are the buffers that records are written from: one is used for each, and none is kept by the sink.
var lines = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// append appends the record as JSON, exactly as encoding/json/v2 would: a test holds the two against each other. It exists
// because a record is written for each call, and reflection takes longer over it than all rules together.
func (r *record) append(b []byte) []byte {
	b = append(b, '{')
	b = text(b, "id", r.ID, true)
	b = text(b, "time", r.Time, true)
	b = text(b, "caller", r.Caller, false)
	b = text(b, "source", r.Source, false)
	b = text(b, "service", r.Service, false)
	b = number(b, "port", int64(r.Port), false)
	b = text(b, "protocol", r.Protocol, false)
	b = text(b, "version", r.Version, false)
	b = text(b, "direction", r.Direction, false)
	b = text(b, "method", r.Method, false)
	b = text(b, "targetKind", r.TargetKind, false)
	b = text(b, "target", r.Target, false)
	b = text(b, "session", r.Session, false)
	b = text(b, "argumentsDigest", r.ArgumentsDigest, false)
	b = text(b, "trace", r.Trace, false)
	b = text(b, "linkedTrace", r.LinkedTrace, false)
	b = text(b, "verdict", r.Verdict, true)
	b = text(b, "code", r.Code, false)
	b = text(b, "stage", r.Stage, false)
	b = text(b, "policy", r.Policy, false)
	b = text(b, "rule", r.Rule, false)
	b = text(b, "reason", r.Reason, false)
	b = text(b, "generation", r.Generation, false)
	b = number(b, "judgedMicros", r.JudgedMicros, true)
	b = number(b, "tookMillis", r.TookMillis, true)
	if r.Rewritten {
		b = append(name(b, "rewritten"), "true"...)
	}
	b = number(b, "replies", int64(r.Replies), false)
	b = number(b, "hidden", int64(r.Hidden), false)
	b = number(b, "status", int64(r.Status), false)
	b = text(b, "error", r.Error, false)
	if r.Notes != nil {
		b = append(name(b, "notes"), '[')
		for i := range r.Notes {
			b = r.Notes[i].append(b, i > 0)
		}
		b = append(b, ']')
	}
	if r.Shadow != nil {
		b = append(name(b, "shadow"), '[')
		for i := range r.Shadow {
			b = r.Shadow[i].append(b, i > 0)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (n *noted) append(b []byte, more bool) []byte {
	b = object(b, more)
	b = text(b, "kind", n.Kind, true)
	b = text(b, "policy", n.Policy, false)
	b = text(b, "rule", n.Rule, false)
	b = text(b, "text", n.Text, false)
	return append(b, '}')
}

func (v *verdict) append(b []byte, more bool) []byte {
	b = object(b, more)
	b = text(b, "stage", v.Stage, true)
	b = text(b, "verdict", v.Verdict, true)
	b = text(b, "code", v.Code, false)
	b = text(b, "policy", v.Policy, false)
	b = text(b, "rule", v.Rule, false)
	b = text(b, "reason", v.Reason, false)
	return append(b, '}')
}

func object(b []byte, more bool) []byte {
	if more {
		b = append(b, ',')
	}
	return append(b, '{')
}

// name begins a member.
func name(b []byte, s string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), s...), '"', ':')
}

// text appends a string member; an empty one only if it is always there. Invalid UTF-8 becomes U+FFFD.
func text(b []byte, member, s string, always bool) []byte {
	if s == "" && !always {
		return b
	}
	b, _ = jsontext.AppendQuote(name(b, member), s) // the error says that there was invalid UTF-8
	return b
}

func number(b []byte, member string, n int64, always bool) []byte {
	if n == 0 && !always {
		return b
	}
	return strconv.AppendInt(name(b, member), n, 10)
}
