package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
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
}

// Proxy carries tunnels to their destinations. Its Serve method is an hbone handler.
type Proxy struct {
	cfg       Config
	inner     *innerServer
	upstream  *upstream
	live      *liveSet
	held      *session.Table
	endpoints endpoints
	seen      *census
	draining  atomic.Bool
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
	p := &Proxy{cfg: cfg, live: newLiveSet(), endpoints: endpoints{open: map[session.Key][]*endpoint{}}, seen: newCensus()}
	p.held = session.New(cfg.Held, cfg.Now, p.evicted)
	p.upstream = newUpstream(p.dialEndpoint)
	p.inner = newInnerServer(p.serveHTTP, cfg.Log)
	return p
}

// Serve carries one tunnel until it ends. It is the Handler of the HBONE server.
func (p *Proxy) Serve(r *hbone.Request) {
	p.tunnels.Add(1)
	defer p.tunnels.Done()
	t := &tunnel{
		peer:      r.Peer(),
		source:    r.RemoteAddr(),
		authority: r.Authority(),
		proxy:     p,
	}
	if p.draining.Load() {
		_ = r.Refuse(http.StatusServiceUnavailable)
		return
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

// Reconsider judges every live exchange and raw connection again after the rules changed, and cuts those the standing
// stages now refuse, unless their port only observes.
func (p *Proxy) Reconsider(ctx context.Context) {
	rules := p.cfg.Rules()
	p.live.each(func(e *liveCall) {
		pipe := rules.Pipeline(e.call.Route.Service)
		if dest, err := e.tunnel.resolve(rules); err == nil && dest.Mode == mesh.Observe {
			return
		}
		for _, c := range append([]*call.Call{e.call}, p.live.parts(e)...) {
			o := &policy.Outcome{Call: c, Verdict: policy.Verdict{Action: policy.Pass}}
			if !pipe.Recheck(ctx, o) {
				e.cut(&revokedError{o.Verdict, o.Stage})
				return
			}
		}
	})
}

// Drain tells inner HTTP clients to take new connections elsewhere and waits for exchanges in flight until ctx ends.
func (p *Proxy) Drain(ctx context.Context) error {
	p.draining.Store(true)
	return p.inner.drain(ctx)
}

// Close ends what is still running and waits for it.
func (p *Proxy) Close() error {
	err := p.inner.close()
	p.live.each(func(e *liveCall) { e.cut(errClosing) })
	p.tunnels.Wait()
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

// newCall starts the record of one exchange on this tunnel.
func (t *tunnel) newCall(dest *mesh.Destination) *call.Call {
	return &call.Call{
		ID:        newID(),
		Received:  t.proxy.cfg.Now(),
		Direction: call.ToServer,
		Principal: t.peer,
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
