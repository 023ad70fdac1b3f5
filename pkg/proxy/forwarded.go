package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"

	"waymark.dev/waypoint/pkg/call"
)

// origin is on whose behalf a connection to an endpoint is opened.
type origin struct {
	service call.Service
	caller  netip.AddrPort // zero on a connection that several callers share
	parent  string         // the traceparent of the caller's tunnel, as it came; "" on a shared connection
}

// fields are the CONNECT fields towards a ztunnel (contract ambient, sections 4.2 and 5.3). It takes host for its metrics, to
// know which service the workload was called as. A raw connection is one caller's, and says whose. An HTTP connection goes on
// to carry the exchanges of everybody who calls the service: the address of the one who happened to come first would be
// wrong for all the others, so it says host alone. None of it is an identity to anybody: that is in the certificate, and it is
// ours.
func (o *origin) fields() http.Header {
	h := http.Header{"Traceparent": {o.traceparent()}}
	var parts []string
	if o.caller.IsValid() {
		parts = append(parts, `for="`+o.caller.String()+`"`)
	}
	if o.service.Hostname != "" {
		parts = append(parts, "host="+o.service.Hostname)
	}
	if len(parts) > 0 {
		h["Forwarded"] = []string{strings.Join(parts, ";")}
	}
	return h
}

// traceparent names this connection: in the trace of the caller's tunnel if it has one, else in a trace of its own. It has
// nothing to do with the traces of the calls inside.
func (o *origin) traceparent() string {
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	trace := hex.EncodeToString(random[8:])
	if isTraceparent(o.parent) {
		trace = o.parent[3:35]
	}
	return "00-" + trace + "-" + hex.EncodeToString(random[:8]) + "-00"
}

// isTraceparent reports whether s is a traceparent of version 00 (W3C Trace Context, section 3.2).
func isTraceparent(s string) bool {
	const zeroTrace, zeroParent = "00000000000000000000000000000000", "0000000000000000"
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' || s[3:35] == zeroTrace || s[36:52] == zeroParent {
		return false
	}
	digits := s[3:35] + s[36:52] + s[53:]
	return strings.Trim(digits, "0123456789abcdef") == ""
}
