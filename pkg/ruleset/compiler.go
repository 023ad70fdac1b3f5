package ruleset

import (
	"fmt"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

// compiler makes stages of one object, and collects what is wrong with it.
type compiler struct {
	kind            string // of ours; "" is one that refers to nothing
	namespace, name string
	refs            *References
	with            *Authorities
	deps            *Deps
	problems        []Problem
}

// Problem is what is wrong with a field of an object.
type Problem struct{ Field, Text string }

func (p Problem) String() string { return p.Field + ": " + p.Text }

func (c *compiler) add(field, format string, args ...any) {
	c.problems = append(c.problems, Problem{field, fmt.Sprintf(format, args...)})
}

// duration reads a length of time within bounds.
func (c *compiler) duration(field string, d v1alpha1.Duration, unset, least, most time.Duration) time.Duration {
	if d == "" {
		return unset
	}
	v, err := time.ParseDuration(string(d))
	if err != nil || strings.ContainsAny(string(d), ".+-nuµ") || v < least || v > most {
		c.add(field, "must be a length of time from %s to %s, such as 30s", least, most)
		return unset
	}
	return v
}

// oneOf reports whether a value is one of a list, "" being the first.
func (c *compiler) oneOf(field, value string, list ...string) string {
	if value == "" {
		return list[0]
	}
	for _, v := range list {
		if v == value {
			return value
		}
	}
	c.add(field, "must be one of %s, got %q", strings.Join(list, ", "), value)
	return list[0]
}

// patterns compiles string matches; each of them alone is enough.
func (c *compiler) patterns(field string, list []v1alpha1.StringMatch) func(string) bool {
	var tests []func(string) bool
	for i, m := range list {
		t, why := matcher(string(m))
		if why != "" {
			c.add(fmt.Sprintf("%s[%d]", field, i), "%s", why)
			continue
		}
		tests = append(tests, t)
	}
	return func(s string) bool {
		for _, t := range tests {
			if t(s) {
				return true
			}
		}
		return false
	}
}

// matcher is Istio's string match: exact, "prefix*", "*suffix", and "*" for anything that is not empty.
func matcher(m string) (func(string) bool, string) {
	switch i := strings.IndexByte(m, '*'); {
	case m == "":
		return nil, "must not be empty"
	case i < 0:
		return func(s string) bool { return s == m }, ""
	case m == "*":
		return func(s string) bool { return s != "" }, ""
	case strings.Count(m, "*") > 1 || i > 0 && i < len(m)-1:
		return nil, `"*" may stand only once, at the beginning or at the end`
	case i == 0:
		return func(s string) bool { return strings.HasSuffix(s, m[1:]) }, ""
	}
	return func(s string) bool { return strings.HasPrefix(s, m[:len(m)-1]) }, ""
}

// claimPath splits a path at its dots (see v1alpha1.ClaimPath).
func (c *compiler) claimPath(field string, p v1alpha1.ClaimPath) []string {
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
