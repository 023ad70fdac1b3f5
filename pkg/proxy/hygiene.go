package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
)

// refused is a head that will not be forwarded: the status for the peer, and why for the operator.
type refused struct {
	status int
	code   call.Code
	cause  string
}

func (r *refused) Error() string { return "proxy: " + r.cause }

func ambiguous(format string, args ...any) *refused {
	return &refused{400, call.Ambiguous, fmt.Sprintf(format, args...)}
}

// hopByHop fields speak to the next hop only (RFC 9110, section 7.6.1). Upgrade and TE have rules of their own below.
var hopByHop = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// assertsIdentity reports whether a field claims an identity that only the tunnel proves (contract ambient 5.2). Such fields
// are never forwarded from a caller, in any spelling: some servers read an underscore as a hyphen.
func assertsIdentity(name string) bool {
	const xfcc = "X-Forwarded-Client-Cert"
	return len(name) == len(xfcc) && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), xfcc)
}

// protected fields cannot be removed by naming them in Connection: policies and protocols rely on them.
func protected(name string) bool {
	switch name {
	case "Authorization", "Host", "Cookie", "Content-Type", "Content-Encoding", "Origin", "Accept", "Forwarded":
		return true
	}
	return strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "A2a-") || strings.HasPrefix(name, "X-Forwarded-") ||
		strings.HasPrefix(name, "X-Waymark-")
}

// clean turns a head as it came into the request as it will be sent, or refuses it. What a policy reads afterwards is what
// the backend receives.
func clean(h *head) (call.Request, *refused) {
	path, query, err := splitTarget(h)
	if err != nil {
		return call.Request{}, err
	}
	if countFields(h.Header) > maxHeaders {
		return call.Request{}, &refused{431, call.TooLarge, fmt.Sprintf("more than %d header fields", maxHeaders)}
	}
	out := make(http.Header, len(h.Header)+2)
	for k, v := range h.Header {
		if !assertsIdentity(k) {
			out[k] = v
		}
	}
	if err := dropConnectionFields(out, h.Header["Connection"]); err != nil {
		return call.Request{}, err
	}
	if h.Host == "" || strings.IndexByte(h.Host, '%') >= 0 { // net/http would send one of its own making, or take the zone off
		return call.Request{}, ambiguous("no host, or one with a zone")
	}
	delete(out, "Host") // an HTTP/2 request may carry it beside :authority
	return call.Request{Method: h.Method, Host: h.Host, Path: path, Query: query, Header: out}, nil
}

func dropConnectionFields(out http.Header, connection []string) *refused {
	for _, line := range connection {
		for name := range splitList(line) {
			if protected(name) {
				return ambiguous("the Connection header names %s", name)
			}
			delete(out, name)
		}
	}
	trailers := false
	for _, line := range out["Te"] {
		trailers = trailers || strings.Contains(strings.ToLower(line), "trailers")
	}
	for _, k := range hopByHop {
		delete(out, k)
	}
	if trailers { // gRPC needs it
		out["Te"] = []string{"trailers"}
	}
	return nil
}

func countFields(h http.Header) int {
	n := 0
	for _, v := range h {
		n += len(v)
	}
	return n
}

// splitTarget accepts the origin form, and "*" for OPTIONS. Every spelling of a path that a backend could resolve to
// another path than the one a policy reads is refused; all others are forwarded byte for byte.
func splitTarget(h *head) (path, query string, r *refused) {
	if h.Target == "*" && h.Method == http.MethodOptions {
		return "*", "", nil
	}
	path, query, _ = strings.Cut(h.Target, "?")
	if !strings.HasPrefix(path, "/") {
		return "", "", ambiguous("the request target is not in origin form")
	}
	for i := range len(h.Target) {
		switch c := h.Target[i]; {
		case c <= ' ' || c >= 0x7f:
			return "", "", ambiguous("byte %#02x in the request target", c)
		case c == '#':
			return "", "", ambiguous("a fragment in the request target")
		}
	}
	return path, query, checkPath(path)
}

func checkPath(path string) *refused {
	if strings.IndexByte(path, '\\') >= 0 {
		return ambiguous("a backslash in the path")
	}
	if strings.HasPrefix(path, "//") && target("", path, "").EscapedPath() != path {
		return ambiguous("a byte in a path with two leading slashes that cannot be sent as it came")
	}
	decoded := path
	if strings.IndexByte(path, '%') >= 0 {
		var r *refused
		if decoded, r = decodeOnce(path); r != nil {
			return r
		}
	}
	for seg := range strings.SplitSeq(decoded, "/") {
		seg, _, _ = strings.Cut(seg, ";") // some servers take ";x" off a segment before they look at its dots
		if seg == "." || seg == ".." {
			return ambiguous("a dot segment in the path")
		}
	}
	return nil
}

// decodeOnce decodes the escapes of a path and refuses those that change where segments begin and end in some servers.
func decodeOnce(path string) (string, *refused) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
			return "", ambiguous("a malformed percent-escape in the path")
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		switch {
		case c == '\\':
			return "", ambiguous("an escaped backslash in the path")
		case c < ' ' || c == 0x7f:
			return "", ambiguous("an escaped control byte in the path")
		case c == '%' && i+4 < len(path) && isHex(path[i+3]) && isHex(path[i+4]):
			return "", ambiguous("a doubly escaped byte in the path")
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), nil
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
