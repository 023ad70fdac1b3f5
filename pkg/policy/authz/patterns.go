package authz

import "strings"

// patterns is a set of Istio string matches: exact, "prefix*", "*suffix", and "*" for anything that is not empty.
type patterns struct {
	exact    map[string]struct{}
	prefixes []string
	suffixes []string
	present  bool
}

// newPatterns compiles values, which are checked already (see checkPattern). It returns nil for a field that is absent.
func newPatterns(values []string) *patterns {
	if values == nil {
		return nil
	}
	p := &patterns{exact: make(map[string]struct{})}
	for _, v := range values {
		switch {
		case v == "*":
			p.present = true
		case strings.HasPrefix(v, "*"):
			p.suffixes = append(p.suffixes, v[1:])
		case strings.HasSuffix(v, "*"):
			p.prefixes = append(p.prefixes, v[:len(v)-1])
		default:
			p.exact[v] = struct{}{}
		}
	}
	return p
}

// match reports whether s is in the set. What is absent is the empty string, and only an exact "" matches that.
func (p *patterns) match(s string) bool {
	if p.present && s != "" {
		return true
	}
	if _, ok := p.exact[s]; ok {
		return true
	}
	for _, prefix := range p.prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	for _, suffix := range p.suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// partial reports whether the set holds a prefix or a suffix.
func (p *patterns) partial() bool { return p != nil && len(p.prefixes)+len(p.suffixes) > 0 }

// finite reports whether the set is a list of exact values.
func (p *patterns) finite() bool { return p != nil && !p.present && !p.partial() }

// within reports whether s satisfies a field and its opposite; either may be absent (nil).
func within(s string, positive, negative *patterns) bool {
	return (positive == nil || positive.match(s)) && (negative == nil || !negative.match(s))
}

// checkPattern returns why v is not a string match, or "". A star inside is refused because Istio would silently compare
// it literally, which is never what its author meant.
func checkPattern(v string) string {
	switch {
	case v == "":
		return "must not be empty"
	case v == "*":
		return ""
	}
	if i := strings.IndexByte(v, '*'); i >= 0 && strings.Count(v, "*") == 1 && (i == 0 || i == len(v)-1) {
		return ""
	} else if i < 0 {
		return ""
	}
	return `"*" may stand only once, at the beginning or at the end`
}
