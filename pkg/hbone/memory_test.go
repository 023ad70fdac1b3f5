package hbone_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// memoryListener makes connections without sockets, for tests in a synctest bubble: there time passes only when every
// goroutine waits, so that a test about ten seconds takes none and does not depend on the machine.
type memoryListener struct {
	conns chan net.Conn
	dials atomic.Int64
	once  sync.Once
	done  chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (l *memoryListener) Dial(context.Context, netip.AddrPort) (net.Conn, error) {
	l.dials.Add(1)
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// memoryMesh is a server and a client without sockets. Certificates are made inside, because the bubble has its own
// clock.
type memoryMesh struct {
	listener *memoryListener
	server   *hbone.Server
	pool     *hbone.Pool
	client   *certs.Material
	served   chan error
}

func newMemoryMesh(tb testing.TB, limits hbone.Limits, handler func(*hbone.Request)) *memoryMesh {
	tb.Helper()
	ca := certstest.NewCA(trustDomain)
	m := &memoryMesh{listener: newMemoryListener(), client: ca.Issue(clientID), served: make(chan error, 1)}
	m.server = hbone.NewServer(hbone.ServerConfig{
		Certificates: certs.Static(ca.Issue(serverID)), Trust: trust, Handler: handler, Limits: limits,
	})
	m.pool = hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(m.client), Limits: limits, Dial: m.listener.Dial})
	go func() { m.served <- m.server.Serve(m.listener) }()
	return m
}

func (m *memoryMesh) close() {
	m.pool.Close()
	m.server.Close()
	<-m.served
}

func (m *memoryMesh) dial(tb testing.TB) *hbone.Conn {
	tb.Helper()
	c, err := m.pool.Dial(context.Background(), m.target())
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (m *memoryMesh) target() hbone.Target {
	return hbone.Target{
		Addr: netip.MustParseAddrPort("192.0.2.1:15008"), Expect: []identity.ID{serverID}, Authority: "10.0.0.9:3000",
	}
}

// rawTLS returns an authenticated TLS connection to the server; wrap may interfere below TLS.
func (m *memoryMesh) rawTLS(wrap func(net.Conn) net.Conn) *tls.Conn {
	conn, err := m.listener.Dial(context.Background(), netip.AddrPort{})
	if err != nil {
		panic(err)
	}
	if wrap != nil {
		conn = wrap(conn)
	}
	return tls.Client(conn, certs.ClientConfig(certs.Static(m.client), trust))
}
