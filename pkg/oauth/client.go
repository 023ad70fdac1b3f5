package oauth

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Endpoint is where an authorization server is asked; *fetch.Client is one.
type Endpoint interface {
	URL() string
	Post(ctx context.Context, contentType string, body []byte, header http.Header) (status int, answer []byte, err error)
}

// Options say whom to ask, and who asks.
type Options struct {
	Endpoint Endpoint
	Auth     Auth
	Now      func() time.Time // nil means time.Now
}

// Client asks one endpoint. It is safe for use by many.
type Client struct{ o Options }

// New returns a client.
func New(o Options) (*Client, error) {
	if o.Endpoint == nil || o.Auth == nil {
		return nil, errors.New("oauth: an endpoint and a way to authenticate are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{o}, nil
}

// Errors a caller may branch on.
var (
	// ErrUnavailable is no answer, or one that says that the server cannot answer now.
	ErrUnavailable = errors.New("oauth: the server is not available")
	// ErrAnswer is an answer that is not what the protocol says.
	ErrAnswer = errors.New("oauth: the server's answer is no good")
	// ErrInactive is a token that the server does not vouch for (RFC 7662 section 2.2), or that is not for us.
	ErrInactive = errors.New("oauth: the token is not active")
)

// Error is a refusal in the words of RFC 6749 section 5.2. The description that may come with it is not kept: it can be anything.
type Error struct {
	Code   string
	Status int
}

func (e *Error) Error() string {
	return fmt.Sprintf("oauth: the server refuses: %s (status %d)", e.Code, e.Status)
}

// ask posts a form with our authentication, and returns the members of the answer's object.
func (c *Client) ask(ctx context.Context, form url.Values) (map[string]jsontext.Value, error) {
	header := http.Header{}
	if err := c.o.Auth.sign(ctx, c.o.Endpoint.URL(), c.o.Now(), form, header); err != nil {
		return nil, fmt.Errorf("%w: our own authentication: %w", ErrUnavailable, err)
	}
	status, answer, err := c.o.Endpoint.Post(ctx, "application/x-www-form-urlencoded", []byte(form.Encode()), header)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return nil, fmt.Errorf("%w: status %d", ErrUnavailable, status)
	case status >= 400:
		return nil, refusal(status, answer)
	case status != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d", ErrAnswer, status)
	}
	members, err := object(answer, names()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return members, nil
}

func refusal(status int, answer []byte) error {
	members, err := object(answer, "error")
	code := "an error without a code"
	if err == nil {
		if s, ok := text(members["error"]); ok && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == "" {
			code = s
		}
	}
	return &Error{code, status}
}

// names have a meaning in answers: in another spelling they are refused.
func names() []string {
	return []string{
		"access_token", "issued_token_type", "token_type", "expires_in", "scope", "refresh_token", "active", "iss", "sub", "aud", "exp", "iat", "nbf",
		"jti", "act", "may_act", "client_id", "cnf", "txn", "authorization_details",
	}
}

// object reads a JSON object that has one reading.
func object(b []byte, known ...string) (map[string]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(b))
	whole, err := dec.ReadValue()
	if err != nil {
		return nil, errors.New("no JSON, or a name twice")
	}
	whole = whole.Clone() // the decoder goes on to use its buffer
	if _, err := dec.ReadToken(); err != io.EOF || whole.Kind() != jsontext.KindBeginObject {
		return nil, errors.New("not one JSON object")
	}
	dec = jsontext.NewDecoder(bytes.NewReader(whole))
	if _, err := dec.ReadToken(); err != nil {
		return nil, errors.New("no JSON")
	}
	members := map[string]jsontext.Value{}
	for dec.PeekKind() != jsontext.KindEndObject {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, errors.New("no JSON")
		}
		name := t.String()
		v, err := dec.ReadValue()
		if err != nil {
			return nil, errors.New("no JSON")
		}
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return nil, fmt.Errorf("%s in another spelling", k)
			}
		}
		members[name] = v.Clone()
	}
	return members, nil
}

func text(v jsontext.Value) (string, bool) {
	if v.Kind() != jsontext.KindString {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}
