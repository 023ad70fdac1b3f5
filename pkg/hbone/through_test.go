package hbone_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

var gatewayID = identity.RequireID("spiffe://cluster.local/ns/istio-system/sa/eastwest")

// gateway is an east-west gateway: it terminates the outer tunnel and passes on, unread, what is inside.
type gateway struct {
	addr netip.AddrPort
	mu   sync.Mutex
	seen []http.Header
	open sync.WaitGroup // tunnels
}

// startGateway starts a gateway in front of one peer. It passes each tunnel on with splice; nil copies.
func startGateway(t *testing.T, peer string, splice func(tunnel *hbone.Conn, peer *net.TCPConn)) *gateway {
	t.Helper()
	g := &gateway{}
	_, g.addr = startServer(t, hbone.ServerConfig{
		Certificates: certs.Static(testCA().Issue(gatewayID)),
		Handler: func(r *hbone.Request) {
			g.open.Add(1)
			defer g.open.Done()
			g.mu.Lock()
			g.seen = append(g.seen, r.Header().Clone())
			g.mu.Unlock()
			if r.Authority() != "company.bank:3000" {
				r.Refuse(http.StatusNotFound)
				return
			}
			c, err := net.Dial("tcp", peer)
			if err != nil {
				r.Refuse(http.StatusServiceUnavailable)
				return
			}
			defer c.Close()
			tunnel, err := r.Accept(nil)
			if err != nil {
				return
			}
			if splice == nil {
				hbone.Splice(tunnel, c.(*net.TCPConn))
				return
			}
			splice(tunnel, c.(*net.TCPConn))
		},
	})
	return g
}

func (g *gateway) target() hbone.Target {
	return hbone.Target{
		Addr: g.addr, Expect: []identity.ID{gatewayID}, Authority: "company.bank:3000",
		Header: http.Header{"X-Istio-Source": {"waypoint"}},
	}
}

func inside() hbone.Target {
	return hbone.Target{
		Expect: []identity.ID{serverID}, Authority: "company.bank:3000", Header: http.Header{"X-Forwarded-Network": {"n1"}},
	}
}

// countingListener counts what it accepts.
type countingListener struct {
	net.Listener
	n atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// The outer connection is shared, each inner tunnel has its own; the peers see who is who, and each sees its own fields.
func TestDialThrough(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inner := &countingListener{Listener: l}
	var mu sync.Mutex
	var seen []http.Header
	var peers []identity.ID
	server := hbone.NewServer(hbone.ServerConfig{Certificates: certs.Static(serverMaterial()), Trust: trust, Handler: func(r *hbone.Request) {
		mu.Lock()
		seen, peers = append(seen, r.Header().Clone()), append(peers, r.Peer())
		mu.Unlock()
		echo(r)
	}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(inner) }()
	t.Cleanup(func() { server.Close(); <-served })
	g := startGateway(t, l.Addr().String(), nil)
	var connects atomic.Int64
	p := startPool(t, hbone.PoolConfig{Dial: countingDial(&connects)})
	const tunnels = 10
	conns := make([]*hbone.Conn, tunnels)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := p.DialThrough(t.Context(), g.target(), inside())
			if err != nil {
				t.Error(err)
				return
			}
			if err := exchange(c, []byte(strings.Repeat("through", 10_000))); err != nil {
				t.Error(err)
			}
			conns[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if got := connects.Load(); got != 1 {
		t.Errorf("%d connections to the gateway, want 1", got)
	}
	if got := inner.n.Load(); got != tunnels {
		t.Errorf("%d inner connections, want %d", got, tunnels)
	}
	if got := conns[0].Peer(); got != serverID {
		t.Errorf("the peer is %s, want %s", got, serverID)
	}
	mu.Lock()
	if peers[0] != clientID || seen[0].Get("X-Forwarded-Network") != "n1" || seen[0].Get("X-Istio-Source") != "" {
		t.Errorf("the inner peer saw %s and %v", peers[0], seen[0])
	}
	mu.Unlock()
	g.mu.Lock()
	if g.seen[0].Get("X-Istio-Source") != "waypoint" || g.seen[0].Get("X-Forwarded-Network") != "" {
		t.Errorf("the gateway saw %v", g.seen[0])
	}
	g.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	g.open.Wait() // closing ended the outer tunnels
}

// Each direction ends by itself, as in a tunnel that is not inside another.
func TestDialThroughHalfClose(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		got, err := io.ReadAll(c) // to our CloseWrite
		io.WriteString(c, "got "+string(got))
		if err == nil {
			c.CloseWrite()
		}
	}})
	g := startGateway(t, addr.String(), nil)
	c, err := startPool(t, hbone.PoolConfig{}).DialThrough(t.Context(), g.target(), inside())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "half")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "got half" {
		t.Errorf("got %q, %v", got, err)
	}
	g.open.Wait() // both directions have ended: nobody needs to close anything
}

