package ruleset

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"
)

// Authorities are those whom rules ask: issuers for their keys, authorization servers about tokens, services that decide. What
// is known of them outlives every snapshot of rules that has them. The zero value asks nobody: rules can be
// compiled with it, to see whether they are right, and refuse every token that somebody would have to be asked about.
type Authorities struct {
	Dial        func(ctx context.Context, host string, port uint16) (net.Conn, error) // to a service, through the mesh
	Certificate func() (*tls.Certificate, error)                                      // of this waypoint
	Account     func(ctx context.Context, audience string) (string, error)            // a token of our service account; nil: there is none
	Loopback    bool                                                                  // https may lead to this machine: on a laptop
	Log         *slog.Logger                                                          // nil discards
	Now         func() time.Time                                                      // nil means time.Now

	mu    sync.Mutex
	known map[string]*authority
	round uint64
}

// authority is one that was made from one configuration. It is used again as long as a snapshot has the same configuration.
type authority struct {
	value any
	close func()
	round uint64
}

// begin starts a snapshot: what it asks for until retain is kept.
func (a *Authorities) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.round++
}

// retain ends what the snapshot that was begun last has not asked for.
func (a *Authorities) retain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, known := range a.known {
		if known.round != a.round {
			delete(a.known, k)
			known.close()
		}
	}
}

// Close ends everything.
func (a *Authorities) Close() {
	if a == nil {
		return
	}
	a.begin()
	a.retain()
}

// keep returns what was made from the same configuration before, or makes it. Secrets may be part of the configuration: only a
// digest of it is kept.
func keep[T any](a *Authorities, kind string, configuration any, build func() (T, func(), error)) (T, error) {
	var none T
	if a.Dial == nil { // nobody will be asked: this only looks whether it could be done
		value, end, err := build()
		if err == nil {
			end()
		}
		return value, err
	}
	nanoseconds := json.MarshalFunc(func(d time.Duration) ([]byte, error) { return strconv.AppendInt(nil, int64(d), 10), nil })
	b, err := json.Marshal(configuration, json.Deterministic(true), json.WithMarshalers(nanoseconds))
	if err != nil {
		return none, err
	}
	key := fmt.Sprintf("%s %x", kind, sha256.Sum256(b))
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[key]; ok {
		known.round = a.round
		return known.value.(T), nil //nolint:forcetypeassert // the key begins with the kind
	}
	value, end, err := build()
	if err != nil {
		return none, err
	}
	if a.known == nil {
		a.known = map[string]*authority{}
	}
	a.known[key] = &authority{value, end, a.round}
	return value, nil
}

// dial reaches a service of the mesh.
func (a *Authorities) dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if a.Dial == nil {
		return nil, errors.New("nobody can be asked here")
	}
	return a.Dial(ctx, host, port)
}

func (a *Authorities) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

func (a *Authorities) now() func() time.Time {
	if a.Now == nil {
		return time.Now
	}
	return a.Now
}
