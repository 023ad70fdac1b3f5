// Package app wires a waypoint together: what the binary, the demo and the tests all run.
//
//	a, err := app.New(app.Options{ConfigDir: dir, Listen: "127.0.0.1:15008", Certificates: source, Audit: os.Stdout})
//	a, err = app.New(app.Options{Cluster: &app.Cluster{…}, Listen: ":15008", Certificates: source, Audit: os.Stdout})
//	err = a.Start(ctx) // returns once tunnels are accepted
//	err = a.Wait(ctx)
//	err = a.Stop(ctx)  // drains until ctx ends
//
// It refuses to be built from a configuration with a problem in it, and does not accept a tunnel before it has a certificate.
package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/admin"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/proxy"
	"waymark.dev/waypoint/pkg/ruleset"
)

// Options say what to run. Listen, Certificates and Audit are required, and either ConfigDir or Cluster.
type Options struct {
	ConfigDir          string
	Cluster            *Cluster
	Listen             string // host:port for HBONE; port 0 picks one
	Health             string // host:port for the probes; "" for none
	Certificates       certs.Source
	TrustDomain        identity.TrustDomain // zero: that of our own certificate
	TrustDomainAliases []identity.TrustDomain
	Audit              io.Writer // one JSON line per decision
	Log                *slog.Logger
	Poll               time.Duration                                              // of the configuration directory; 0 means config.DefaultPoll
	Sniff              time.Duration                                              // see proxy.Config
	Settle             time.Duration                                              // how long a waypoint that stops still takes tunnels, until everybody has heard
	Account            func(ctx context.Context, audience string) (string, error) // a token of our service account; nil: there is none
	TrustDomainOnly    bool                                                       // accept any identity of the mesh at a workload's tunnel, as Envoy does
}

// readiness conditions, as operators see them in /healthz/ready.
const (
	hasCertificates  = "certificates"
	hasMesh          = "view of the mesh"
	hasConfiguration = "configuration"
	notDraining      = "draining to end"
)

// App is one waypoint process.
type App struct {
	opt    Options
	config *config.Config
	audit  policy.Stage
	ready  *admin.Readiness
	rules  atomic.Pointer[inForce]
	pool   *hbone.Pool

	mu       sync.Mutex // guards the fields below while starting and stopping
	hbone    net.Listener
	health   net.Listener
	server   *hbone.Server
	proxy    *proxy.Proxy
	failed   chan error
	cleanups []cleanup
}

// inForce is the snapshot that decides, as one value to swap.
type inForce struct{ proxy.Rules }

// cleanup undoes one step of Start. It is registered the moment there is something to undo.
type cleanup struct {
	name string
	do   func(context.Context) error
}

// New reads the configuration. An error lists every problem in it.
func New(o Options) (*App, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Certificates == nil || o.Audit == nil {
		return nil, errors.New("app: Certificates and Audit are required")
	}
	a := &App{opt: o, audit: audit.New(o.Audit, audit.Options{Log: o.Log}), failed: make(chan error, 3)}
	switch {
	case (o.ConfigDir != "") == (o.Cluster != nil):
		return nil, errors.New("app: either ConfigDir or Cluster is required")
	case o.Cluster != nil:
		if err := o.Cluster.check(); err != nil {
			return nil, err
		}
		a.ready = admin.NewReadiness(hasCertificates, hasMesh, hasConfiguration)
		return a, nil
	}
	c, problems := config.Load(o.ConfigDir)
	if len(problems) > 0 {
		return nil, fmt.Errorf("configuration %s:\n%w", o.ConfigDir, problems)
	}
	a.config = c
	a.ready = admin.NewReadiness(hasCertificates, hasConfiguration)
	return a, nil
}

// Start binds the listeners, waits for a certificate and accepts tunnels. If it fails it has undone what it did.
func (a *App) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.start(ctx); err != nil {
		return errors.Join(err, a.undo(context.WithoutCancel(ctx)))
	}
	return nil
}

