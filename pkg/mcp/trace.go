package mcp

import (
	"net/http"

	"waymark.dev/waypoint/pkg/call"
)

// maxTraceState is the length W3C Trace Context asks to propagate at least (section 3.3.1.5).
const maxTraceState = 512

// trace takes the trace context from the message's metadata (SEP-414), else from the HTTP header, which is the link where it
// says something else. Malformed values are ignored, never refused (contract 15.5).
func (m *Message) trace() call.Trace {
	parent, _ := m.meta.String("traceparent")
	state, _ := m.meta.String("tracestate")
	carrier := only(m.head.Header, "Traceparent")
	if !validParent(carrier) {
		carrier = ""
	}
	if !validParent(parent) {
		parent, state = carrier, only(m.head.Header, "Tracestate")
	}
	t := call.Trace{Parent: parent}
	if len(state) <= maxTraceState && parent != "" {
		t.State = state
	}
	if carrier != parent {
		t.Link = carrier
	}
	return t
}

func only(h http.Header, name string) string {
	if lines := h[name]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// validParent checks a traceparent of version 00 or a later one that starts like it (W3C Trace Context, section 3.2.2).
func validParent(s string) bool {
	const length = 55 // 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(s) < length || len(s) > length && (s[:2] == "00" || s[length] != '-') || len(s) > 2*length {
		return false
	}
	return hex(s[:2]) && s[:2] != "ff" && s[2] == '-' && hex(s[3:35]) && !zeros(s[3:35]) && s[35] == '-' &&
		hex(s[36:52]) && !zeros(s[36:52]) && s[52] == '-' && hex(s[53:55])
}

func hex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
