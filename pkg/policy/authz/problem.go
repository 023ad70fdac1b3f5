package authz

import "fmt"

// Problem is one reason why a policy cannot be used.
type Problem struct {
	Field string // path of the field, for example spec.rules[0].when[1].cel
	Text  string // what is wrong with it; for CEL with line:column in front
}

func (p Problem) String() string { return p.Field + ": " + p.Text }

// problems collects everything that is wrong with one policy.
type problems []Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
}

// Limits of one policy; the kind's schema has the same.
const (
	maxRules      = 512
	maxEntries    = 512 // of any list that has no limit of its own
	maxTargets    = 16
	maxAccounts   = 16
	maxPorts      = 64
	maxConditions = 64
	maxArguments  = 64
	maxValue      = 4096 // bytes
)

// count checks how many entries a list has. One that is there but empty is refused: a template that lost its values must
// not turn "these" into "any".
func (p *problems) count(field string, there bool, n, limit int) {
	if there && n == 0 {
		p.add(field, "must not be empty; leave the field out to match anything")
	}
	if n > limit {
		p.add(field, "has %d entries, over the limit of %d", n, limit)
	}
}

// strings checks a list of string matches and compiles it.
func (p *problems) strings(field string, values []string) *patterns {
	return newPatterns(p.list(field, values, maxEntries, checkPattern))
}

// list checks every value of a list.
func (p *problems) list(field string, values []string, limit int, check func(string) string) []string {
	p.count(field, values != nil, len(values), limit)
	for i, v := range values {
		at := fmt.Sprintf("%s[%d]", field, i)
		if why := check(v); len(v) > maxValue {
			p.add(at, "is longer than %d bytes", maxValue)
		} else if why != "" {
			p.add(at, "%s, got %q", why, v)
		}
	}
	return values
}
