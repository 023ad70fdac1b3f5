package rights

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

// Rights are what a token allows, and until when.
type Rights struct {
	Scope    []string
	Details  Details
	NotAfter time.Time // zero is no end
}

// Of returns the rights of a verified token.
func Of(c *identity.Claims) (Rights, error) {
	d, err := ParseDetails(c.Details)
	return Rights{c.Scope, d, c.Expiry}, err
}

// Errors of comparisons wrap one of them.
var (
	ErrScope   = errors.New("scope")
	ErrDetails = errors.New("authorization_details")
	ErrTime    = errors.New("lifetime")
)

// Within returns nil if r is no more than each of the parents, and else what is more.
func (r Rights) Within(parents ...Rights) error {
	for _, p := range parents {
		for _, s := range r.Scope {
			if !slices.Contains(p.Scope, s) {
				return fmt.Errorf("%w: %q is more than what was shown", ErrScope, s)
			}
		}
		if err := r.Details.Within(p.Details); err != nil {
			return err
		}
		if !p.NotAfter.IsZero() && (r.NotAfter.IsZero() || r.NotAfter.After(p.NotAfter)) {
			return fmt.Errorf("%w: longer than what was shown", ErrTime)
		}
	}
	return nil
}

// Narrow returns what was asked for, if it is within the parents. Of nothing asked for, everything is given that all parents have;
// the lifetime is the least of all.
func Narrow(asked Rights, parents ...Rights) (Rights, error) {
	if len(parents) == 0 {
		return Rights{}, errors.New("rights: nothing to narrow")
	}
	out := asked
	if asked.Scope == nil {
		out.Scope = common(parents)
	}
	if asked.Details == nil {
		out.Details = covered(parents)
	}
	for _, p := range parents {
		if !p.NotAfter.IsZero() && (out.NotAfter.IsZero() || p.NotAfter.Before(out.NotAfter)) {
			out.NotAfter = p.NotAfter
		}
	}
	return out, out.Within(parents...)
}

func common(parents []Rights) []string {
	var out []string
	for _, s := range parents[0].Scope {
		if !slices.ContainsFunc(parents[1:], func(p Rights) bool { return !slices.Contains(p.Scope, s) }) {
			out = append(out, s)
		}
	}
	return out
}

// covered are the details of the first parent that each other one covers.
func covered(parents []Rights) Details {
	var out Details
	for _, d := range parents[0].Details {
		if !slices.ContainsFunc(parents[1:], func(p Rights) bool { return Details{d}.Within(p.Details) != nil }) {
			out = append(out, d)
		}
	}
	return out
}
