package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// ServerConfig says what a [Server] needs. Certificates, Trust and Handler are required.
type ServerConfig struct {
	Certificates certs.Source
	Trust        identity.Matcher // which client identities may connect at all
	Handler      func(*Request)   // called on a goroutine of its own per CONNECT; must Accept or Refuse
	Log          *slog.Logger     // nil discards
	Limits       Limits
	Settle       time.Duration    // how long Shutdown goes on accepting, until everybody has heard of it
	Now          func() time.Time // nil means time.Now; used to count floods
}

// Server accepts HBONE connections and hands out their tunnels.
type Server struct {
	config  ServerConfig
	tls     *tls.Config
	waiting waiting
	wg      sync.WaitGroup // connections, from accept to end

	mu        sync.Mutex
	closed    bool // no more connections are accepted
	cutting   bool // and none is left
	check     checkPeer
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
}

// NewServer makes a server; it does not listen.
func NewServer(c ServerConfig) *Server {
	c.Limits = c.Limits.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Server{
		config:    c,
		tls:       certs.ServerConfig(c.Certificates, c.Trust),
		waiting:   waiting{limit: c.Limits.Handshakes},
		listeners: make(map[net.Listener]struct{}),
		sessions:  make(map[*session]struct{}),
	}
}

// Serve accepts connections until the listener fails, or until Shutdown or Close, and then returns [ErrServerClosed]. It
// closes the listener.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return ErrServerClosed
	}
	defer s.untrack(l)
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.admit(conn)
			continue
		}
		if s.isClosed() {
			return ErrServerClosed
		}
		if !temporary(err) {
			return fmt.Errorf("hbone: accept: %w", err)
		}
		// Out of descriptors, or a connection that was reset while it waited: neither is a reason to stop.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.config.Log.Warn("accept failed, trying again", "error", err, "pause", pause)
		time.Sleep(pause)
	}
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// admit starts serving a connection. The deadline of the handshake runs from here, before the first byte.
func (s *Server) admit(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Now().Add(s.config.Limits.Handshake))
	tune(conn)
	place := s.waiting.add(conn)
	s.wg.Add(1)
	go s.serveConn(conn, place)
}

// tune sets TCP keep-alive; crypto/tls and net already disable Nagle's algorithm.
func tune(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: keepAlivePeriod, Interval: keepAlivePeriod, Count: keepAliveProbes,
		})
	}
}

func (s *Server) serveConn(conn net.Conn, place *place) {
	defer s.wg.Done()
	defer s.waiting.remove(place)
	log := s.config.Log.With("remote", conn.RemoteAddr().String())
	ss, err := s.handshake(conn, log)
	if err != nil {
		conn.Close()
		log.Debug("handshake failed", "error", err)
		return
	}
	ss.onReady = func() { s.waiting.remove(place) }
	if err := s.register(ss); err != nil {
		ss.fail(err)
	}
	defer s.unregister(ss)
	s.report(log.With("peer", ss.peer), ss.run())
}

// report logs why a connection ended: a flood or a broken protocol at Warn, for the operator of that peer.
func (s *Server) report(log *slog.Logger, err error) {
	var ce *connError
	if errors.As(err, &ce) {
		log.Warn("connection closed: peer broke the protocol or its limits", "error", err)
		return
	}
	log.Debug("connection closed", "error", err)
}

func (s *Server) handshake(conn net.Conn, log *slog.Logger) (*session, error) {
	w := &wire{Conn: conn}
	tc := tls.Server(w, s.tls)
	if err := tc.Handshake(); err != nil { // bounded by the deadline that admit set
		return nil, err
	}
	chain := tc.ConnectionState().PeerCertificates
	peer, err := identity.FromCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	ss := newSession(s, true, tc, w, s.config.Limits, s.config.Now, log)
	ss.peer, ss.chain = peer, chain
	return ss, nil
}

func (s *Server) unregister(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
}

