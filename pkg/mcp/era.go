package mcp

import (
	"net/http"
	"unicode/utf8"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Version is a dated revision of MCP that this proxy knows, in order. The zero Version is unknown; unknown versions are
// never ordered by their spelling: one may have moved the names we authorise.
type Version int

// The revisions.
const (
	V2024 Version = iota + 1
	V2503
	V2506
	V2511
	V2607
)

var versions = [...]string{"", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

func (v Version) String() string { return versions[v] }

// Modern reports whether v carries its metadata in each request and has no handshake and no session.
func (v Version) Modern() bool { return v >= V2607 }

// ParseVersion returns the revision of that date, 0 if it is unknown.
func ParseVersion(s string) Version {
	for i, name := range versions {
		if i > 0 && s == name {
			return Version(i)
		}
	}
	return 0
}

// assumed is the revision of a request that names none (2025-06-18, basic/transports).
const assumed = V2503

// The members of a modern request's metadata that every request must have (2026-07-28, basic/index).
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
)

// decideEra decides the revision of one POST from the header and the message's own metadata. The cases are the table of
// contract 4.3; what that table does not have is refused, because one server would run it as legacy and another as modern.
func (m *Message) decideEra() *Response {
	meta, hasMeta, r := m.metaVersion()
	if r != nil {
		return r
	}
	header, hasHeader := m.field("Mcp-Protocol-Version")
	inHeader, inMeta := ParseVersion(header), ParseVersion(meta)
	switch {
	case hasHeader && inHeader == 0:
		return m.unsupported(header)
	case inHeader.Modern():
		m.version = inHeader
		return m.checkModern(meta, hasMeta)
	case inMeta.Modern():
		return m.mismatch("the metadata names " + meta + ", the header does not")
	case hasMeta && inMeta == 0:
		return m.unsupported(meta)
	case hasHeader:
		m.version = inHeader
	}
	return nil
}

// metaVersion returns the revision that the metadata names.
func (m *Message) metaVersion() (version string, ok bool, r *Response) {
	raw := m.params.Get("_meta")
	if raw == nil {
		return "", false, nil
	}
	if m.meta, ok = jsonrpc.Members(raw); !ok {
		return "", false, m.invalidParams(http.StatusBadRequest, "_meta is not an object")
	}
	if twin := m.meta.Twin(metaVersion, metaCapabilities); twin != "" {
		return "", false, m.ambiguous("a _meta member differs from a known one by case only")
	}
	if m.meta.Find(metaVersion) == nil {
		return "", false, nil
	}
	if version, ok = m.meta.String(metaVersion); !ok {
		return "", false, m.invalidParams(http.StatusBadRequest, "the metadata names a revision that is no string")
	}
	return version, true, nil
}

func (m *Message) checkModern(meta string, hasMeta bool) *Response {
	switch {
	case hasMeta && meta != m.version.String():
		return m.mismatch("header and metadata name different revisions")
	case m.rpc.Kind != jsonrpc.Request:
		return nil
	case !hasMeta:
		return m.invalidParams(http.StatusBadRequest, "the metadata names no revision")
	case m.meta.Get(metaCapabilities).Kind() != '{':
		return m.invalidParams(http.StatusBadRequest, "the metadata has no client capabilities")
	}
	return nil
}

// unsupported refuses a revision we do not know, in the form from which clients fall back to one we do.
func (m *Message) unsupported(requested string) *Response {
	data := []byte(`{"supported":[`)
	for i, v := range versions[1:] {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, jsonrpc.Quote(v)...)
	}
	if !utf8.ValidString(requested) || len(requested) > 64 {
		requested = ""
	}
	data = append(append(append(data, `],"requested":`...), jsonrpc.Quote(requested)...), '}')
	return m.refuse(http.StatusBadRequest, codeUnsupportedVersion, call.UnsupportedVersion, "unknown protocol revision", data)
}
