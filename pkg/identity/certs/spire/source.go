package spire

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// Where the API usually is: first where Istio's pods mount it, then where SPIRE's agent puts it on a node.
const (
	PodSocket  = "unix:///var/run/secrets/workload-spiffe-uds/socket"
	NodeSocket = "unix:///run/spire/sockets/agent.sock"
)

// Options say where to ask, and what to take.
type Options struct {
	Socket    string                 // unix:///path; "" means PodSocket if it is there at that moment, else NodeSocket
	ID        identity.ID            // the identity to take; zero: the default one
	Hint      string                 // the operator's hint of the identity to take; "" for any
	Federated []identity.TrustDomain // whose identities are trusted beside our own trust domain's, by their own roots
	Log       *slog.Logger           // nil is silent
}

// Source is a [certs.Source]. Its methods are safe for concurrent use.
type Source struct {
	opt    Options
	target func() string // the socket to connect to, a path

	mu      sync.Mutex
	current *certs.Material
	err     error // why there is nothing newer
	updated time.Time
}

// New checks the options. The API is first asked by [Source.Run].
func New(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{opt: o, target: usualSocket}
	if o.Socket != "" {
		path, ok := strings.CutPrefix(o.Socket, "unix://")
		if !ok || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("spire: socket %q is not of the form unix:///path", o.Socket)
		}
		if err := workloadapi.ValidateAddress(o.Socket); err != nil {
			return nil, fmt.Errorf("spire: socket %q: %w", o.Socket, err)
		}
		s.target = func() string { return path }
	}
	if slices.ContainsFunc(o.Federated, identity.TrustDomain.IsZero) {
		return nil, errors.New("spire: a federated trust domain has no name")
	}
	return s, nil
}

// usualSocket looks anew each time: whichever of the two appears is taken.
func usualSocket() string {
	path := strings.TrimPrefix(PodSocket, "unix://")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return strings.TrimPrefix(NodeSocket, "unix://")
}

var errNoUpdate = errors.New("spire: the Workload API has sent nothing yet")

// Current returns the newest material. It is not ready before the first update, and when the last one has expired.
func (s *Source) Current() (*certs.Material, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		cause := s.err
		if cause == nil {
			cause = errNoUpdate
		}
		return nil, fmt.Errorf("%w: %w", certs.ErrNotReady, cause)
	}
	if err := s.current.Valid(time.Now()); err != nil {
		if s.err != nil {
			err = fmt.Errorf("%w, and there is no newer one: %w", err, s.err)
		}
		return nil, err
	}
	return s.current, nil
}

// Status is what operators want to know.
type Status struct {
	ID       identity.ID // zero before the first update
	NotAfter time.Time
	Updated  time.Time // when the API last sent something that is in use
	Err      error     // why there is nothing newer; nil while all is well
}

// Status describes the state now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Updated: s.updated, Err: s.err}
	if s.current != nil {
		st.ID, st.NotAfter = s.current.ID, s.current.Certificate.Leaf.NotAfter
	}
	return st
}
