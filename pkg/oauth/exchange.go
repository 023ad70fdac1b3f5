package oauth

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Token types (RFC 8693 section 3).
const (
	GrantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // a name, no secret
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"     //nolint:gosec // a name, no secret
)

const (
	maxToken    = 16 << 10       // bytes
	maxLifetime = 24 * time.Hour // of what we believe of expires_in
)

// Request is an exchange (RFC 8693 section 2.1).
type Request struct {
	Subject, SubjectType string // the type is TypeAccessToken if it is empty
	Actor, ActorType     string // "" if the client itself is the actor
	Audiences, Resources []string
	Scopes               []string
	RequestedType        string
}

// Token is what came out.
type Token struct {
	Value   string
	Type    string
	Expires time.Time // zero if the server does not say
	Scopes  []string  // nil if the server says that they are those that were asked for
}

// Exchange trades a token.
func (c *Client) Exchange(ctx context.Context, r Request) (Token, error) {
	form := url.Values{"grant_type": {GrantExchange}, "subject_token": {r.Subject}, "subject_token_type": {or(r.SubjectType, TypeAccessToken)}}
	if r.Actor != "" {
		form["actor_token"], form["actor_token_type"] = []string{r.Actor}, []string{or(r.ActorType, TypeJWT)}
	}
	if r.RequestedType != "" {
		form["requested_token_type"] = []string{r.RequestedType}
	}
	if len(r.Audiences) > 0 {
		form["audience"] = r.Audiences
	}
	if len(r.Resources) > 0 {
		form["resource"] = r.Resources
	}
	if len(r.Scopes) > 0 {
		form["scope"] = []string{strings.Join(r.Scopes, " ")}
	}
	asked := c.o.Now()
	members, err := c.ask(ctx, form)
	if err != nil {
		return Token{}, err
	}
	var t Token
	var ok bool
	if t.Value, ok = text(members["access_token"]); !ok || !printable(t.Value) {
		return Token{}, fmt.Errorf("%w: no access_token that can stand in a header", ErrAnswer)
	}
	if t.Value == r.Subject || t.Value == r.Actor {
		return Token{}, fmt.Errorf("%w: it is the token that was to be traded", ErrAnswer)
	}
	if t.Type, ok = text(members["issued_token_type"]); !ok || r.RequestedType != "" && t.Type != r.RequestedType && !(r.RequestedType == TypeAccessToken && t.Type == TypeJWT) {
		return Token{}, fmt.Errorf("%w: issued_token_type is not what was asked for", ErrAnswer)
	}
	if kind, ok := text(members["token_type"]); !ok || !strings.EqualFold(kind, "Bearer") && kind != "N_A" {
		return Token{}, fmt.Errorf("%w: token_type is neither Bearer nor N_A", ErrAnswer)
	}
	if v := members["scope"]; v != nil {
		s, ok := text(v)
		t.Scopes = strings.Fields(s)
		if !ok || len(r.Scopes) > 0 && slices.ContainsFunc(t.Scopes, func(x string) bool { return !slices.Contains(r.Scopes, x) }) {
			return Token{}, fmt.Errorf("%w: it has a scope that was not asked for", ErrAnswer)
		}
	}
	if v := members["expires_in"]; v != nil {
		n, err := strconv.ParseUint(string(v), 10, 40)
		if err != nil || n == 0 {
			return Token{}, fmt.Errorf("%w: expires_in is no length of time", ErrAnswer)
		}
		t.Expires = asked.Add(min(time.Duration(min(n, 1<<31))*time.Second, maxLifetime))
	}
	return t, nil
}

func or(s, unset string) string {
	if s == "" {
		return unset
	}
	return s
}

// printable reports whether a token can stand in a header field as it is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}
