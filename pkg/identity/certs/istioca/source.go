package istioca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// rootPoll is how often the root file is read; see certs.Files for why it is not watched.
const rootPoll = time.Second

// Options say whom to ask, and for what. Address and Token are required, and TLS or RootFile.
type Options struct {
	Address  string                                                      // host:port
	TLS      func() (*tls.Config, error)                                 // asked at each call; nil: the roots of RootFile, and the host of Address as the name
	Token    func() (string, error)                                      // asked at each call
	ID       identity.ID                                                 // what the certificate must say; zero: any one SPIFFE ID
	TTL      time.Duration                                               // how long a certificate is asked to live; 0 leaves it to the CA, which refuses what is over its own maximum
	Headers  map[string]string                                           // sent with each call: clusterid, and what Istio's CA_HEADER_ variables add
	Signer   string                                                      // of a CA that fronts several ("CertSigner"); "" for none
	RootFile string                                                      // the mesh's roots, PEM, beside those that the CA sends; "" for none
	Log      *slog.Logger                                                // nil is silent
	Dial     func(ctx context.Context, address string) (net.Conn, error) // nil means TCP
}

// Source is a [certs.Source]. Its methods are safe for concurrent use.
type Source struct {
	opt Options

	mu       sync.Mutex
	issued   *issued             // what the CA sent last
	material *certs.Material     // the same with the roots of the file
	file     []*x509.Certificate // what the root file held when it was last good
	fileErr  error               // why its newest content is not in use
	err      error               // why the last call failed; nil if it did not
	failures int                 // calls that failed since one succeeded
	next     time.Time
}

// New checks the options. The CA is first asked by [Source.Run].
func New(o Options) (*Source, error) {
	host, port, err := net.SplitHostPort(o.Address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("istioca: address: %w", err)
	case host == "" || port == "":
		return nil, fmt.Errorf("istioca: address %q lacks a host or a port", o.Address)
	case o.Token == nil:
		return nil, errors.New("istioca: Token is required")
	case o.TLS == nil && o.RootFile == "":
		return nil, errors.New("istioca: TLS or RootFile is required")
	case o.TTL < 0 || o.TTL%time.Second != 0:
		return nil, fmt.Errorf("istioca: TTL %s is not a number of seconds", o.TTL)
	}
	if o.Headers, err = headers(o.Headers); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	s := &Source{opt: o}
	s.readRoots()
	return s, nil
}

// headers checks names and values: gRPC would refuse them at each call, or let one take the token's place.
func headers(given map[string]string) (map[string]string, error) {
	lower := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		key, value := strings.ToLower(name), given[name]
		switch {
		case key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
			return nil, fmt.Errorf("istioca: header name %q is not a name of gRPC metadata", name)
		case key == "authorization" || strings.HasPrefix(key, "grpc-") || strings.HasSuffix(key, "-bin"):
			return nil, fmt.Errorf("istioca: header %q cannot be set", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			return nil, fmt.Errorf("istioca: the value of header %q is not printable ASCII", name)
		}
		lower[key] = value
	}
	return lower, nil
}

var errNotAsked = errors.New("istioca: no certificate was asked for yet")

// Current returns the newest material. It is not ready before the CA signed the first certificate, and when the last one
// has expired.
func (s *Source) Current() (*certs.Material, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.material == nil {
		cause := s.err
		if cause == nil {
			cause = errNotAsked
		}
		return nil, fmt.Errorf("%w: %w", certs.ErrNotReady, cause)
	}
	if err := s.material.Valid(time.Now()); err != nil {
		if s.err != nil {
			err = fmt.Errorf("%w, and it cannot be renewed: %w", err, s.err)
		}
		return nil, err
	}
	return s.material, nil
}

// Status is what operators want to know.
type Status struct {
	ID                  identity.ID // zero before the first certificate
	Serial              string      // hexadecimal
	NotBefore, NotAfter time.Time
	Roots               int
	Next                time.Time // when the CA is asked again
	Failures            int       // calls that failed since one succeeded
	Err                 error     // why the last one failed
	RootFile            error     // why the newest content of the root file is not in use
}

