package proxy

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// drain takes leave of callers without losing a request of theirs, as no caller can be expected to try again.
//
// HTTP/1 has no way to refuse a request that is on its way: a server that closes an idle connection may close it under one.
// net/http does that at once in Shutdown. We leave the connection open until its next answer, which says "Connection: close";
// or until it has been idle for so long that a request in the very moment of closing is unlikely; or until ctx ends. On HTTP/2
// we give notice, serve what comes all the same, and then let net/http say GOAWAY.
//
// Tunnels that were on their way here are served as well. The HBONE server decides when there are no more.
func (s *innerServer) drain(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.draining.Store(true)
	old := s.http2
	s.http2 = s.feed(true)
	for conn := range s.conns {
		conn.guard.leave(s.patience)
		if conn.notices != nil {
			go conn.notices.notice()
		}
	}
	s.mu.Unlock()
	last := time.AfterFunc(noticeTime, old.goAway)
	defer last.Stop()
	return s.wait(ctx)
}

// wait returns when there are no connections.
func (s *innerServer) wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.none == nil {
		s.none = make(chan struct{})
	}
	none := s.none
	s.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// idleTimeout is net/http's, for connections that come while we drain.
func (s *innerServer) idleTimeout() time.Duration {
	if s.draining.Load() {
		return s.patience
	}
	return 0
}

// feed is an http.Server that is its own listener: connections come from tunnels, not from a socket.
type feed struct {
	http  *http.Server
	conns chan net.Conn
	stop  chan struct{} // closed by Close, which http.Server calls
	done  chan struct{} // closed when run has ended
	once  sync.Once
}

func newFeed(s *http.Server) *feed {
	f := &feed{http: s, conns: make(chan net.Conn), stop: make(chan struct{}), done: make(chan struct{})}
	go f.run()
	return f
}

func (f *feed) run() {
	defer close(f.done)
	_ = f.http.Serve(f) // ends with ErrServerClosed, by goAway or close
}

// goAway lets an HTTP/2 server send GOAWAY on all connections. It does not wait for them.
func (f *feed) goAway() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = f.http.Shutdown(ctx)
}

func (f *feed) close() error {
	err := f.http.Close()
	<-f.done
	return err
}

// Accept, Close and Addr implement net.Listener.
func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.stop:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error { f.once.Do(func() { close(f.stop) }); return nil }

func (f *feed) Addr() net.Addr { return tunnelAddr{} }

type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "hbone" }
func (tunnelAddr) String() string  { return "tunnel" }
