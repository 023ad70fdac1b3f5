package hbone

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// Target names a tunnel to open: the peer to connect to, who it must prove to be, and the destination behind it.
type Target struct {
	Addr            netip.AddrPort // of the peer, for example podIP:15008
	Expect          []identity.ID  // the peer must prove to be one of them
	TrustDomainOnly bool           // without Expect: anybody whom the pool's Trust accepts
	Authority       string         // destination, as in [ParseAuthority]
	Header          http.Header    // further CONNECT fields; may be nil
}

// PoolConfig says what a [Pool] needs. Certificates is required, Trust only for targets with TrustDomainOnly.
type PoolConfig struct {
	Certificates certs.Source
	Trust        identity.Matcher
	Log          *slog.Logger // nil discards
	Limits       Limits
	Dial         func(ctx context.Context, a netip.AddrPort) (net.Conn, error) // nil means net.Dialer
	Now          func() time.Time                                              // nil means time.Now
}

// Pool opens tunnels and shares connections between them: one connection per peer address, expected identities and own
// identity, as long as it has room.
type Pool struct {
	config PoolConfig
	ctx    context.Context // ends with Close; bounds connects
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	own    identity.ID // the identity that the current connections present
	groups map[poolKey]*group
	live   map[*session]struct{} // every connection, also those that take no more tunnels
	check  checkPeer             // of the latest Recheck
}

// poolKey separates connections that must not be shared: a tunnel for one expectation must not travel on a connection
// that was verified for another, nor under an identity that is no longer ours.
type poolKey struct {
	addr   netip.AddrPort
	expect string
	own    identity.ID
}

// group is the connections of one key.
type group struct {
	sessions   []*session
	connecting *connecting
}

// NewPool makes a pool without connections.
func NewPool(c PoolConfig) *Pool {
	c.Limits = c.Limits.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", a.String())
		}
	}
	p := &Pool{config: c, groups: make(map[poolKey]*group), live: make(map[*session]struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Dial opens a tunnel and returns it once the peer has answered 200. Failures are of type *[DialError]. A CONNECT which
// the peer provably did not process is tried again on another connection.
func (p *Pool) Dial(ctx context.Context, t Target) (*Conn, error) {
	fields, err := connectFields(t)
	if err != nil {
		return nil, &DialError{Phase: PhaseHTTP2, Addr: t.Addr, Err: err}
	}
	for attempt := 1; ; attempt++ {
		c, err := p.open(ctx, t, fields)
		if err != nil {
			return nil, err
		}
		retry, err := c.await(ctx, t.Addr)
		if err == nil {
			return c, nil
		}
		if !retry || attempt == dialAttempts {
			return nil, err
		}
	}
}

// open sends the CONNECT on a connection with room, making one if there is none.
func (p *Pool) open(ctx context.Context, t Target, fields connectBlock) (*Conn, error) {
	m, expect, err := p.credentials(t)
	if err != nil {
		return nil, err
	}
	key := poolKey{t.Addr, expectKey(t), m.ID}
	for {
		c, pending, err := p.tryOpen(key, m, expect, fields)
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-pending.done:
			if pending.err != nil {
				return nil, pending.err
			}
		case <-ctx.Done():
			return nil, &DialError{Phase: pending.reached(), Addr: t.Addr, Err: ctx.Err()}
		}
	}
}

func (p *Pool) credentials(t Target) (*certs.Material, identity.Matcher, error) {
	m, err := p.config.Certificates.Current()
	if err != nil {
		return nil, nil, &DialError{Phase: PhaseTLS, Addr: t.Addr, Err: err}
	}
	switch {
	case len(t.Expect) > 0:
		return m, identity.MatchOneOf(t.Expect...), nil
	case t.TrustDomainOnly && p.config.Trust != nil:
		return m, p.config.Trust, nil
	}
	err = errors.New("no identity of the peer is expected")
	return nil, nil, &DialError{Phase: PhaseIdentity, Addr: t.Addr, Err: err}
}

func expectKey(t Target) string {
	ids := make([]string, len(t.Expect))
	for i, id := range t.Expect {
		ids[i] = id.String()
	}
	if len(ids) > 1 {
		slices.Sort(ids)
	}
	return strings.Join(ids, "\n")
}

// tryOpen returns a tunnel whose CONNECT was sent, or the connect to wait for.
func (p *Pool) tryOpen(key poolKey, m *certs.Material, expect identity.Matcher, fields connectBlock,
) (*Conn, *connecting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, &DialError{Phase: PhaseTCP, Addr: key.addr, Err: ErrPoolClosed}
	}
	p.present(key.own)
	g := p.groups[key]
	if g == nil {
		g = &group{}
		p.groups[key] = g
	}
	for _, s := range g.sessions {
		if c := s.open(fields); c != nil {
			return c, nil, nil
		}
	}
	if g.connecting == nil {
		g.connecting = newConnecting()
		p.wg.Add(1)
		go p.connect(key, g, g.connecting, m, expect)
	}
	return nil, g.connecting, nil
}

// present notices a change of our own identity: connections under the old one take no more tunnels.
func (p *Pool) present(own identity.ID) {
	if p.own == own {
		return
	}
	p.own = own
	for key, g := range p.groups {
		if key.own != own {
			p.retire(key, g)
		}
	}
}

// retire takes a group's connections out of use; their tunnels go on until they end.
func (p *Pool) retire(key poolKey, g *group) {
	for _, s := range g.sessions {
		s.drain()
	}
	g.sessions = nil
	if g.connecting == nil {
		delete(p.groups, key)
	}
}

// Evict takes the connections to a pod address out of use at once: call it when the workload behind the address has
// gone or changed. Open tunnels are left to end by themselves.
func (p *Pool) Evict(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, g := range p.groups {
		if key.addr.Addr() == a {
			p.retire(key, g)
		}
	}
}

// Drain opens no more tunnels, waits until the open ones have ended, and cuts the rest when ctx ends.
func (p *Pool) Drain(ctx context.Context) {
	for _, s := range p.stop() {
		s.drain()
	}
	ended := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		p.cut()
		<-ended
	}
	p.cancel()
}

// Close cuts all tunnels and waits until nothing is left running. It may be called more than once.
func (p *Pool) Close() error {
	p.stop()
	p.cancel()
	p.cut()
	p.wg.Wait()
	return nil
}

func (p *Pool) stop() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.list()
}

func (p *Pool) cut() {
	p.cancel()
	p.mu.Lock()
	all := p.list()
	p.mu.Unlock()
	for _, s := range all {
		s.fail(errShutdown)
	}
}

func (p *Pool) list() []*session { return slices.Collect(maps.Keys(p.live)) }
