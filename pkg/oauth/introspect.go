package oauth

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
)

// Limits of an introspector.
const (
	remembered = 10_000           // tokens
	asking     = 64               // questions at a time
	badFor     = 10 * time.Second // how long a token that is not active is remembered
	patience   = 10 * time.Second // of one question
)

// IntrospectorOptions say whom to ask about tokens.
type IntrospectorOptions struct {
	Client    *Client
	Issuer    string        // what the claims say if the server does not name an issuer
	Audiences []string      // of which an answer has to have one, if it has any; empty asks for none
	CacheFor  time.Duration // how long a good answer is used; never longer than the token lives
	Now       func() time.Time
}

// Introspector asks an authorization server about tokens (RFC 7662). No answer is a refusal.
type Introspector struct {
	o       IntrospectorOptions
	slots   chan struct{}
	mu      sync.Mutex
	known   map[[32]byte]*list.Element
	order   list.List // of *answered, the one used last in front
	waiting map[[32]byte]*question
}

type answered struct {
	key    [32]byte
	claims *identity.Claims // nil: not active
	until  time.Time
}

// question is one that is under way; all who have it wait for the same answer.
type question struct {
	done   chan struct{}
	claims *identity.Claims
	err    error
}

// NewIntrospector returns an introspector.
func NewIntrospector(o IntrospectorOptions) (*Introspector, error) {
	if o.Client == nil {
		return nil, errors.New("oauth: an introspector needs a client")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Introspector{o: o, slots: make(chan struct{}, asking), known: map[[32]byte]*list.Element{}, waiting: map[[32]byte]*question{}}, nil
}

// Introspect returns the claims of an active token. Its errors are ErrInactive, ErrUnavailable, ErrAnswer or an *Error. The claims
// are shared and must not be changed.
func (i *Introspector) Introspect(ctx context.Context, token string) (*identity.Claims, error) {
	if !printable(token) {
		return nil, fmt.Errorf("%w: it cannot be one", ErrInactive)
	}
	key := sha256.Sum256([]byte(token))
	i.mu.Lock()
	if claims, known := i.get(key); known {
		i.mu.Unlock()
		if claims == nil {
			return nil, ErrInactive
		}
		return claims, nil
	}
	q, ours := i.waiting[key], false
	if q == nil {
		q, ours = &question{done: make(chan struct{})}, true
		i.waiting[key] = q
	}
	i.mu.Unlock()
	if ours {
		// The answer is for all who wait, whoever leaves meanwhile.
		go i.answer(context.WithoutCancel(ctx), key, token, q)
	}
	select {
	case <-q.done:
		return q.claims, q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (i *Introspector) answer(ctx context.Context, key [32]byte, token string, q *question) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case i.slots <- struct{}{}:
		q.claims, q.err = i.ask(ctx, token)
		<-i.slots
	default:
		q.err = fmt.Errorf("%w: %d questions are under way", ErrUnavailable, asking)
	}
	i.mu.Lock()
	delete(i.waiting, key)
	now := i.o.Now()
	switch {
	case q.err == nil && i.o.CacheFor > 0:
		until := now.Add(i.o.CacheFor)
		if !q.claims.Expiry.IsZero() && q.claims.Expiry.Before(until) {
			until = q.claims.Expiry
		}
		i.put(&answered{key, q.claims, until})
	case errors.Is(q.err, ErrInactive):
		i.put(&answered{key, nil, now.Add(min(badFor, max(i.o.CacheFor, time.Second)))})
	}
	i.mu.Unlock()
	close(q.done)
}

// get and put are called with the lock held.
func (i *Introspector) get(key [32]byte) (claims *identity.Claims, known bool) {
	e := i.known[key]
	if e == nil {
		return nil, false
	}
	a := e.Value.(*answered) //nolint:forcetypeassert // nothing else is in the list
	if !i.o.Now().Before(a.until) {
		i.order.Remove(e)
		delete(i.known, key)
		return nil, false
	}
	i.order.MoveToFront(e)
	return a.claims, true
}

func (i *Introspector) put(a *answered) {
	i.known[a.key] = i.order.PushFront(a)
	if i.order.Len() > remembered {
		last := i.order.Back()
		delete(i.known, last.Value.(*answered).key) //nolint:forcetypeassert // nothing else is in the list
		i.order.Remove(last)
	}
}

// ask reads an answer as strictly as a token is read.
func (i *Introspector) ask(ctx context.Context, token string) (*identity.Claims, error) {
	members, err := i.o.Client.ask(ctx, url.Values{"token": {token}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	switch string(members["active"]) {
	case "true":
	case "false":
		return nil, ErrInactive
	default:
		return nil, fmt.Errorf("%w: active is neither true nor false", ErrAnswer)
	}
	c := &identity.Claims{}
	if c.Raw, err = json.Marshal(members, json.Deterministic(true)); err != nil {
		return nil, fmt.Errorf("%w: it cannot be kept", ErrAnswer)
	}
	if err := i.fill(c, members); err != nil {
		return nil, err
	}
	if err := chain.Read(c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return c, nil
}

func (i *Introspector) fill(c *identity.Claims, members map[string]jsontext.Value) error {
	for _, m := range []struct {
		name string
		to   *string
	}{{"iss", &c.Issuer}, {"sub", &c.Subject}, {"jti", &c.ID}} {
		if v := members[m.name]; v != nil {
			var ok bool
			if *m.to, ok = text(v); !ok {
				return fmt.Errorf("%w: %s is no string", ErrAnswer, m.name)
			}
		}
	}
	if c.Issuer == "" {
		c.Issuer = i.o.Issuer
	}
	for _, m := range []struct {
		name string
		to   *time.Time
	}{{"exp", &c.Expiry}, {"iat", &c.IssuedAt}, {"nbf", &c.NotBefore}} {
		if v := members[m.name]; v != nil {
			n, err := strconv.ParseUint(string(v), 10, 40)
			if err != nil {
				return fmt.Errorf("%w: %s is no date", ErrAnswer, m.name)
			}
			*m.to = time.Unix(int64(n), 0) //nolint:gosec // 40 bits
		}
	}
	now := i.o.Now()
	if !c.Expiry.IsZero() && !now.Before(c.Expiry) || c.NotBefore.After(now) {
		return fmt.Errorf("%w: it says so, and that its time is not now", ErrInactive)
	}
	return i.audience(c, members["aud"])
}

func (i *Introspector) audience(c *identity.Claims, v jsontext.Value) error {
	switch {
	case v == nil:
	case v.Kind() == jsontext.KindString:
		s, _ := text(v)
		c.Audience = []string{s}
	case json.Unmarshal(v, &c.Audience) != nil:
		return fmt.Errorf("%w: aud is neither a string nor a list of them", ErrAnswer)
	}
	if len(i.o.Audiences) > 0 && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(i.o.Audiences, a) }) {
		return fmt.Errorf("%w: it is for another audience", ErrInactive)
	}
	return nil
}
