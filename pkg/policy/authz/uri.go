package authz

import "strings"

// ambiguousURI says why a resource URI could be read in two ways, or returns "". A prefix or suffix is only compared with
// a URI in its one normal form (RFC 3986 section 6.2.2; contract mcp-a2a section 5 and 13.65): otherwise
// file:///logs/../etc/shadow begins like a log, and file:///%73ecret does not begin like the secret it is.
func ambiguousURI(uri string) string {
	for i := range len(uri) {
		switch c := uri[i]; {
		case c <= 0x20 || c == 0x7f:
			return "it holds a control byte or a space"
		case c == '\\':
			return "it holds a backslash"
		}
	}
	scheme, rest := splitScheme(uri)
	if scheme != strings.ToLower(scheme) {
		return "its scheme is not in lower case"
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		authority, path := after, ""
		if i := strings.IndexByte(after, '/'); i >= 0 {
			authority, path = after[:i], after[i:]
		}
		if strings.ContainsAny(authority, "@%") || authority != strings.ToLower(authority) {
			return "its authority has user information, an escape or upper case letters"
		}
		rest = path
	}
	return ambiguousPath(rest)
}

func splitScheme(uri string) (scheme, rest string) {
	i := strings.IndexAny(uri, ":/?#")
	if i <= 0 || uri[i] != ':' {
		return "", uri
	}
	return uri[:i], uri[i+1:]
}

func ambiguousPath(path string) string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		switch {
		case s == "." || s == "..":
			return "its path has a dot segment"
		case s == "" && i < len(segments)-1:
			return "its path has an empty segment"
		}
	}
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		if i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
			return "its path has a broken escape"
		}
		if c := byte(hex(path[i+1])<<4 | hex(path[i+2])); c == 0 || strings.IndexByte(`/\%`, c) >= 0 || unreserved(c) {
			return "its path escapes a character that changes its meaning"
		}
	}
	return ""
}

// unreserved characters mean the same with and without an escape (RFC 3986 section 2.3); the dot is one of them.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
