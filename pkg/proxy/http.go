package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// exchange is one inner HTTP exchange as its server sees it: head in, body in, head out, body out. It is the seam behind
// which net/http may be replaced; only this file and upstream.go look behind it.
type exchange interface {
	head() *head
	context() context.Context
	// readBody reads the whole request body within timeout, and asks grow before it keeps more of it. If it is over limit, the
	// error is errBodyTooLarge and the bytes are those that were read; body yields the rest.
	readBody(limit int64, timeout time.Duration, grow func(n int) error) ([]byte, error)
	body() io.ReadCloser
	misframed() bool // the request body broke off by its framing
	// overlap lets the answer begin while the request body is still being read. It comes before respond.
	overlap()
	inform(status int, h http.Header) // 1xx
	respond(status int, h http.Header, contentLength int64)
	Write(b []byte) (int, error)
	flush() error
	trailer(h http.Header) // after the body; names need not have been announced
	// abort ends the exchange so that the client cannot take it for complete. It does not return.
	abort()
	hijack() (*released, error)
}

// head is a request head as it came, with the framing already decided.
type head struct {
	Method        string
	Target        string // the raw request target
	Host          string
	Proto         int // 1 or 2
	Header        http.Header
	Trailer       http.Header // filled while the body is read
	ContentLength int64       // -1 if unknown, 0 if there is no body
	Expect        bool        // the client waits for 100 (Continue) before it sends the body
}

// duplex is a connection with half-close, which every tunnel stream is.
type duplex interface {
	net.Conn
	CloseWrite() error
}

var errBodyTooLarge = errors.New("proxy: request body over the limit")

// innerServer serves HTTP/1.1 and HTTP/2 without TLS on connections that come out of tunnels.
type innerServer struct {
	handle   func(exchange, *tunnel)
	log      *slog.Logger
	patience time.Duration // how long a connection may be idle in a drain
	draining atomic.Bool

	mu     sync.Mutex
	http1  *feed
	http2  *feed
	feeds  []*feed // all there ever were
	conns  map[*innerConn]struct{}
	none   chan struct{} // closed when there are no conns, if somebody waits
	closed bool
}

type tunnelKey struct{}

func newInnerServer(handle func(exchange, *tunnel), log *slog.Logger) *innerServer {
	s := &innerServer{handle: handle, log: log, patience: DefaultLeave, conns: map[*innerConn]struct{}{}}
	s.http1, s.http2 = s.feed(false), s.feed(true)
	return s
}

// feed starts a server for one version of HTTP. Each has its own because net/http takes leave of the two in different ways,
// and only one of them is good (drain.go). Called with mu held, or before anybody else knows of s.
func (s *innerServer) feed(http2 bool) *feed {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	f := newFeed(&http.Server{
		Handler: http.HandlerFunc(s.serveHTTP),
		ConnState: func(c net.Conn, state http.ConnState) {
			if conn, ok := c.(*innerConn); ok && state == http.StateIdle { // the answer is flushed, and nobody reads ahead any more
				conn.guard.idle()
			}
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, tunnelKey{}, c))
			context.AfterFunc(c.(*innerConn).ctx, cancel) // net/http does not read, and does not notice, while a body waits
			return ctx
		},
		Protocols:      &protocols,
		MaxHeaderBytes: maxHeadBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          innerStreams,
			MaxReadFrameSize:              innerFrame,
			MaxReceiveBufferPerStream:     innerStreamWindow,
			MaxReceiveBufferPerConnection: innerConnWindow,
			SendPingTimeout:               innerPing,
		},
		IdleTimeout:                  s.idleTimeout(),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	})
	s.feeds = append(s.feeds, f)
	return f
}

func (s *innerServer) serveHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(tunnelKey{}).(*innerConn)
	x := &netHTTP{w: w, r: r, conn: conn}
	defer x.recover(s.log)
	if !conn.enter() {
		x.abort()
	}
	defer conn.leave()
	s.handle(x, conn.tunnel)
}

// serve hands a connection to the server of its HTTP version, and waits until it is closed and its exchanges are on record.
func (s *innerServer) serve(ctx context.Context, t *tunnel, c duplex) {
	conn := newInnerConn(ctx, c, t)
	conn.leaving = &s.draining
	if !s.add(conn) {
		conn.cut()
		return
	}
	defer s.remove(conn)
	http2, err := conn.guard.begin()
	if http2 {
		s.canNotice(conn)
	}
	if err != nil || !s.hand(ctx, conn, http2) {
		_ = conn.Close()
	}
	<-conn.over
}

// hand reports whether a server took the connection.
func (s *innerServer) hand(ctx context.Context, conn *innerConn, http2 bool) bool {
	for {
		f := s.current(http2)
		if f == nil {
			return false
		}
		select {
		case f.conns <- conn:
			return true
		case <-f.stop: // a drain has put another one in its place, or there is none any more
		case <-ctx.Done():
			return false
		}
	}
}

