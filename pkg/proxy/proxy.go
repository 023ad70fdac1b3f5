package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/session"
)

// Rules is one immutable snapshot of configuration: where authorities lead and how calls to a service are judged.
type Rules interface {
	Generation() string
	View() mesh.View
	Pipeline(call.Service) *policy.Pipeline
}

// Dialer opens tunnels to workloads; *hbone.Pool is one.
type Dialer interface {
	Dial(ctx context.Context, t hbone.Target) (*hbone.Conn, error)
	DialThrough(ctx context.Context, outer, inner hbone.Target) (*hbone.Conn, error)
}

// Config is what a Proxy needs. Rules is called once per exchange and must be cheap.
type Config struct {
	Rules   func() Rules
	Tunnels Dialer
	Log     *slog.Logger
	Now     func() time.Time // nil means time.Now
	Sniff   time.Duration    // how long an undeclared port waits for the client's first byte; 0 means DefaultSniff
	Held    session.Limits   // what callers may hold open; zero fields are the defaults
	Event   time.Duration    // how long an event or an answer that has begun may take to arrive; 0 means DefaultEvent
	Settle  time.Duration    // how long a drain goes on as if nothing were, until everybody has heard of it
	Leave   time.Duration    // how long a connection may be idle in a drain; 0 means DefaultLeave

	// Lookup resolves the host of an endpoint that is a name; nil asks the system. Loopback lets such a name lead to this
	// machine: on a laptop it may, in a pod there is nothing but the waypoint itself.
	Lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
	Loopback bool

	TrustDomainOnly bool   // accept any identity of our trust domains at a workload's tunnel (contract ambient, section 10)
	Network         string // ours, for gateways to other networks; "" if there is only one
}

// Proxy carries tunnels to their destinations. Its Serve method is an hbone handler.
type Proxy struct {
	cfg       Config
	inner     *innerServer
	upstream  *connections
	live      *liveSet
	held      *session.Table
	endpoints endpoints
	seen      *census
	tunnels   sync.WaitGroup
}

// New allocates a Proxy and starts the inner HTTP server. Close releases it.
func New(cfg Config) *Proxy {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sniff == 0 {
		cfg.Sniff = DefaultSniff
	}
	if cfg.Event == 0 {
		cfg.Event = DefaultEvent
	}
	if cfg.Lookup == nil {
		cfg.Lookup = lookup
	}
	p := &Proxy{cfg: cfg, live: newLiveSet(), endpoints: endpoints{open: map[session.Key][]*endpoint{}}, seen: newCensus()}
	p.held = session.New(cfg.Held, cfg.Now, p.evicted)
	p.upstream = newConnections(p.dial)
	p.inner = newInnerServer(p.serveHTTP, cfg.Log)
	if cfg.Leave > 0 {
		p.inner.patience = cfg.Leave
	}
	return p
}

// Serve carries one tunnel until it ends. It is the Handler of the HBONE server.
func (p *Proxy) Serve(r *hbone.Request) {
	p.tunnels.Add(1)
	defer p.tunnels.Done()
	t := &tunnel{
		peer:      r.Peer(),
		proof:     thumbprint(r.PeerCertificate()),
		source:    r.RemoteAddr(),
		authority: r.Authority(),
		proxy:     p,
	}
	dest, err := t.resolve(p.cfg.Rules())
	if err != nil {
		p.cfg.Log.Info("tunnel refused", "caller", t.peer, "authority", t.authority, "cause", err)
		_ = r.Refuse(refusalStatus(err))
		return
	}
	switch dest.Protocol {
	case mesh.TCP, mesh.TLS:
		p.serveRaw(r, t, dest)
	case mesh.Unknown:
		p.serveSniffed(r, t, dest)
	default:
		if conn, err := r.Accept(nil); err == nil {
			p.inner.serve(r.Context(), t, conn)
		}
	}
}

// Reconsider judges every live exchange and raw connection again after the rules or the view of the mesh changed. It cuts
// those the standing stages now refuse, unless their port only observes; and those without an end in sight whose destination
// is not behind this waypoint any more. An exchange that was sent while it was is answered.
func (p *Proxy) Reconsider(ctx context.Context) {
	rules := p.cfg.Rules()
	p.live.each(func(e *liveCall) { p.reconsider(ctx, rules, e) })
}

func (p *Proxy) reconsider(ctx context.Context, rules Rules, e *liveCall) {
	pipe := rules.Pipeline(e.call.Route.Service)
	dest, err := e.tunnel.resolve(rules)
	switch {
	case err != nil:
		if e.lasting.Load() {
			e.cut(detached(err))
		}
		return
	case dest.Mode == mesh.Observe:
		return
	}
	for _, c := range append([]*call.Call{e.call}, p.live.parts(e)...) {
		o := &policy.Outcome{Call: c, Verdict: policy.Verdict{Action: policy.Pass}}
		if !pipe.Recheck(ctx, o) {
			e.cut(&revokedError{o.Verdict, o.Stage})
			return
		}
	}
}

