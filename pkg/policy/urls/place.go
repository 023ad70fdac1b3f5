package urls

import (
	"strconv"
	"strings"
	"unicode"
)

// place is where a URL leads. Every field is in the one spelling that it has, so that places can be compared.
type place struct {
	scheme string // "https" or "http"
	host   string // a DNS name in lower case
	port   uint16
}

// String is what a browser calls the origin. It is at most as long as a DNS name can be and some.
func (p place) String() string {
	if p.port == portOf(p.scheme) {
		return p.scheme + "://" + p.host
	}
	return p.scheme + "://" + p.host + ":" + strconv.Itoa(int(p.port))
}

func portOf(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// parse reads where a URL leads, or says why nobody should follow it. What it accepts has one reading: browsers forgive
// a missing slash, take "\" for "/" and skip line ends, which other readers do not.
func parse(url string) (p place, why string) {
	if why := forbidden(url); why != "" {
		return place{}, why
	}
	scheme, rest, ok := strings.Cut(url, ":")
	p.scheme = strings.ToLower(scheme)
	if !ok || p.scheme != "https" && p.scheme != "http" {
		return place{}, "its scheme is neither https nor http"
	}
	rest, ok = strings.CutPrefix(rest, "//")
	if !ok {
		return place{}, "two slashes have to follow its scheme"
	}
	if before, _, _ := strings.Cut(rest, "/"); strings.Contains(before, "@") {
		return place{}, "it has user information" // or some reader thinks so, if a ? or # stands before it
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return p.at(rest)
}

// at completes a place with a host and an optional port.
func (p place) at(authority string) (place, string) {
	host, port, given := strings.Cut(authority, ":")
	p.host, p.port = strings.ToLower(host), portOf(p.scheme)
	if strings.HasPrefix(authority, "[") {
		return place{}, "its host is an IP address"
	}
	if why := checkHost(p.host); why != "" {
		return place{}, why
	}
	if n, ok := parsePort(port); ok {
		p.port = n
	} else if given {
		return place{}, "its port is not a number from 1 to 65535"
	}
	return p, ""
}

// forbidden finds characters that no URI has (RFC 3986, section 2), of those that readers treat differently or that
// make a URL look like another one: blanks, controls, backslashes and everything that is not ASCII.
func forbidden(url string) string {
	for i := range len(url) {
		switch c := url[i]; {
		case c <= ' ' || c == 0x7f:
			return "it has a blank or a control character"
		case c == '\\':
			return "it has a backslash"
		case c > 0x7f:
			return "it has a character that is not ASCII"
		case c == '%' && !escape(url[i:]):
			return "it has a percent sign that begins no escape"
		}
	}
	return ""
}

// escape reports whether s begins with a percent sign and two hexadecimal digits.
func escape(s string) bool {
	return len(s) > 2 && strings.Trim(s[1:3], "0123456789abcdefABCDEF") == ""
}

const (
	maxHost  = 253 // bytes of a DNS name (RFC 1035, section 2.3.4)
	maxLabel = 63
)

// checkHost says why a host in lower case is no DNS name that can be shown.
func checkHost(host string) string {
	if host == "" {
		return "it has no host"
	}
	if len(host) > maxHost {
		return "its host is too long for a DNS name"
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return "its host is not a DNS name of letters, digits and hyphens"
		}
	}
	if numeric(host[strings.LastIndexByte(host, '.')+1:]) {
		return "its host is an IP address"
	}
	return ""
}

func validLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// numeric reports whether a last label makes browsers read the host as an IPv4 address: digits, or 0x and hexadecimal
// digits (WHATWG URL, "ends in a number"). That covers short, octal, hexadecimal and single-number notations.
func numeric(label string) bool {
	digits, set := label, "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		digits, set = hex, "0123456789abcdef"
	}
	return strings.Trim(digits, set) == ""
}

// international reports whether a host stands for one in another script (RFC 5891), which may look like any other.
func international(host string) bool {
	return strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--")
}

// parsePort reads a port without sign or leading zeros.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == s && n != 0
}

// onTheWeb reports whether some reader could take a link for one into the web. Browsers skip blanks and controls around
// a URL and within its scheme, and complete a link that starts with two slashes; whoever is not strict counts here.
func onTheWeb(uri string) bool {
	bare := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		case r == '\\':
			return '/'
		}
		return r
	}, uri)
	scheme, _, ok := strings.Cut(bare, ":")
	return ok && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http")) || strings.HasPrefix(bare, "//")
}