func (s *innerServer) current(http2 bool) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil
	case http2:
		return s.http2
	}
	return s.http1
}

func (s *innerServer) add(conn *innerConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	if s.draining.Load() {
		conn.guard.leave(s.patience)
	}
	return true
}

// canNotice makes an HTTP/2 connection one that can be given notice, before net/http sees it.
func (s *innerServer) canNotice(conn *innerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.notices = &noticed{duplex: conn.duplex, wanted: s.draining.Load()}
	conn.duplex = conn.notices
}

func (s *innerServer) remove(conn *innerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if len(s.conns) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// close ends all connections. Answers that are incomplete look it.
func (s *innerServer) close() error {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.cut()
	}
	feeds := s.feeds
	s.mu.Unlock()
	var errs []error
	for _, f := range feeds {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// netHTTP is an exchange over net/http.
type netHTTP struct {
	w    http.ResponseWriter
	r    *http.Request
	conn *innerConn
}

func (x *netHTTP) context() context.Context { return x.r.Context() }
func (x *netHTTP) body() io.ReadCloser      { return x.r.Body }

func (x *netHTTP) head() *head {
	r := x.r
	h := &head{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.ProtoMajor, Header: r.Header,
		Trailer: r.Trailer, ContentLength: r.ContentLength,
		Expect: len(r.Header["Expect"]) > 0,
	}
	return h
}

func (x *netHTTP) readBody(limit int64, timeout time.Duration, grow func(int) error) ([]byte, error) {
	if x.r.ContentLength > limit {
		return nil, errBodyTooLarge
	}
	if x.r.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(timeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	// The buffer grows with what arrives, not with what was announced: a thousand callers who announce 4 MiB and send
	// nothing hold nothing.
	b := make([]byte, 0, min(max(x.r.ContentLength, 512), firstRead))
	for int64(len(b)) <= limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := x.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err := grow(n); err != nil {
			return nil, err
		}
		switch {
		case err == io.EOF && int64(len(b)) <= limit:
			return b, nil
		case err != nil && err != io.EOF:
			return b, err
		case err == io.EOF:
			return b, errBodyTooLarge
		}
	}
	return b, errBodyTooLarge
}

func (x *netHTTP) misframed() bool { return x.conn.guard.misframed.Load() }

func (x *netHTTP) overlap() { _ = http.NewResponseController(x.w).EnableFullDuplex() } // HTTP/2 always does

func (x *netHTTP) inform(status int, h http.Header) {
	if !x.r.ProtoAtLeast(1, 1) { // HTTP/1.0 has no interim answers (RFC 9110, section 15.2)
		return
	}
	out := x.w.Header()
	for k, v := range h {
		out[k] = v
	}
	x.w.WriteHeader(status)
	clear(out)
}

func (x *netHTTP) respond(status int, h http.Header, contentLength int64) {
	out := x.w.Header()
	for k, v := range h {
		out[k] = v
	}
	// net/http would add these where the upstream said nothing; what it did not say, we do not say.
	for _, k := range []string{"Content-Type", "Date"} {
		if _, ok := out[k]; !ok {
			out[k] = nil
		}
	}
	if contentLength >= 0 && bodyAllowed(status) {
		out["Content-Length"] = []string{itoa(contentLength)}
	}
	if x.r.ProtoMajor == 1 && x.conn.leaving.Load() {
		out["Connection"] = []string{"close"}
	}
	x.w.WriteHeader(status)
}

func (x *netHTTP) Write(b []byte) (int, error) { return x.w.Write(b) }

func (x *netHTTP) flush() error { return http.NewResponseController(x.w).Flush() }

func (x *netHTTP) trailer(h http.Header) {
	out := x.w.Header()
	for k, v := range h {
		out[http.TrailerPrefix+k] = v
	}
}

func (x *netHTTP) abort() {
	if x.r.ProtoMajor == 1 {
		x.conn.aborted.Store(true)
	}
	panic(http.ErrAbortHandler)
}

// recover ends an exchange that panicked as one that was aborted: half an answer must not look whole.
func (x *netHTTP) recover(log *slog.Logger) {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler {
		log.Error("exchange panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
	x.abort()
}

func (x *netHTTP) hijack() (*released, error) {
	h, ok := x.w.(http.Hijacker)
	if !ok {
		return nil, errors.New("proxy: HTTP/2 streams cannot be upgraded")
	}
	conn, rw, err := h.Hijack()
	if err != nil {
		return nil, err
	}
	if rw.Reader.Buffered() > 0 { // the client spoke before it knew that the upgrade was accepted
		_ = conn.Close()
		return nil, errors.New("proxy: bytes before the upgrade was accepted")
	}
	return x.conn.release(), nil
}

func bodyAllowed(status int) bool { return status >= 200 && status != 204 && status != 304 }
