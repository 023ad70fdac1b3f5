package spire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

const (
	firstWait   = time.Second
	longestWait = 10 * time.Second // the agent is on this node, and asking it is cheap
)

// Run follows the Workload API until ctx ends, and then returns nil.
func (s *Source) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s.watch(ctx)
		// The client gives up for good on some answers of the API. An agent that is being replaced gives such answers too.
		pause(ctx, firstWait+rand.N(firstWait))
	}
	return nil
}

func (s *Source) watch(ctx context.Context) {
	client, err := workloadapi.New(ctx,
		workloadapi.WithAddr("unix://"+s.target()),
		workloadapi.WithBackoffStrategy(strategy{}),
		workloadapi.WithDialOptions(
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", s.target())
			}),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           grpcbackoff.Config{BaseDelay: firstWait / 2, Multiplier: 2, Jitter: 0.2, MaxDelay: longestWait / 2},
				MinConnectTimeout: 5 * time.Second,
			}),
		))
	if err != nil {
		s.fail(err)
		return
	}
	defer client.Close()
	client.WatchX509Context(ctx, watcher{s, ctx}) // what it returns, the watcher was told as well
}

// watcher implements workloadapi.X509ContextWatcher.
type watcher struct {
	source *Source
	ctx    context.Context
}

func (w watcher) OnX509ContextUpdate(update *workloadapi.X509Context) { w.source.update(update) }

// OnX509ContextWatchError is told of connections that failed and of answers that are not understood.
func (w watcher) OnX509ContextWatchError(err error) {
	if w.ctx.Err() == nil {
		w.source.fail(err)
	}
}

// update takes what the API sent.
func (s *Source) update(update *workloadapi.X509Context) {
	m, err := s.material(update)
	if err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.current, s.err, s.updated = m, nil, time.Now()
	s.mu.Unlock()
	s.opt.Log.Info("certificate received", "id", m.ID, "serial", m.Certificate.Leaf.SerialNumber.Text(16),
		"expires", m.Certificate.Leaf.NotAfter, "federated", len(m.Federated))
	for _, td := range s.opt.Federated {
		if m.Federated[td] == nil && td != m.ID.TrustDomain() {
			s.opt.Log.Warn("the Workload API sent no roots of a federated trust domain", "trust domain", td)
		}
	}
}

// fail keeps what is in use, and says why once.
func (s *Source) fail(err error) {
	err = fmt.Errorf("spire: %w", err)
	s.mu.Lock()
	known := s.err
	s.err = err
	s.mu.Unlock()
	if known == nil || known.Error() != err.Error() {
		s.opt.Log.Warn("the Workload API gives us nothing new", "cause", err)
	}
}

// material makes material of an update. Its parts were parsed by the client; whether they belong together is checked here.
func (s *Source) material(update *workloadapi.X509Context) (*certs.Material, error) {
	svid, err := s.choose(update.SVIDs)
	if err != nil {
		return nil, err
	}
	certificate := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	intermediates := x509.NewCertPool()
	for i, c := range svid.Certificates {
		if i > 0 && bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil {
			continue // a root, which is never served
		}
		certificate.Certificate = append(certificate.Certificate, c.Raw)
		intermediates.AddCert(c)
	}
	roots, err := rootsOf(update.Bundles, svid.ID.TrustDomain())
	if err != nil {
		return nil, err
	}
	m, err := certs.NewMaterial(certificate, roots)
	if err != nil {
		return nil, err
	}
	if _, err := m.Certificate.Leaf.Verify(x509.VerifyOptions{
		Roots: m.Roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", m.ID, err)
	}
	for _, td := range s.opt.Federated {
		if td == m.ID.TrustDomain() {
			continue
		}
		name, err := spiffeid.TrustDomainFromString(td.String())
		if err != nil {
			return nil, err
		}
		if roots, err := rootsOf(update.Bundles, name); err == nil {
			m.Federate(td, roots)
		}
	}
	return m, nil
}

// choose picks the identity.
func (s *Source) choose(all []*x509svid.SVID) (*x509svid.SVID, error) {
	for _, svid := range all {
		if (s.opt.ID.IsZero() || svid.ID.String() == s.opt.ID.String()) && (s.opt.Hint == "" || svid.Hint == s.opt.Hint) {
			return svid, nil
		}
	}
	return nil, fmt.Errorf("none of %d identities is %s", len(all), wanted(s.opt.ID, s.opt.Hint))
}

func wanted(id identity.ID, hint string) string {
	switch {
	case hint == "":
		return fmt.Sprintf("%q", id)
	case id.IsZero():
		return fmt.Sprintf("hinted at by %q", hint)
	}
	return fmt.Sprintf("%q and hinted at by %q", id, hint)
}

func rootsOf(bundles *x509bundle.Set, td spiffeid.TrustDomain) ([]*x509.Certificate, error) {
	bundle, ok := bundles.Get(td)
	if !ok {
		return nil, fmt.Errorf("there are no roots of %q", td.Name())
	}
	roots := bundle.X509Authorities()
	if len(roots) == 0 {
		return nil, errors.New("the roots of " + td.Name() + " are none")
	}
	return roots, nil
}

// backOff waits 0.5 to 1 s after the first failure, and twice as long after each further one, up to longestWait.
type backOff struct{ failures int }

func (b *backOff) Next() time.Duration {
	wait := min(firstWait<<min(b.failures, 8), longestWait)
	b.failures++
	return wait/2 + rand.N(wait/2)
}

func (b *backOff) Reset() { b.failures = 0 }

type strategy struct{}

func (strategy) NewBackoff() workloadapi.Backoff { return new(backOff) }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