// headers opens a stream (role).
func (s *Server) headers(ss *session, id uint32, end bool, h *headerBlock) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	switch {
	case ss.err != nil:
		return ss.err
	case id%2 == 0:
		return protocolError("client opened a stream with an even id")
	case id <= ss.lastID:
		return ss.lateHeaders(id)
	}
	ss.lastID = id
	switch {
	case ss.noticed: // the peer knows from our GOAWAY that this stream is not processed
		ss.remember(id, int64(ss.limits.StreamWindow))
		return ss.spend(1, "HEADERS after GOAWAY")
	case h.invalid != "":
		ss.turnAway(id, http2.ErrCodeProtocol)
		return ss.spendReset(h.invalid)
	case ss.running >= int(ss.limits.MaxStreams):
		// Handlers count, not streams: a stream that was reset keeps its place until its handler is done, so that
		// rapid resets start no more work than patient streams would (CVE-2023-44487).
		ss.turnAway(id, http2.ErrCodeRefusedStream)
		return ss.spend(1, "HEADERS beyond MAX_CONCURRENT_STREAMS")
	}
	authority, status := checkConnect(h)
	if status != http.StatusOK {
		ss.refuse(id, status, end, int64(ss.limits.StreamWindow))
		return nil
	}
	c := ss.newConn(id)
	c.authority, c.fields = authority, h.regular()
	if end {
		c.peerEnded()
	}
	ss.running++
	ss.tasks.Add(1)
	go s.handle(c)
	return nil
}

// turnAway resets a stream that was never opened here.
func (s *session) turnAway(id uint32, code http2.ErrCode) {
	s.frame().WriteRSTStream(id, code)
	s.remember(id, int64(s.limits.StreamWindow))
	s.kick()
}

// lateHeaders judges a header block for a stream that exists or existed: a tunnel has no trailers (RFC 9113, section
// 8.5).
func (s *session) lateHeaders(id uint32) error {
	c := s.streams[id]
	switch {
	case c != nil && c.recvEnd:
		return s.resetByPeerFault(c, http2.ErrCodeStreamClosed)
	case c != nil:
		return s.resetByPeerFault(c, http2.ErrCodeProtocol)
	case s.wasAborted(id) != nil:
		return s.spend(1, "HEADERS on a stream that was reset")
	}
	return &connError{http2.ErrCodeStreamClosed, "HEADERS on a closed stream"}
}

// handle runs the handler of one stream. Whatever happens in it stays in this stream.
func (s *Server) handle(c *Conn) {
	ss := c.s
	defer ss.tasks.Done()
	defer func() {
		if v := recover(); v != nil {
			ss.log.Error("handler panicked", "authority", c.authority, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		c.req.Refuse(http.StatusInternalServerError) // does nothing if the handler answered
		c.Abort(errHandlerGone)
		ss.mu.Lock()
		ss.running--
		ss.mu.Unlock()
	}()
	s.config.Handler(&c.req)
}

// vacant implements role: a server leaves idle connections to the client (contract ambient 4.4).
func (s *Server) vacant(*session) {}

// Shutdown accepts for the settle time, then stops, tells every peer to open no more tunnels, and waits until all tunnels
// have ended. Tunnels that are on their way while a peer is told are served. When ctx ends first, the remaining ones are cut
// and the error of ctx is returned. Handlers must not call it: it waits for them.
func (s *Server) Shutdown(ctx context.Context) error {
	settled := time.NewTimer(s.config.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
	}
	for _, ss := range s.stop() {
		ss.drain()
	}
	late := time.AfterFunc(drainNotice, s.waiting.closeAll) // a handshake takes milliseconds
	defer late.Stop()
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.cut()
		<-ended
		return ctx.Err()
	}
}

// Close cuts everything and waits for handlers to return. It may be called more than once.
func (s *Server) Close() error {
	s.stop()
	s.cut()
	s.wg.Wait()
	return nil
}

// stop closes the listeners and returns the connections. Those whose handshake is under way are told when it is over.
func (s *Server) stop() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	return s.list()
}

func (s *Server) cut() {
	s.mu.Lock()
	s.cutting = true
	all := s.list()
	s.mu.Unlock()
	s.waiting.closeAll()
	for _, ss := range all {
		ss.fail(errShutdown)
	}
}

func (s *Server) list() []*session {
	all := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		all = append(all, ss)
	}
	return all
}
