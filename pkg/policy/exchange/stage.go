package exchange

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// Options say what is traded, and what becomes of a call that has nothing to trade or gets nothing for it.
type Options struct {
	Policy    string     // namespace/name
	Trade     Trade      // required
	Locations []Location // where the caller's token can be; Authorization: Bearer is always one of them

	Header, Prefix string // where the new token is put; "" is Authorization: Bearer

	ForwardMissing bool // a call without a token goes on as it is
	ForwardFailed  bool // a call whose exchange fails goes on without any token
}

// Trade returns the token for a destination. Its errors are a *Refusal, and anything else counts as one with
// call.UpstreamUnavailable.
type Trade func(ctx context.Context, token string, claims *identity.Claims, caller identity.ID) (string, error)

// Refusal is why there is no token.
type Refusal struct {
	Code   call.Code
	Reason string // for the operator
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Reason }

// Location is a place where a caller's token can be.
type Location struct{ Header, Prefix, Cookie string }

// Stage trades tokens.
type Stage struct {
	o      Options
	remove []policy.HeaderEdit
}

// New returns a stage.
func New(o Options) (*Stage, error) {
	if o.Trade == nil {
		return nil, errors.New("exchange: nothing to trade with")
	}
	if o.Header == "" {
		o.Header, o.Prefix = "Authorization", "Bearer "
	}
	o.Locations = append([]Location{{Header: "Authorization", Prefix: "Bearer "}}, o.Locations...) // no longer the caller's slice
	s := &Stage{o: o, remove: []policy.HeaderEdit{{Name: o.Header, Remove: true}}}
	for _, l := range o.Locations {
		e := policy.HeaderEdit{Name: l.Header, Remove: true}
		if l.Cookie != "" {
			e = policy.HeaderEdit{Name: "Cookie", Remove: true, Cookie: l.Cookie}
		}
		s.remove = append(s.remove, e)
	}
	return s, nil
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "exchange" }

// Inspect implements policy.Stage. A raw connection has nowhere to put a token, and what a server asks of its client has none.
func (s *Stage) Inspect(ctx context.Context, c *call.Call) (policy.Verdict, error) {
	if c.Direction == call.ToClient {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	token := s.find(c.HTTP.Header)
	if token == "" {
		if s.o.ForwardMissing {
			return policy.Verdict{Action: policy.Pass, Policy: s.o.Policy, Reason: "there is no token to trade", Headers: s.remove}, nil
		}
		return s.refuse(call.Unauthenticated, "there is no token to trade"), nil
	}
	traded, err := s.o.Trade(ctx, token, c.Claims, c.Principal)
	if err == nil && (traded == "" || traded == token) {
		err = &Refusal{call.UpstreamUnavailable, "the exchange gave no new token"}
	}
	if err != nil {
		return s.failed(err), nil
	}
	return policy.Verdict{
		Action: policy.Pass, Policy: s.o.Policy,
		Headers: append(s.remove[:len(s.remove):len(s.remove)], policy.HeaderEdit{Name: s.o.Header, Remove: true, Value: s.o.Prefix + traded}),
	}, nil
}

func (s *Stage) failed(err error) policy.Verdict {
	r, ok := err.(*Refusal) //nolint:errorlint // the contract of Trade
	if !ok {
		r = &Refusal{call.UpstreamUnavailable, err.Error()}
	}
	if s.o.ForwardFailed {
		return policy.Verdict{
			Action: policy.Pass, Policy: s.o.Policy, Headers: s.remove, Reason: "the exchange failed, and the call goes on without a token",
			Notes: []policy.Note{{Kind: "error", Policy: s.o.Policy, Text: r.Error()}},
		}
	}
	return s.refuse(r.Code, "no token for the destination: "+r.Reason)
}

func (s *Stage) refuse(code call.Code, reason string) policy.Verdict {
	return policy.Verdict{Action: policy.Deny, Code: code, Policy: s.o.Policy, Reason: reason}
}

// find returns the first token there is. Which one that is was judged before: a call with two does not get here.
func (s *Stage) find(h http.Header) string {
	for _, l := range s.o.Locations {
		if token := l.in(h); token != "" {
			return token
		}
	}
	return ""
}

func (l Location) in(h http.Header) string {
	if l.Cookie == "" {
		for _, line := range h[http.CanonicalHeaderKey(l.Header)] {
			if len(line) > len(l.Prefix) && strings.EqualFold(line[:len(l.Prefix)], l.Prefix) {
				return strings.Trim(line[len(l.Prefix):], " \t")
			}
		}
		return ""
	}
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if n, value, _ := strings.Cut(strings.TrimSpace(pair), "="); n == l.Cookie {
				return value
			}
		}
	}
	return ""
}