// Status describes the state now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Next: s.next, Failures: s.failures, Err: s.err, RootFile: s.fileErr}
	if m := s.material; m != nil {
		leaf := m.Certificate.Leaf
		st.ID, st.Serial, st.NotBefore, st.NotAfter = m.ID, leaf.SerialNumber.Text(16), leaf.NotBefore, leaf.NotAfter
		st.Roots = len(m.Authorities)
	}
	return st
}

// Next returns when the CA is asked again.
func (s *Source) Next() time.Time { return s.Status().Next }

// Run asks the CA for certificates until ctx ends, and then returns nil.
func (s *Source) Run(ctx context.Context) error {
	poll := time.NewTicker(rootPoll)
	defer poll.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(s.renew(ctx))
		case <-poll.C:
			if s.readRoots() {
				next.Reset(s.hurry())
			}
		}
	}
}

// renew asks once, and returns how long to wait before the next time.
func (s *Source) renew(ctx context.Context) time.Duration {
	s.readRoots()
	got, err := s.ask(ctx)
	before, now := s.Status(), time.Now()
	s.mu.Lock()
	if err == nil {
		err = s.publish(got)
	}
	var wait time.Duration
	if s.err = err; err == nil {
		s.failures = 0
		wait = halfLife(got.certificate.Leaf.NotAfter.Sub(now))
	} else {
		s.failures++
		wait = backOff(s.failures, before.NotAfter.Sub(now))
	}
	s.next = now.Add(wait)
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.report(before, s.Status(), now)
	}
	return wait
}

// report logs what a call came to. A failure is the louder the closer the end is.
func (s *Source) report(before, after Status, now time.Time) {
	if after.Err == nil {
		if !before.ID.IsZero() && before.ID != after.ID {
			s.opt.Log.Warn("the CA has given us another identity", "id", after.ID, "before", before.ID)
		}
		s.opt.Log.Info("certificate issued", "id", after.ID, "serial", after.Serial, "expires", after.NotAfter,
			"roots", after.Roots, "renewal", after.Next)
		return
	}
	level, fields := slog.LevelError, []any{"cause", after.Err, "failures", after.Failures, "again", after.Next}
	if !after.ID.IsZero() {
		fields = append(fields, "id", after.ID, "expires", after.NotAfter)
		if after.NotAfter.Sub(now) > after.NotAfter.Sub(after.NotBefore)/4 {
			level = slog.LevelWarn
		}
	}
	s.opt.Log.Log(context.Background(), level, "certificate not issued", fields...)
}

// hurry is how soon to ask after the roots have changed. All waypoints of a mesh see that at the same time.
func (s *Source) hurry() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
	wait := backOff(1, 0)
	s.next = time.Now().Add(wait)
	return wait
}

// readRoots reads the root file, and reports whether there are other roots in it than before.
func (s *Source) readRoots() bool {
	if s.opt.RootFile == "" {
		return false
	}
	bundle, err := certs.LoadBundle(s.opt.RootFile)
	s.mu.Lock()
	known := s.fileErr
	changed := err == nil && !slices.EqualFunc(bundle, s.file, (*x509.Certificate).Equal)
	if changed {
		s.file = bundle
		if s.issued != nil {
			err = s.publish(s.issued)
		}
	}
	s.fileErr = err
	s.mu.Unlock()
	switch {
	case err != nil && (known == nil || known.Error() != err.Error()):
		s.opt.Log.Error("the root file cannot be used; what it held before stays", "cause", err)
	case err == nil && changed:
		s.opt.Log.Info("the root file was read", "file", s.opt.RootFile, "roots", len(bundle))
	}
	return changed
}

// publish makes material of what the CA sent and the root file. The caller holds the lock.
func (s *Source) publish(got *issued) error {
	m, err := certs.NewMaterial(got.certificate, union(got.roots, s.file))
	if err != nil {
		return err
	}
	s.issued, s.material = got, m
	return nil
}
