package authn

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// Location is a place in a request where a token can be: a header field after a prefix, or a cookie.
type Location struct {
	Header string
	Prefix string // with its space; compared without regard to case, as an authentication scheme is (RFC 9110 section 11.1)
	Cookie string
}

// Bearer is where RFC 6750 section 2.1 has it.
func Bearer() Location { return Location{Header: "Authorization", Prefix: "Bearer "} }

// found is a token and where it is.
type found struct {
	text string
	at   Location
}

// find returns the one token of a call. Two are refused, be they equal: nobody knows which one a server reads.
func (p *Policy) find(c *call.Call) (found, *Refusal) {
	var token found
	for _, at := range p.Locations {
		texts, refusal := at.in(c.HTTP.Header)
		if refusal != nil {
			return found{}, refusal
		}
		for _, text := range texts {
			if token.text != "" {
				return found{}, &Refusal{call.Ambiguous, fmt.Sprintf("a token in %s and another one in %s", token.at, at)}
			}
			token = found{text, at}
		}
	}
	return token, nil
}

func (at Location) String() string {
	if at.Cookie != "" {
		return "the cookie " + at.Cookie
	}
	return "the header " + at.Header
}

func (at Location) in(h http.Header) ([]string, *Refusal) {
	if at.Cookie != "" {
		return cookies(h, at.Cookie)
	}
	name := textproto.CanonicalMIMEHeaderKey(at.Header)
	for other := range h {
		if other != name && policy.SameField(other, name) {
			return nil, &Refusal{call.Ambiguous, fmt.Sprintf("the header %s is there in another spelling", at.Header)}
		}
	}
	var texts []string
	for _, line := range h[name] {
		text, ok := cutPrefixFold(line, at.Prefix)
		if !ok {
			if len(h[name]) > 1 {
				return nil, &Refusal{call.Ambiguous, fmt.Sprintf("the header %s is there more than once", at.Header)}
			}
			continue
		}
		if text = strings.Trim(text, " \t"); text == "" {
			return nil, &Refusal{call.TokenInvalid, fmt.Sprintf("the header %s has an empty token", at.Header)}
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func cookies(h http.Header, name string) ([]string, *Refusal) {
	var texts []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch {
			case n == name && value != "":
				texts = append(texts, value)
			case n == name:
				return nil, &Refusal{call.TokenInvalid, fmt.Sprintf("the cookie %s is empty", name)}
			case strings.EqualFold(n, name):
				return nil, &Refusal{call.Ambiguous, fmt.Sprintf("the cookie %s is there in another spelling", name)}
			}
		}
	}
	return texts, nil
}