// start is one straight line: every step registers its own undoing.
func (a *App) start(ctx context.Context) error {
	var err error
	if a.hbone, err = listen(ctx, a.opt.Listen); err != nil {
		return fmt.Errorf("listen for HBONE: %w", err)
	}
	a.later("hbone listener", func(context.Context) error { return ignoreClosed(a.hbone.Close()) })
	if err := a.startHealth(ctx); err != nil {
		return err
	}
	a.background("certificates", a.followCertificates)
	trust, err := a.waitForCertificates(ctx)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	authorities := a.authorities(gone)
	a.later("authorities", func(context.Context) error { close(gone); authorities.Close(); return nil })
	deps := ruleset.Deps{Audit: a.audit, TrustDomains: trust, Authorities: authorities, Self: a.self}
	a.pool = hbone.NewPool(hbone.PoolConfig{Certificates: a.opt.Certificates, Trust: identity.MatchTrustDomains(trust...), Log: a.opt.Log})
	a.later("tunnels to workloads", func(context.Context) error { return a.pool.Close() })
	a.proxy = proxy.New(proxy.Config{
		Rules: a.Rules, Tunnels: a.pool, Log: a.opt.Log, Sniff: a.opt.Sniff, TrustDomainOnly: a.opt.TrustDomainOnly,
		Settle: a.opt.Settle, Network: a.network(), Loopback: a.opt.Cluster == nil,
	})
	a.later("proxy", func(context.Context) error { return a.proxy.Close() })
	if err := a.startRules(ctx, deps); err != nil {
		return err
	}
	a.server = hbone.NewServer(hbone.ServerConfig{
		Certificates: a.opt.Certificates, Trust: identity.MatchTrustDomains(trust...), Handler: a.proxy.Serve, Log: a.opt.Log,
		Settle: a.opt.Settle,
	})
	a.followRevocations()
	a.background("hbone server", func(context.Context) error { return a.server.Serve(a.hbone) })
	a.later("hbone server", func(context.Context) error { return a.server.Close() })
	a.ready.Done(hasConfiguration)
	return nil
}

// self is our own identity; nobody while there is no certificate.
func (a *App) self() identity.ID {
	m, err := a.opt.Certificates.Current()
	if err != nil {
		return identity.ID{}
	}
	return m.ID
}

// authorities are whom rules may ask. Services are reached through the mesh by the rules in force when they are asked.
// Nobody is reached once gone is closed.
func (a *App) authorities(gone <-chan struct{}) *ruleset.Authorities {
	return &ruleset.Authorities{
		Dial: func(ctx context.Context, host string, port uint16) (net.Conn, error) {
			for a.rules.Load() == nil { // the first rules are what makes somebody ask: a moment later there are some
				select {
				case <-gone:
					return nil, errors.New("the waypoint is stopped")
				case <-ctx.Done():
					return nil, errors.New("there are no rules yet, and with them no view of the mesh")
				case <-time.After(10 * time.Millisecond):
				}
			}
			return a.proxy.DialService(ctx, host, port)
		},
		Certificate: func() (*tls.Certificate, error) {
			m, err := a.opt.Certificates.Current()
			if err != nil {
				return nil, err
			}
			return &m.Certificate, nil
		},
		Account: a.opt.Account, Loopback: a.opt.Cluster == nil, Log: a.opt.Log,
	}
}

// network is ours, for tunnels to other ones.
func (a *App) network() string {
	if a.opt.Cluster == nil {
		return ""
	}
	return a.opt.Cluster.Network
}

// startRules returns once there are rules to judge by.
func (a *App) startRules(ctx context.Context, deps ruleset.Deps) error {
	if a.opt.Cluster != nil {
		return a.startCluster(ctx, deps)
	}
	rules, err := ruleset.Build(a.config, deps)
	if err != nil {
		return err
	}
	a.enforce(ctx, rules)
	a.background("configuration", a.followConfiguration(deps))
	return nil
}

// enforce swaps in new rules and judges what is under way again.
func (a *App) enforce(ctx context.Context, rules proxy.Rules) {
	a.rules.Store(&inForce{rules})
	a.proxy.Reconsider(ctx)
	a.opt.Log.Info("rules in force", "generation", rules.Generation())
}