// What ends abnormally never looks clean, whoever ended it.
func TestDialThroughAbnormalEnds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(*hbone.Request)
		splice  func(*hbone.Conn, *net.TCPConn)
		reset   bool
	}{
		{name: "the peer aborts", reset: true, handler: func(r *hbone.Request) {
			c, _ := r.Accept(nil)
			io.ReadFull(c, make([]byte, 1))
			io.WriteString(c, "half an answer")
			c.Abort(errors.New("crash"))
		}},
		{name: "the gateway cuts the stream", handler: echo, splice: func(tunnel *hbone.Conn, peer *net.TCPConn) {
			go io.Copy(tunnel, peer)
			io.CopyN(peer, tunnel, 3000)
			peer.Close()
			tunnel.Abort(errors.New("crash"))
		}},
		{name: "the gateway ends it cleanly in the middle", handler: echo, splice: func(tunnel *hbone.Conn, peer *net.TCPConn) {
			go io.Copy(tunnel, peer)
			io.CopyN(peer, tunnel, 3000)
			tunnel.CloseWrite()
			io.Copy(io.Discard, tunnel)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, addr := startServer(t, hbone.ServerConfig{Handler: tt.handler})
			g := startGateway(t, addr.String(), tt.splice)
			c, err := startPool(t, hbone.PoolConfig{}).DialThrough(t.Context(), g.target(), inside())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			go c.Write(make([]byte, 10_000))
			_, err = io.Copy(io.Discard, c)
			var reset *hbone.ResetError
			switch {
			case err == nil:
				t.Error("the end looks clean")
			case tt.reset && (!errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal):
				t.Errorf("got %v, want the reset of the peer", err)
			case errors.Is(err, context.DeadlineExceeded):
				t.Error("nothing ended")
			}
		})
	}
}

// The error says which of the two tunnels failed, and how far it got.
func TestDialThroughErrors(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	_, refusing := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) { r.Refuse(http.StatusForbidden) }})
	_, strict := startServer(t, hbone.ServerConfig{Trust: identity.MatchTrustDomains()})
	other := identity.RequireID("spiffe://cluster.local/ns/bank/sa/other")
	good := startGateway(t, refusing.String(), nil)
	p := startPool(t, hbone.PoolConfig{})
	for _, tt := range []struct {
		name         string
		outer, inner func(*hbone.Target)
		peer         string
		phase        hbone.Phase
		in           bool
		text         string // without "hbone: dial … ADDRESS: "
	}{
		{name: "outer authority", outer: func(o *hbone.Target) { o.Authority = "elsewhere:1" }, phase: hbone.PhaseRefused, text: "CONNECT refused with status 404"},
		{name: "outer identity", outer: func(o *hbone.Target) { o.Expect = []identity.ID{other} }, phase: hbone.PhaseIdentity,
			text: "identity: certs: peer identity refused: identity: \"spiffe://cluster.local/ns/istio-system/sa/eastwest\" is not among the 1 expected identities (the address may belong to another workload by now)"},
		{name: "no way from the gateway", peer: gone.Addr().String(), phase: hbone.PhaseRefused, text: "CONNECT refused with status 503"},
		{name: "inner refusal", phase: hbone.PhaseRefused, in: true, text: "CONNECT refused with status 403"},
		{name: "inner identity", inner: func(i *hbone.Target) { i.Expect = []identity.ID{other} }, phase: hbone.PhaseIdentity, in: true,
			text: "identity: certs: peer identity refused: identity: \"spiffe://cluster.local/ns/bank/sa/waypoint\" is not among the 1 expected identities (the gateway may have passed it to another workload)"},
		{name: "nobody expected inside", inner: func(i *hbone.Target) { i.Expect = nil }, phase: hbone.PhaseIdentity, in: true,
			text: "identity: no identity of the peer is expected (the gateway may have passed it to another workload)"},
		{name: "inner authority", inner: func(i *hbone.Target) { i.Authority = "x" }, phase: hbone.PhaseHTTP2, in: true, text: ""},
		{name: "our certificate", peer: strict.String(), phase: hbone.PhaseTLS, in: true, text: "tls: hbone: read: remote error: tls: bad certificate"},
		{name: "silence inside", peer: silent.Addr().String(), phase: hbone.PhaseTLS, in: true, text: "tls: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := good
			if tt.peer != "" {
				g = startGateway(t, tt.peer, nil)
			}
			outer, inner := g.target(), inside()
			if tt.outer != nil {
				tt.outer(&outer)
			}
			if tt.inner != nil {
				tt.inner(&inner)
			}
			ctx := t.Context()
			if strings.Contains(tt.text, "deadline") {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			c, err := p.DialThrough(ctx, outer, inner)
			var de *hbone.DialError
			if c != nil || !errors.As(err, &de) {
				t.Fatalf("got %v, %v, want a DialError", c, err)
			}
			if de.Phase != tt.phase || de.Inner != tt.in || de.Addr != outer.Addr {
				t.Errorf("got phase %s, inner %v, address %s", de.Phase, de.Inner, de.Addr)
			}
			want := "hbone: dial "
			if tt.in {
				want += "through "
			}
			want += outer.Addr.String() + ": " + tt.text
			if tt.text != "" && err.Error() != want {
				t.Errorf("got  %q\nwant %q", err, want)
			}
			g.open.Wait() // nothing is left of the outer tunnel
		})
	}
}

// Closing a pool ends what is inside tunnels, too, and leaves nothing running.
func TestCloseWithInnerTunnels(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	g := startGateway(t, addr.String(), nil)
	p := startPool(t, hbone.PoolConfig{})
	c, err := p.DialThrough(t.Context(), g.target(), inside())
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("got %v, want an abnormal end", err)
	}
	if _, err := p.DialThrough(t.Context(), g.target(), inside()); !errors.Is(err, hbone.ErrPoolClosed) {
		t.Errorf("got %v, want %v", err, hbone.ErrPoolClosed)
	}
}

// Connections that were taken out of use and still carry tunnels end with the pool.
func TestCloseAfterEvict(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := startPool(t, hbone.PoolConfig{})
	c := dial(t, p, addr)
	p.Evict(addr.Addr())
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		c.Close()
		t.Fatal("Close waits for a tunnel that nobody ends")
	}
}
