package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/policy"
)

// assumed reads the claims of a token that counts as verified; nil if there are none.
func (q *question) assumed() (*policy.Caller, error) {
	if q.Claims == nil {
		return nil, nil
	}
	var said struct {
		Issuer   string         `json:"iss"`
		Subject  string         `json:"sub"`
		Audience jsontext.Value `json:"aud"`
		IssuedAt int64          `json:"iat"`
		Rest     jsontext.Value `json:",unknown"`
	}
	if err := json.Unmarshal(q.Claims, &said); err != nil {
		return nil, errors.New("must be a JSON object of claims, in which iss and sub are strings and iat is seconds since 1970")
	}
	c := &identity.Claims{Issuer: said.Issuer, Subject: said.Subject, Raw: q.Claims}
	if said.IssuedAt != 0 {
		c.IssuedAt = time.Unix(said.IssuedAt, 0)
	}
	switch said.Audience.Kind() {
	case jsontext.KindInvalid:
	case jsontext.KindString:
		c.Audience = make([]string, 1)
		if err := json.Unmarshal(said.Audience, &c.Audience[0]); err != nil {
			return nil, errors.New("aud cannot be read")
		}
	default:
		if err := json.Unmarshal(said.Audience, &c.Audience); err != nil {
			return nil, errors.New("aud must be a string or a list of strings")
		}
	}
	if err := chain.Read(c); err != nil {
		return nil, err
	}
	return &policy.Caller{Claims: c, Chain: chain.Hops(c)}, nil
}

// carry puts a token in the call that stands for the claims.
func (q *question) carry() error {
	if q.Claims == nil {
		return nil
	}
	for name := range q.Headers {
		if policy.SameField(name, "Authorization") {
			return fmt.Errorf("--claims stands for a token, and the header %s has one", name)
		}
	}
	return q.addHeader("Authorization=Bearer assumed")
}