func (a *App) startHealth(ctx context.Context) error {
	if a.opt.Health == "" {
		return nil
	}
	var err error
	if a.health, err = listen(ctx, a.opt.Health); err != nil {
		return fmt.Errorf("listen for health: %w", err)
	}
	server := &http.Server{Handler: admin.Handler(a.ready), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	a.background("health", func(context.Context) error { return server.Serve(a.health) })
	a.later("health", func(context.Context) error { return server.Close() })
	return nil
}

// followCertificates lets a source that has to be driven run.
func (a *App) followCertificates(ctx context.Context) error {
	if s, ok := a.opt.Certificates.(interface{ Run(context.Context) error }); ok {
		return s.Run(ctx)
	}
	return nil
}

// followRevocations ends the tunnels of peers that are revoked while they are connected.
func (a *App) followRevocations() {
	r, ok := a.opt.Certificates.(interface {
		OnChange(call func())
		Check(chain []*x509.Certificate) error
	})
	if !ok {
		return
	}
	r.OnChange(func() {
		a.server.Recheck(r.Check)
		a.pool.Recheck(r.Check)

	})
}

// waitForCertificates blocks until there is a certificate, and returns the trust domains to accept: our own first.
func (a *App) waitForCertificates(ctx context.Context) ([]identity.TrustDomain, error) {
	a.ready.Check(hasCertificates, func() error { _, err := a.opt.Certificates.Current(); return err })
	waiting, began := false, time.Now()
	for {
		m, err := a.opt.Certificates.Current()
		if err == nil {
			own := a.opt.TrustDomain
			if own.IsZero() {
				own = m.ID.TrustDomain()
			}
			return append([]identity.TrustDomain{own}, a.opt.TrustDomainAliases...), nil
		}
		if !waiting && (a.opt.Cluster == nil || time.Since(began) > time.Second) { // istiod's CA takes a moment
			a.opt.Log.Warn("waiting for a certificate", "cause", err)
			waiting = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no certificate: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// followConfiguration swaps in each new configuration and judges what is under way again.
func (a *App) followConfiguration(deps ruleset.Deps) func(context.Context) error {
	return func(ctx context.Context) error {
		w := &config.Watch{Dir: a.opt.ConfigDir, Current: a.config, Log: a.opt.Log, Poll: a.opt.Poll}
		w.Apply = func(c *config.Config) error {
			rules, err := ruleset.Build(c, deps)
			if err != nil {
				return err
			}
			a.enforce(ctx, rules)
			return nil
		}
		return w.Run(ctx)
	}
}

// Addr is where tunnels are accepted.
func (a *App) Addr() netip.AddrPort { return addrOf(a.hbone) }

// HealthAddr is where the probes are answered; zero if nowhere.
func (a *App) HealthAddr() netip.AddrPort { return addrOf(a.health) }

// Rules is the snapshot in force.
func (a *App) Rules() proxy.Rules { return a.rules.Load().Rules }

// Wait returns when ctx ends, with nil, or when a part of the waypoint failed.
func (a *App) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.failed:
		return err
	}
}

// Stop says that the waypoint is not ready any more, lets calls in flight finish until ctx ends, cuts the rest and waits for
// everything it started. It may be called more than once.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return a.undo(ctx)
	}
	a.ready.Undo(notDraining)
	drained := make(chan error, 1)
	go func() { drained <- a.proxy.Drain(ctx) }()
	err := a.server.Shutdown(ctx)
	if derr := <-drained; derr != nil && err == nil {
		err = derr
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		a.opt.Log.Warn("calls were cut at the end of the drain")
		err = nil
	}
	return errors.Join(err, a.undo(context.WithoutCancel(ctx)))
}

// later registers what undoes a step.
func (a *App) later(name string, do func(context.Context) error) {
	a.cleanups = append(a.cleanups, cleanup{name, do})
}

// background runs f until the app stops. Its failure ends Wait.
func (a *App) background(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := f(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, hbone.ErrServerClosed) && !errors.Is(err, http.ErrServerClosed) {
			select {
			case a.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
	a.later(name+" to end", func(context.Context) error { cancel(); <-done; return nil })
}

// undo runs the cleanups, last registered first.
func (a *App) undo(ctx context.Context) error {
	var errs []error
	for len(a.cleanups) > 0 {
		c := a.cleanups[len(a.cleanups)-1]
		a.cleanups = a.cleanups[:len(a.cleanups)-1]
		if err := c.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

func addrOf(l net.Listener) netip.AddrPort {
	if l == nil {
		return netip.AddrPort{}
	}
	a, _ := l.Addr().(*net.TCPAddr)
	return a.AddrPort()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
