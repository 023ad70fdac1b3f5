package chain

import (
	"fmt"
	"strings"
	"time"

	"encoding/json/jsontext"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

type compiler struct{ problems []string }

func (c *compiler) add(field, format string, args ...any) {
	c.problems = append(c.problems, field+": "+fmt.Sprintf(format, args...))
}

func (c *compiler) matches(field string, list []v1alpha1.StringMatch) matches {
	var out matches
	for i, m := range list {
		s := string(m)
		at := strings.IndexByte(s, '*')
		switch {
		case s == "":
			c.add(fmt.Sprintf("%s[%d]", field, i), "must not be empty")
			continue
		case at >= 0 && s != "*" && (strings.Count(s, "*") > 1 || at > 0 && at < len(s)-1):
			c.add(fmt.Sprintf("%s[%d]", field, i), `"*" may stand only once, at the beginning or at the end`)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (c *compiler) age(d v1alpha1.Duration) time.Duration {
	if d == "" {
		return 0
	}
	v, err := time.ParseDuration(string(d))
	if err != nil || v < time.Second || v > 24*time.Hour {
		c.add("maxAge", "must be a length of time from 1s to 24h")
	}
	return v
}

// path splits a claim path at its dots (see v1alpha1.ClaimPath).
func (c *compiler) path(field string, p v1alpha1.ClaimPath) []string {
	var names []string
	var name strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\' && i+1 < len(p) && (p[i+1] == '.' || p[i+1] == '\\'):
			i++
			name.WriteByte(p[i])
		case p[i] == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(p[i])
		}
	}
	names = append(names, name.String())
	for _, n := range names {
		if n == "" {
			c.add(field, "must be names with single dots between them")
			break
		}
	}
	return names
}

// Has reports whether a claim, or one member of it if it is a list, satisfies match. Numbers and booleans are shown to it as they
// are written.
func Has(raw jsontext.Value, path []string, match func(string) bool) bool {
	for _, name := range path {
		members, err := object("claim", raw, nil)
		if err != nil || members[name] == nil {
			return false
		}
		raw = members[name]
	}
	if raw.Kind() != jsontext.KindBeginArray {
		s, ok := scalar(raw)
		return ok && match(s)
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(raw)))
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		v, err := dec.ReadValue()
		if err != nil {
			return false
		}
		if s, ok := scalar(v); ok && match(s) {
			return true
		}
	}
	return false
}

func scalar(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case jsontext.KindString:
		b, err := jsontext.AppendUnquote(nil, v)
		return string(b), err == nil
	case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		return string(v), true
	}
	return "", false
}
