package oauth

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

// ExchangerOptions say what is traded for what.
type ExchangerOptions struct {
	Client   *Client
	Request  Request                                  // what is asked for; Subject and Actor are filled in
	Actor    func(caller identity.ID) (string, error) // the actor token; nil sends none
	CacheFor time.Duration                            // how long a new token is used at most; 0 is for one call
	Now      func() time.Time
}

// spare is how long before its end a token is not used any more: the destination's clock is another one.
const spare = 10 * time.Second

// Exchanger trades tokens, and remembers what it got: by the whole token of the caller and by the caller. It is safe for use by
// many; whoever asks for the same at the same time waits for one answer.
type Exchanger struct {
	o       ExchangerOptions
	slots   chan struct{}
	mu      sync.Mutex
	known   map[[32]byte]*list.Element
	order   list.List // of *traded
	waiting map[[32]byte]*trade
}

type traded struct {
	key   [32]byte
	token Token
	until time.Time
}

type trade struct {
	done  chan struct{}
	token Token
	err   error
}

// NewExchanger returns an exchanger.
func NewExchanger(o ExchangerOptions) (*Exchanger, error) {
	if o.Client == nil {
		return nil, errors.New("oauth: an exchanger needs a client")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Exchanger{o: o, slots: make(chan struct{}, asking), known: map[[32]byte]*list.Element{}, waiting: map[[32]byte]*trade{}}, nil
}

// Trade returns a token for a caller's. ends is when the caller's own ends: what it was traded for is not used after that.
func (x *Exchanger) Trade(ctx context.Context, subject string, caller identity.ID, ends time.Time) (Token, error) {
	if !printable(subject) {
		return Token{}, &Error{"invalid_request", 0}
	}
	h := sha256.New()
	id := caller.String()
	fmt.Fprintf(h, "%d %s %d %s", len(id), id, len(subject), subject)
	var key [32]byte
	h.Sum(key[:0])
	x.mu.Lock()
	if token, ok := x.get(key); ok {
		x.mu.Unlock()
		return token, nil
	}
	q, ours := x.waiting[key], false
	if q == nil {
		q, ours = &trade{done: make(chan struct{})}, true
		x.waiting[key] = q
	}
	x.mu.Unlock()
	if ours {
		go x.trade(context.WithoutCancel(ctx), key, subject, caller, ends, q)
	}
	select {
	case <-q.done:
		return q.token, q.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (x *Exchanger) trade(ctx context.Context, key [32]byte, subject string, caller identity.ID, ends time.Time, q *trade) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // the endpoint's own limit is shorter
	defer cancel()
	select {
	case x.slots <- struct{}{}:
		q.token, q.err = x.ask(ctx, subject, caller)
		<-x.slots
	default:
		q.err = fmt.Errorf("%w: %d exchanges are under way", ErrUnavailable, asking)
	}
	x.mu.Lock()
	delete(x.waiting, key)
	if q.err == nil {
		x.put(key, q.token, ends)
	}
	x.mu.Unlock()
	close(q.done)
}

func (x *Exchanger) ask(ctx context.Context, subject string, caller identity.ID) (Token, error) {
	r := x.o.Request
	r.Subject = subject
	if x.o.Actor != nil {
		actor, err := x.o.Actor(caller)
		if err != nil {
			return Token{}, fmt.Errorf("%w: our own assertion of who calls: %w", ErrUnavailable, err)
		}
		r.Actor, r.ActorType = actor, TypeJWT
	}
	return x.o.Client.Exchange(ctx, r)
}

// get and put are called with the lock held.
func (x *Exchanger) get(key [32]byte) (Token, bool) {
	e := x.known[key]
	if e == nil {
		return Token{}, false
	}
	t := e.Value.(*traded) //nolint:forcetypeassert // nothing else is in the list
	if !x.o.Now().Before(t.until) {
		x.order.Remove(e)
		delete(x.known, key)
		return Token{}, false
	}
	x.order.MoveToFront(e)
	return t.token, true
}

func (x *Exchanger) put(key [32]byte, token Token, ends time.Time) {
	until := x.o.Now().Add(x.o.CacheFor)
	if e := token.Expires; !e.IsZero() && e.Add(-spare).Before(until) {
		until = e.Add(-spare)
	}
	if !ends.IsZero() && ends.Before(until) {
		until = ends
	}
	if !x.o.Now().Before(until) {
		return
	}
	x.known[key] = x.order.PushFront(&traded{key, token, until})
	if x.order.Len() > remembered {
		last := x.order.Back()
		delete(x.known, last.Value.(*traded).key) //nolint:forcetypeassert // nothing else is in the list
		x.order.Remove(last)
	}
}
