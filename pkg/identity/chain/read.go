package chain

import (
	"bytes"
	"encoding/base64"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/identity"
)

// Limits of what is read.
const (
	MaxDepth   = 16  // actors
	maxSubject = 512 // bytes of the subject or issuer of an actor
	maxScopes  = 256
	maxScope   = 256 // bytes
)

// DigestClaim is where a token service signs the digest of the whole chain, see Digest.
const DigestClaim = "chain_sha256"

// Names with a meaning. One that differs from them by case only is refused: a reader that folds case would see another token.
func claimNames() []string {
	return []string{"iss", "sub", "act", "may_act", "scope", "txn", "cnf", "authorization_details", DigestClaim}
}

func actorNames() []string { return []string{"iss", "sub", "act", "client_id"} }

// Read fills c.Delegation from c.Raw. Errors are one sentence for the operator, without values.
func Read(c *identity.Claims) error {
	members, err := object("claims", c.Raw, claimNames())
	if err != nil {
		return err
	}
	d := identity.Delegation{Details: members["authorization_details"]}
	if k := d.Details.Kind(); d.Details != nil && k != jsontext.KindBeginArray {
		return errors.New("claims: authorization_details is no list")
	}
	if d.Scope, err = scopes(members["scope"]); err != nil {
		return err
	}
	if v := members["txn"]; v != nil {
		if d.Transaction, err = text("claims: txn", v); err != nil {
			return err
		}
	}
	if d.Thumbprint, err = thumbprint(members["cnf"]); err != nil {
		return err
	}
	if d.Actors, err = actors(members["act"]); err != nil {
		return err
	}
	if v := members["may_act"]; v != nil {
		a, inner, err := actor("claims: may_act", v)
		if err != nil {
			return err
		}
		if inner != nil {
			return errors.New("claims: may_act has an act in it")
		}
		d.MayAct = &a
	}
	c.Delegation = d
	if v := members[DigestClaim]; v != nil {
		if said, err := text("claims: "+DigestClaim, v); err != nil || said != Digest(c) {
			return errors.New("claims: " + DigestClaim + " is not the digest of the chain")
		}
	}
	return nil
}

// actors reads the claim act, the outermost first.
func actors(v jsontext.Value) ([]identity.Actor, error) {
	var list []identity.Actor
	for at := "claims: act"; v != nil; at += ".act" {
		if len(list) == MaxDepth {
			return nil, fmt.Errorf("claims: act: more than %d actors", MaxDepth)
		}
		a, inner, err := actor(at, v)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
		v = inner
	}
	return list, nil
}

// actor reads one actor and what is nested in it.
func actor(at string, v jsontext.Value) (a identity.Actor, inner jsontext.Value, err error) {
	members, err := object(at, v, actorNames())
	if err != nil {
		return a, nil, err
	}
	a.Raw = v
	if members["sub"] == nil {
		return a, nil, fmt.Errorf("%s: no sub", at)
	}
	if a.Subject, err = text(at+": sub", members["sub"]); err != nil {
		return a, nil, err
	}
	if iss := members["iss"]; iss != nil {
		if a.Issuer, err = text(at+": iss", iss); err != nil {
			return a, nil, err
		}
	}
	return a, members["act"], nil
}

// object reads the members of a JSON object. Names that are there twice, or in two spellings, are refused.
func object(at string, v jsontext.Value, known []string) (map[string]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if dec.PeekKind() != jsontext.KindBeginObject {
		return nil, fmt.Errorf("%s: is no object", at)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, fmt.Errorf("%s: is no JSON", at)
	}
	members := map[string]jsontext.Value{}
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("%s: is no JSON, or has a name twice", at)
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("%s: is no JSON, or has a name twice", at)
		}
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return nil, fmt.Errorf("%s: has %s in another spelling", at, k)
			}
		}
		members[name] = slices.Clone(value)
	}
	return members, nil
}

// text reads a string that is there and not empty.
func text(at string, v jsontext.Value) (string, error) {
	if v.Kind() != jsontext.KindString {
		return "", fmt.Errorf("%s is no string", at)
	}
	b, err := jsontext.AppendUnquote(nil, v)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s is no string", at)
	case len(b) == 0:
		return "", fmt.Errorf("%s is empty", at)
	case len(b) > maxSubject:
		return "", fmt.Errorf("%s is longer than %d bytes", at, maxSubject)
	}
	return string(b), nil
}

// scopes reads a scope: a text with spaces between its members (RFC 6749 section 3.3) or, as some issuers have it, a list.
func scopes(v jsontext.Value) ([]string, error) {
	var list []string
	switch v.Kind() {
	case jsontext.KindString:
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil, errors.New("claims: scope is no string")
		}
		list = strings.FieldsFunc(string(b), func(r rune) bool { return r == ' ' })
	case jsontext.KindBeginArray:
		var err error
		if list, err = elements(v); err != nil {
			return nil, err
		}
	default:
		if v != nil {
			return nil, errors.New("claims: scope is neither a string nor a list")
		}
		return nil, nil
	}
	set := make([]string, 0, len(list))
	for _, s := range list {
		if !validScope(s) {
			return nil, errors.New("claims: scope has a member that is no scope")
		}
		if !slices.Contains(set, s) {
			set = append(set, s)
		}
		if len(set) > maxScopes {
			return nil, fmt.Errorf("claims: scope has more than %d members", maxScopes)
		}
	}
	return set, nil
}

func elements(v jsontext.Value) ([]string, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	_, err := dec.ReadToken()
	var list []string
	for err == nil && dec.PeekKind() == jsontext.KindString {
		var t jsontext.Token
		if t, err = dec.ReadToken(); err == nil {
			list = append(list, t.String())
		}
	}
	if err != nil || dec.PeekKind() != jsontext.KindEndArray {
		return nil, errors.New("claims: scope has a member that is no string")
	}
	return list, nil
}

func validScope(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= maxScope
}

// thumbprint reads x5t#S256 of cnf (RFC 8705 section 3.1). Other methods bind a token to something that is not seen here, and
// are refused: a token that needs a proof must not pass without one.
func thumbprint(v jsontext.Value) (string, error) {
	if v == nil {
		return "", nil
	}
	members, err := object("claims: cnf", v, []string{"x5t#S256"})
	if err != nil {
		return "", err
	}
	if len(members) != 1 || members["x5t#S256"] == nil {
		return "", errors.New("claims: cnf asks for a proof other than that of a certificate (x5t#S256)")
	}
	s, err := text("claims: cnf: x5t#S256", members["x5t#S256"])
	if b, derr := base64.RawURLEncoding.Strict().DecodeString(s); err == nil && (derr != nil || len(b) != 32) {
		err = errors.New("claims: cnf: x5t#S256 is no SHA-256 in base64url")
	}
	return s, err
}
