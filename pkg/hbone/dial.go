package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// connecting is one attempt to connect, shared by everybody who waits for it.
type connecting struct {
	done  chan struct{}
	err   error // of type *DialError; set before done is closed
	phase atomic.Value
}

func newConnecting() *connecting {
	c := &connecting{done: make(chan struct{})}
	c.phase.Store(PhaseTCP)
	return c
}

func (c *connecting) reached() Phase { return c.phase.Load().(Phase) }

// connect makes a connection, offers it to the group, and runs it to its end. It belongs to the pool and not to the
// Dial that caused it: others wait for it as well.
func (p *Pool) connect(key poolKey, g *group, pending *connecting, m *certs.Material, expect identity.Matcher) {
	defer p.wg.Done()
	s, ended, err := p.establish(key, pending, m, expect)
	p.mu.Lock()
	g.connecting = nil
	if err != nil {
		pending.err = &DialError{Phase: pending.reached(), Addr: key.addr, Err: err}
		p.forget(key, g, nil)
	} else {
		g.sessions = append(g.sessions, s)
		if p.closed || p.own != key.own {
			s.drain()
		}
		s.watchIdle() // whoever wanted it may have given up meanwhile
	}
	close(pending.done)
	p.mu.Unlock()
	if err != nil {
		return
	}
	why := <-ended
	p.config.Log.Debug("connection closed", "remote", key.addr, "peer", s.peer, "error", why)
	p.mu.Lock()
	delete(p.live, s)
	p.forget(key, g, s)
	p.mu.Unlock()
}

// forget drops a connection that has ended, and its group when nothing is left of it.
func (p *Pool) forget(key poolKey, g *group, s *session) {
	g.sessions = slices.DeleteFunc(g.sessions, func(o *session) bool { return o == s })
	if len(g.sessions) == 0 && g.connecting == nil && p.groups[key] == g {
		delete(p.groups, key)
	}
}

// establish goes through the phases of a connect. The reason of the end follows on the channel.
func (p *Pool) establish(key poolKey, pending *connecting, m *certs.Material, expect identity.Matcher,
) (*session, <-chan error, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.config.Limits.Dial)
	defer cancel()
	conn, err := p.config.Dial(ctx, key.addr)
	if err != nil {
		return nil, nil, err
	}
	tune(conn)
	return p.handshake(conn, pending, m, expect)
}

// handshake turns a connection into a session that is registered. The peer's SETTINGS are waited for: only then is it
// certain that the peer accepted our certificate, and how many tunnels it allows. If it fails, it has closed conn.
func (p *Pool) handshake(conn net.Conn, pending *connecting, m *certs.Material, expect identity.Matcher,
) (*session, <-chan error, error) {
	limits := p.config.Limits
	conn.SetDeadline(time.Now().Add(limits.Handshake))
	stop := context.AfterFunc(p.ctx, func() { conn.Close() })
	defer stop()

	pending.phase.Store(PhaseTLS)
	w := &wire{Conn: conn}
	tc := tls.Client(w, certs.ClientConfig(certs.Static(m), expect))
	if err := tc.Handshake(); err != nil {
		conn.Close()
		pending.phase.Store(tlsPhase(err))
		return nil, nil, err
	}
	pending.phase.Store(PhaseHTTP2)
	s := newSession(client{}, false, tc, w, limits, p.config.Now, p.config.Log)
	s.chain = tc.ConnectionState().PeerCertificates
	var err error
	if s.peer, err = identity.FromCertificate(s.chain[0]); err != nil {
		conn.Close()
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.run() }() // the caller, or we, receive the result
	select {
	case <-s.ready:
	case <-s.done:
		if isAlert(s.err) {
			pending.phase.Store(PhaseTLS)
		}
		return nil, nil, <-ended
	}
	if s.capacity() == 0 {
		err = errors.New("peer allows no streams")
		s.fail(errShutdown)
	} else if err = p.register(s); err != nil {
		pending.phase.Store(PhaseTLS)
		s.fail(err)
	}
	if err != nil {
		<-ended
		p.mu.Lock()
		delete(p.live, s)
		p.mu.Unlock()
		return nil, nil, err
	}
	return s, ended, nil
}

// client is the role of a connection that we opened.
type client struct{}