const (
	tokenPause    = 10 * time.Second // between two looks at a token that has ended, and counts as good while clocks may differ
	tokenGrace    = 40 * time.Second // after which they do not differ any more
	tokenJudgment = 30 * time.Second // for one look
)

// outlive judges an exchange without an end in sight again when the token ends that it was opened with: what was opened with a token
// is not to outlive it.
func (p *Proxy) outlive(e *liveCall, token *identity.Claims) {
	if token == nil || token.Expiry.IsZero() {
		return
	}
	p.live.later(e, token.Expiry.Sub(p.cfg.Now()), func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tokenJudgment)
		defer cancel()
		p.reconsider(ctx, p.cfg.Rules(), e)
		if since := p.cfg.Now().Sub(token.Expiry); since < tokenGrace {
			p.live.again(e, tokenPause)
		}
	})
}

// last says that an exchange has no end in sight: it will be cut when its destination is detached, or is cut now if it was
// detached before anybody knew that it lasts.
func (p *Proxy) last(e *liveCall) {
	e.lasting.Store(true)
	if _, err := e.tunnel.resolve(p.cfg.Rules()); err != nil {
		e.cut(detached(err))
	}
}

func detached(err error) *revokedError {
	return &revokedError{policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied, Reason: err.Error()}, "attachment"}
}

// Evict closes the HTTP connections to an address that carry no exchange, and lets the others take nothing after it: call it
// when the workload at the address has gone or become another.
func (p *Proxy) Evict(a netip.Addr) { p.upstream.evict(a) }

// Drain takes leave of callers: after the settle time each HTTP answer is the last one on its connection, or GOAWAY is said,
// and idle connections end after a while. No request is lost by it. It waits until there are none, or until ctx ends: event
// streams and the like last until then. Tunnels are accepted all the time, as the HBONE server, which is to be drained at the
// same time, decides how long there are any; raw connections end with it.
func (p *Proxy) Drain(ctx context.Context) error {
	settled := time.NewTimer(p.cfg.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
	}
	return p.inner.drain(ctx)
}

// Close ends what is still running and waits for it.
func (p *Proxy) Close() error {
	err := p.inner.close()
	p.live.each(func(e *liveCall) { e.cut(errClosing) })
	p.tunnels.Wait()
	p.live.close()
	p.upstream.close() // now that nobody opens another connection
	return err
}

var errClosing = errors.New("proxy: the waypoint is shutting down")

// revokedError ends an exchange that a change of rules no longer allows.
type revokedError struct {
	verdict policy.Verdict
	stage   string
}

func (e *revokedError) Error() string { return "proxy: no longer allowed: " + e.verdict.Reason }

// tunnel is one accepted CONNECT: who, from where, to what.
type tunnel struct {
	peer      identity.ID
	proof     string // of the peer: what tokens can be bound to
	source    netip.AddrPort
	authority string
	proxy     *Proxy

	mu      sync.Mutex
	rules   Rules
	version uint64 // of the rules' view
	dest    *mesh.Destination
	err     error
}

// resolve finds the destination under the given rules; the answer is remembered while the rules and their view stay the
// same. Beside an error it is the last one there was, nil if there never was one: records name it.
func (t *tunnel) resolve(rules Rules) (*mesh.Destination, error) {
	view := rules.View()
	version := view.Version() // before it is asked: what changes meanwhile is noticed the next time
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rules != rules || t.version != version {
		t.rules, t.version = rules, version
		dest, err := view.Resolve(t.authority)
		if t.err = err; err == nil {
			t.dest = dest
		}
	}
	return t.dest, t.err
}

// thumbprint names a certificate as tokens do that are bound to it (RFC 8705 section 3.1).
func thumbprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// origin is what a raw connection on this tunnel is opened for.
func (t *tunnel) origin(r *hbone.Request, dest *mesh.Destination) *origin {
	return &origin{service: dest.Service, caller: t.source, parent: r.Header().Get("Traceparent")}
}

// newCall starts the record of one exchange on this tunnel.
func (t *tunnel) newCall(dest *mesh.Destination) *call.Call {
	return &call.Call{
		ID:        newID(),
		Received:  t.proxy.cfg.Now(),
		Direction: call.ToServer,
		Principal: t.peer,
		Proof:     t.proof,
		Source:    t.source,
		Route:     call.Route{Name: dest.Service.String(), Service: dest.Service},
	}
}

// refused records bytes on this tunnel that never became a call.
func (t *tunnel) refused(code call.Code, status int, cause error) {
	rules := t.proxy.cfg.Rules()
	dest, _ := t.resolve(rules)
	if dest == nil {
		return
	}
	c := t.newCall(dest)
	c.Protocol = call.HTTP
	pipe := rules.Pipeline(dest.Service)
	o := pipe.Refused(c, policy.Verdict{Code: code, Reason: cause.Error()})
	o.Status = status
	pipe.Observe(context.Background(), o)
}
