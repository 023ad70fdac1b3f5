package authn

import (
	"context"
	"fmt"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// Options say what is asked of tokens.
type Options struct {
	Policies []Policy         // each has to be satisfied; at least one
	Now      func() time.Time // nil means time.Now
}

// Policy is what one object asks.
type Policy struct {
	Name string // namespace/name
	Mode v1alpha1.AuthenticationMode

	Locations []Location // where a token is looked for; none means Authorization: Bearer
	Verify    Verify     // required
	Chain     Chain      // nil: any chain, or none

	Effect   Effect            // of a good token
	ByIssuer map[string]Effect // instead, of a token of that issuer
	Remove   []string          // header fields that go no further, besides those of SelfAsserted
	Metadata *Metadata         // nil: the service speaks for itself
}

// Effect is what becomes of a good token on the way to the destination.
type Effect struct {
	Strip   bool          // it goes no further
	Headers []ClaimHeader // claims that go on as header fields
	Payload string        // a header field for the whole claims object, base64url; "" for none (Istio's outputPayloadToHeader)
}

// Verify returns the claims of a good token and the chain that it proves. Its errors are a *Refusal if the token, or what is
// known of it, is at fault, and anything else counts as one with call.PolicyError.
type Verify func(ctx context.Context, c *call.Call, token string) (*policy.Caller, error)

// Chain checks what a token says of its actors against the workload that holds the connection. nil means that all is well.
type Chain func(c *call.Call, claims *identity.Claims, now time.Time) *Refusal

// Refusal is why a token is not good enough.
type Refusal struct {
	Code   call.Code
	Reason string // for the operator
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Reason }

// ClaimHeader sends a claim on as a header field.
type ClaimHeader struct {
	Claim  []string // the path of the claim
	Header string
}

// Stage authenticates calls.
type Stage struct {
	policies []Policy
	removed  []policy.HeaderEdit // of all policies: what a caller must not say itself
	now      func() time.Time
}

// New returns a stage, or what is wrong with its options.
func New(o Options) (*Stage, error) {
	if len(o.Policies) == 0 {
		return nil, fmt.Errorf("authn: no policies")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Stage{policies: o.Policies, now: o.Now}
	for i := range s.policies {
		p := &s.policies[i]
		if p.Verify == nil {
			return nil, fmt.Errorf("authn: %s: nothing verifies tokens", p.Name)
		}
		if len(p.Locations) == 0 {
			p.Locations = []Location{Bearer()}
		}
		if p.Mode == "" {
			p.Mode = v1alpha1.AuthenticationStrict
		}
	}
	s.removed = s.edits()
	return s, nil
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "authn" }

// Inspect implements policy.Stage. What a server asks of its client is part of the client's exchange, which was authenticated
// when it began.
func (s *Stage) Inspect(ctx context.Context, c *call.Call) (policy.Verdict, error) {
	if c.Direction == call.ToClient || discovers(c) {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	v := policy.Verdict{Action: policy.Pass, Headers: s.removed}
	now := s.now()
	for i := range s.policies {
		p := &s.policies[i]
		caller, token, refusal := p.authenticate(ctx, c, now)
		if refusal != nil {
			if p.Mode == v1alpha1.AuthenticationPermissive && refusal.Code != call.Ambiguous {
				v.Notes = append(v.Notes, policy.Note{Kind: "audit", Policy: p.Name, Text: "counts as no token: " + refusal.Error()})
				continue
			}
			return p.refuse(c, refusal), nil
		}
		if caller == nil {
			continue
		}
		if v.Caller == nil {
			v.Caller, v.Policy = caller, p.Name
		} else if v.Caller.Claims != caller.Claims && string(v.Caller.Claims.Raw) != string(caller.Claims.Raw) {
			return p.refuse(c, &Refusal{call.Ambiguous, "another policy finds another token in the call"}), nil
		}
		v.Headers = p.express(v.Headers, caller.Claims, token)
	}
	return v, nil
}

// authenticate returns nobody if there is no token and none is needed.
func (p *Policy) authenticate(ctx context.Context, c *call.Call, now time.Time) (*policy.Caller, found, *Refusal) {
	token, refusal := p.find(c)
	switch {
	case refusal != nil:
		return nil, token, refusal
	case token.text == "" && p.Mode == v1alpha1.AuthenticationStrict:
		return nil, token, &Refusal{call.Unauthenticated, "the call has no token"}
	case token.text == "":
		return nil, token, nil
	}
	caller, err := p.Verify(ctx, c, token.text)
	if err != nil {
		return nil, token, refusalOf(err)
	}
	if caller == nil || caller.Claims == nil {
		return nil, token, &Refusal{call.PolicyError, "the token was verified, but nobody says whose it is"}
	}
	if p.Chain != nil {
		if refusal := p.Chain(c, caller.Claims, now); refusal != nil {
			return nil, token, refusal
		}
	}
	return caller, token, nil
}

func refusalOf(err error) *Refusal {
	if r, ok := err.(*Refusal); ok { //nolint:errorlint // the contract of Verify
		return r
	}
	return &Refusal{call.PolicyError, err.Error()}
}

func (p *Policy) refuse(c *call.Call, r *Refusal) policy.Verdict {
	return policy.Verdict{
		Action: policy.Deny, Code: r.Code, Policy: p.Name, Reason: r.Reason, Challenge: p.Metadata.challenge(c, r.Code, nil),
	}
}
