package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one reason why a directory cannot be used.
type Problem struct {
	File   string `json:"file"`             // name inside the directory; "" for the directory as a whole
	Line   int    `json:"line,omitzero"`    // from 1; 0 if it concerns the whole file
	Column int    `json:"column,omitzero"`  // from 1
	Object string `json:"object,omitempty"` // for example AgentAuthorizationPolicy bank/tellers
	Field  string `json:"field,omitempty"`  // for example spec.rules[0].when[1].cel
	Text   string `json:"text"`
}

// String renders file:line:column: object: field: text, leaving out what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(clip(p.File) + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	for _, s := range []string{p.Object, p.Field} {
		if s != "" {
			b.WriteString(s + ": ")
		}
	}
	return b.String() + p.Text
}

// Problems is everything that is wrong with a directory, in the order of the files. It is an error when it is not empty.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// cover reports whether something was said about a field, or what it is part of, already.
func (p Problems) cover(field string) bool {
	return slices.ContainsFunc(p, func(q Problem) bool { return q.Field == field || strings.HasPrefix(field, q.Field+".") })
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