// headers takes the answer to a CONNECT.
func (client) headers(s *session, id uint32, end bool, h *headerBlock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.isIdle(id) {
		return protocolError("HEADERS on an idle stream")
	}
	c := s.streams[id]
	if c == nil || c.recvEnd || c.status != 0 {
		return s.lateHeaders(id)
	}
	status, ok := responseStatus(h)
	switch {
	case !ok || status < 200 && end:
		return s.resetByPeerFault(c, http2.ErrCodeProtocol)
	case status < 200:
		return s.spend(1, "interim response")
	}
	c.status, c.fields = status, h.regular()
	if end {
		c.peerEnded()
	}
	c.rcond.Broadcast()
	return nil
}

func responseStatus(h *headerBlock) (int, bool) {
	if h.invalid != "" || h.over || h.pseudo != 1 || h.fields[0].Name != ":status" || len(h.fields[0].Value) != 3 {
		return 0, false
	}
	n := 0
	for _, d := range []byte(h.fields[0].Value) {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, n >= 100 && n != http.StatusSwitchingProtocols
}

// vacant starts the idle timer.
func (client) vacant(s *session) {
	if s.idle == nil {
		s.idle = time.AfterFunc(s.limits.Idle, s.endIfIdle)
		return
	}
	s.idle.Reset(s.limits.Idle)
}

// watchIdle starts the idle timer of a connection that has no tunnel yet.
func (s *session) watchIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endIfVacant()
}

func (s *session) endIfIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == 0 {
		s.failLocked(errIdle)
	}
}

// capacity is how many more tunnels the connection takes.
func (s *session) capacity() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room()
}

func (s *session) room() int {
	if s.err != nil || s.draining || s.lastID >= 1<<31-3 {
		return 0
	}
	return max(0, int(min(s.limits.StreamsPerConn, s.peerStreams))-len(s.streams))
}

// connectBlock is a CONNECT ready to be encoded.
type connectBlock struct {
	authority string
	fields    []hpack.HeaderField
}

func connectFields(t Target) (connectBlock, error) {
	if _, _, _, err := ParseAuthority(t.Authority); err != nil {
		return connectBlock{}, err
	}
	fields := make([]hpack.HeaderField, 0, 2+len(t.Header))
	fields = append(fields,
		hpack.HeaderField{Name: ":method", Value: http.MethodConnect},
		hpack.HeaderField{Name: ":authority", Value: t.Authority})
	fields, err := appendFields(fields, t.Header)
	return connectBlock{t.Authority, fields}, err
}

// open sends a CONNECT, or returns nil if the connection has no room.
func (s *session) open(b connectBlock) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room() == 0 {
		return nil
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	s.lastID += 1 + s.lastID%2 // 1, 3, 5, …
	c := s.newConn(s.lastID)
	c.authority = b.authority
	s.appendHeaders(c.id, false, b.fields)
	s.kick()
	return c
}

// await waits for the answer. It reports whether the CONNECT can be tried elsewhere.
func (c *Conn) await(ctx context.Context, addr netip.AddrPort) (retry bool, err error) {
	s := c.s
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.rcond.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c.status == 0 && c.rerr == nil && ctx.Err() == nil {
		c.rcond.Wait()
	}
	switch {
	case c.status == http.StatusOK:
		return false, nil
	case c.status != 0:
		c.hangUp()
		return false, &DialError{Phase: PhaseRefused, Status: c.status, Addr: addr}
	case c.rerr != nil:
		return c.retryable, &DialError{Phase: PhaseHTTP2, Addr: addr, Err: c.rerr}
	}
	c.abandon(ctx.Err())
	return false, &DialError{Phase: PhaseHTTP2, Addr: addr, Err: fmt.Errorf("no answer to CONNECT: %w", ctx.Err())}
}

// hangUp ends a stream whose CONNECT was refused.
func (c *Conn) hangUp() {
	switch {
	case !c.open:
	case c.recvEnd:
		c.sendEnd()
		c.s.kick()
	default:
		c.reset(http2.ErrCodeInternal, errClosed)
	}
	c.discardInput()
}

// abandon gives up a CONNECT without an answer. A peer counts such streams, and may close a connection with too many of
// them and all tunnels on it; the connection is retired before.
func (c *Conn) abandon(cause error) {
	s := c.s
	if !c.open {
		return
	}
	c.reset(http2.ErrCodeInternal, cause)
	c.discardInput()
	if s.abandoned++; s.abandoned >= maxAbandoned {
		s.draining = true
		s.endIfVacant()
	}
}
