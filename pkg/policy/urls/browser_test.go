package urls_test

import (
	"net/url"
	"strings"
)

// reading is how somebody understands a URL that leads into the web. Host is "" for an address, and for what nobody
// could follow.
type reading struct{ scheme, host, port string }

// asABrowser reads a URL as WHATWG URL describes it, with everything that browsers forgive; ok says that it leads into
// the web. It is an oracle: a host that a browser would refuse comes out as it stands.
func asABrowser(s string) (r reading, ok bool) {
	s = strings.TrimFunc(s, func(c rune) bool { return c <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	scheme, rest, found := strings.Cut(s, ":")
	r.scheme = asciiLower(scheme)
	if !found || r.scheme != "http" && r.scheme != "https" {
		return reading{}, false
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.HasPrefix(rest, "[") {
		return r, true
	}
	host, port, _ := strings.Cut(rest, ":")
	r.host, r.port = asciiLower(unescaped(host)), strings.TrimLeft(port, "0")
	last := r.host[strings.LastIndexByte(strings.TrimSuffix(r.host, "."), '.')+1:]
	if isNumber(strings.TrimSuffix(last, ".")) {
		r.host = ""
	}
	if r.port == "" || r.scheme == "https" && r.port == "443" || r.scheme == "http" && r.port == "80" {
		r.port = ""
	}
	return r, true
}

// asNetURL reads a URL as Go programs do.
func asNetURL(s string) (r reading, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return reading{}, false
	}
	r = reading{u.Scheme, asciiLower(u.Hostname()), u.Port()}
	if r.scheme == "https" && r.port == "443" || r.scheme == "http" && r.port == "80" {
		r.port = ""
	}
	return r, true
}

// unescaped decodes what follows a percent sign, and leaves what is no escape.
func unescaped(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return s != "" && strings.Trim(s, "0123456789") == ""
}
