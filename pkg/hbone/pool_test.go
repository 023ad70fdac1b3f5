package hbone_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// countingDial counts connects.
func countingDial(n *atomic.Int64) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		n.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, "tcp", a.String())
	}
}

func TestPoolSharesConnections(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	var connects atomic.Int64
	p := startPool(t, hbone.PoolConfig{Dial: countingDial(&connects)})
	conns := make([]*hbone.Conn, 250)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() { conns[i] = dial(t, p, addr) })
	}
	wg.Wait()
	if got, want := connects.Load(), int64(3); got != want {
		t.Errorf("250 tunnels use %d connections, want %d", got, want)
	}
	for _, c := range conns {
		stillServes(t, c)
		c.Close()
	}
	dial(t, p, addr).Close()
	if got, want := connects.Load(), int64(3); got != want {
		t.Errorf("after they closed: %d connections, want %d", got, want)
	}
}

// What is part of the key: address, expected identities (in any order), and our own identity.
func TestPoolKey(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	var connects atomic.Int64
	var own certstest.Rotating
	own.Set(clientMaterial())
	p := startPool(t, hbone.PoolConfig{Certificates: &own, Trust: trust, Dial: countingDial(&connects)})
	open := func(to hbone.Target, want int64) *hbone.Conn {
		t.Helper()
		c, err := p.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if got := connects.Load(); got != want {
			t.Errorf("%d connections, want %d", got, want)
		}
		return c
	}
	other := identity.RequireID("spiffe://cluster.local/ns/bank/sa/other")
	to := target(addr)
	live := open(to, 1)
	defer live.Close()
	to.Authority = "10.0.0.9:4000"
	open(to, 1).Close()
	to.Expect = []identity.ID{other, serverID}
	open(to, 2).Close()
	to.Expect = []identity.ID{serverID, other}
	open(to, 2).Close()
	to.Expect, to.TrustDomainOnly = nil, true
	open(to, 3).Close()
	to.Expect = []identity.ID{serverID}
	own.Set(testCA().Issue(clientID)) // rotated, same identity
	open(to, 3).Close()
	own.Set(testCA().Issue(other)) // another identity: nothing of the old one is used
	open(to, 4).Close()
	stillServes(t, live) // but what is open goes on
}

func TestPoolEvict(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	var connects atomic.Int64
	p := startPool(t, hbone.PoolConfig{Dial: countingDial(&connects)})
	live := dial(t, p, addr)
	defer live.Close()
	p.Evict(netip.MustParseAddr("192.0.2.1"))
	dial(t, p, addr).Close()
	if got, want := connects.Load(), int64(1); got != want {
		t.Errorf("eviction of another address: %d connections, want %d", got, want)
	}
	p.Evict(addr.Addr())
	dial(t, p, addr).Close()
	if got, want := connects.Load(), int64(2); got != want {
		t.Errorf("after eviction: %d connections, want %d", got, want)
	}
	stillServes(t, live)
}

// GOAWAY: the pool moves on, open tunnels stay.
func TestPoolReplacesOnGoAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	old := hbone.NewServer(hbone.ServerConfig{Certificates: certs.Static(serverMaterial()), Trust: trust, Handler: echo})
	served := make(chan error, 1)
	go func() { served <- old.Serve(l) }()
	_, next := startServer(t, hbone.ServerConfig{})
	var where atomic.Value
	where.Store(l.Addr().String())
	p := startPool(t, hbone.PoolConfig{Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", where.Load().(string))
	}})
	live := dial(t, p, next)
	where.Store(next.String())
	ended := make(chan error, 1)
	go func() { ended <- old.Shutdown(context.Background()) }()
	waitFor(t, "a tunnel on the new server", func() bool {
		c := dial(t, p, next)
		defer c.Close()
		return c.RemoteAddr().String() == next.String()
	})
	stillServes(t, live)
	live.SetDeadline(time.Time{})
	live.CloseWrite()
	io.ReadAll(live)
	live.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-served
}

// rawServer answers with what the test wants; each connection is handed to serve after TLS, preface and SETTINGS.
func rawServer(t *testing.T, serve func(p *rawPeer)) netip.AddrPort {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(certs.Static(serverMaterial()), trust))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				p := newRawPeer(t, conn)
				if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err == nil {
					serve(p)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// nextConnect reads until a CONNECT arrives and returns its stream; 0 when the connection ends.
func (p *rawPeer) nextConnect() uint32 {
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return 0
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			return h.StreamID
		}
	}
}

func TestDialErrors(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	_, good := startServer(t, hbone.ServerConfig{})
	_, strict := startServer(t, hbone.ServerConfig{Trust: identity.MatchTrustDomains()})
	noStreams := rawServer(t, func(p *rawPeer) {
		p.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		p.nextConnect()
	})
	noSettings := rawServer(t, func(p *rawPeer) { p.framer.WritePing(false, [8]byte{}); p.nextConnect() })
	status := rawServer(t, func(p *rawPeer) {
		p.framer.WriteSettings()
		for id := p.nextConnect(); id != 0; id = p.nextConnect() {
			p.headers(id, true, ":status", "503")
		}
	})
	addrOf := func(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
	other := identity.RequireID("spiffe://cluster.local/ns/bank/sa/other")
	tests := []struct {
		name   string
		addr   netip.AddrPort
		change func(*hbone.PoolConfig, *hbone.Target)
		phase  hbone.Phase
		status int
		want   string // the text after "hbone: dial ADDR: "
	}{
		{"refused connection", addrOf(closed), nil, hbone.PhaseTCP, 0,
			"tcp: dial tcp ADDR: connect: connection refused (nothing listens on port PORT: the workload may not be in the mesh)"},
		{"dropped packets", good, func(c *hbone.PoolConfig, _ *hbone.Target) {
			c.Limits.Dial = time.Millisecond
			c.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}, hbone.PhaseTCP, 0, "tcp: context deadline exceeded (a NetworkPolicy may be blocking port PORT)"},
		{"no certificate of ours", good, func(c *hbone.PoolConfig, _ *hbone.Target) { c.Certificates = certs.Static(nil) },
			hbone.PhaseTLS, 0, "tls: certs: not ready (our own certificate is not there yet)"},
		{"our certificate is refused", strict, nil, hbone.PhaseTLS, 0, "tls: hbone: read: remote error: tls: bad certificate"},
		{"other identity", good, func(_ *hbone.PoolConfig, to *hbone.Target) { to.Expect = []identity.ID{other} },
			hbone.PhaseIdentity, 0, "identity: certs: peer identity refused: identity: \"" + serverID.String() +
				"\" is not among the 1 expected identities (the address may belong to another workload by now)"},
		{"nobody is expected", good, func(_ *hbone.PoolConfig, to *hbone.Target) { to.Expect = nil }, hbone.PhaseIdentity, 0,
			"identity: no identity of the peer is expected (the address may belong to another workload by now)"},
		{"bad authority", good, func(_ *hbone.PoolConfig, to *hbone.Target) { to.Authority = "a" }, hbone.PhaseHTTP2, 0,
			`http2: hbone: authority must be ip:port, [ipv6]:port or host:port: "a": no port`},
		{"no streams", noStreams, nil, hbone.PhaseHTTP2, 0, "http2: peer allows no streams"},
		{"no SETTINGS", noSettings, nil, hbone.PhaseHTTP2, 0,
			"http2: hbone: connection error PROTOCOL_ERROR: first frame is not SETTINGS"},
		{"refused tunnel", status, nil, hbone.PhaseRefused, 503, "CONNECT refused with status 503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config, to := hbone.PoolConfig{Certificates: certs.Static(clientMaterial())}, target(tt.addr)
			if tt.change != nil {
				tt.change(&config, &to)
			}
			_, err := startPool(t, config).Dial(t.Context(), to)
			var de *hbone.DialError
			if !errors.As(err, &de) || de.Phase != tt.phase || de.Status != tt.status || de.Addr != tt.addr {
				t.Fatalf("got %#v, want phase %q and status %d", err, tt.phase, tt.status)
			}
			_, port, _ := net.SplitHostPort(tt.addr.String())
			want := strings.NewReplacer("ADDR", tt.addr.String(), "PORT", port).Replace("hbone: dial ADDR: " + tt.want)
			if got := err.Error(); got != want {
				t.Errorf("got error\n%s\nwant\n%s", got, want)
			}
		})
	}
	t.Run("peer that says nothing", func(t *testing.T) {
		p := startPool(t, hbone.PoolConfig{Limits: hbone.Limits{Handshake: 20 * time.Millisecond}})
		_, err := p.Dial(t.Context(), target(addrOf(silent)))
		var de *hbone.DialError
		if !errors.As(err, &de) || de.Phase != hbone.PhaseTLS || !de.Timeout() {
			t.Errorf("got %v, want a timeout in phase %q", err, hbone.PhaseTLS)
		}
	})
	t.Run("caller gives up while connecting", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		p := startPool(t, hbone.PoolConfig{})
		_, err := p.Dial(ctx, target(addrOf(silent)))
		var de *hbone.DialError
		if !errors.As(err, &de) || de.Phase != hbone.PhaseTLS || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's deadline in phase %q", err, hbone.PhaseTLS)
		}
	})
}

// A CONNECT that the peer provably did not process moves to another connection; one that it may have processed does not.
func TestRetry(t *testing.T) {
	tests := []struct {
		name    string
		refuse  func(p *rawPeer, id uint32)
		retried bool
	}{
		{"REFUSED_STREAM", func(p *rawPeer, id uint32) { p.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, true},
		{"GOAWAY below the stream", func(p *rawPeer, id uint32) { p.framer.WriteGoAway(id-1, http2.ErrCodeNo, nil) }, true},
		{"INTERNAL_ERROR", func(p *rawPeer, id uint32) { p.framer.WriteRSTStream(id, http2.ErrCodeInternal) }, false},
		{"closed connection", func(p *rawPeer, id uint32) { p.conn.Close() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			addr := rawServer(t, func(p *rawPeer) {
				p.framer.WriteSettings()
				for id := p.nextConnect(); id != 0; id = p.nextConnect() {
					if asked.Add(1) == 1 {
						tt.refuse(p, id)
					} else {
						p.headers(id, false, ":status", "200")
					}
				}
			})
			c, err := startPool(t, hbone.PoolConfig{}).Dial(t.Context(), target(addr))
			if retried := err == nil; retried != tt.retried {
				t.Errorf("dial returned %v, want success %v", err, tt.retried)
			}
			if err == nil {
				c.Close()
			}
		})
	}
}

func TestRetryIsBounded(t *testing.T) {
	var asked atomic.Int64
	addr := rawServer(t, func(p *rawPeer) {
		p.framer.WriteSettings()
		for id := p.nextConnect(); id != 0; id = p.nextConnect() {
			asked.Add(1)
			p.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		}
	})
	_, err := startPool(t, hbone.PoolConfig{}).Dial(t.Context(), target(addr))
	want := "hbone: dial " + addr.String() + ": http2: hbone: tunnel reset by peer: REFUSED_STREAM"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
	if got, want := asked.Load(), int64(3); got != want {
		t.Errorf("the peer was asked %d times, want %d", got, want)
	}
}

// A caller that gives up resets its stream with INTERNAL_ERROR; after some of these the connection is left alone, before
// the peer closes it with everything on it.
func TestAbandonedConnects(t *testing.T) {
	var connections, resets atomic.Int64
	addr := rawServer(t, func(p *rawPeer) {
		connections.Add(1)
		p.framer.WriteSettings()
		for {
			f, err := p.framer.ReadFrame()
			if err != nil {
				return
			}
			if rst, ok := f.(*http2.RSTStreamFrame); ok {
				resets.Add(1)
				if got, want := rst.ErrCode, http2.ErrCodeInternal; got != want {
					t.Errorf("an abandoned CONNECT was reset with %v, want %v", got, want)
				}
			}
		}
	})
	p := startPool(t, hbone.PoolConfig{})
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		c, err := p.Dial(ctx, target(addr))
		cancel()
		if err == nil {
			c.Close()
			t.Fatal("dial succeeded without an answer")
		}
	}
	waitFor(t, "a second connection", func() bool { return connections.Load() >= 2 })
}

// A server's frames that no client has asked for.
func TestHostileServer(t *testing.T) {
	tests := map[string]func(p *rawPeer, id uint32){
		"HEADERS on an idle stream": func(p *rawPeer, id uint32) { p.headers(id+2, false, ":status", "200") },
		"HEADERS on an even stream": func(p *rawPeer, id uint32) { p.headers(2, false, ":status", "200") },
		"PUSH_PROMISE": func(p *rawPeer, id uint32) {
			p.framer.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true,
				BlockFragment: p.block(":method", "GET")})
		},
		"ENABLE_PUSH": func(p *rawPeer, id uint32) {
			p.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})
		},
		"DATA before HEADERS":   func(p *rawPeer, id uint32) { p.framer.WriteData(id, false, []byte("x")) },
		"status 99":             func(p *rawPeer, id uint32) { p.headers(id, false, ":status", "099") },
		"status 101":            func(p *rawPeer, id uint32) { p.headers(id, false, ":status", "101") },
		"status with a sign":    func(p *rawPeer, id uint32) { p.headers(id, false, ":status", "+20") },
		"no status":             func(p *rawPeer, id uint32) { p.headers(id, false, "a", "b") },
		"request in a response": func(p *rawPeer, id uint32) { p.headers(id, false, ":method", "GET") },
		"interim with an end":   func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "100") },
		"interim flood": func(p *rawPeer, id uint32) {
			for range 2000 {
				p.headers(id, false, ":status", "103")
			}
		},
	}
	for name, misbehave := range tests {
		t.Run(name, func(t *testing.T) {
			addr := rawServer(t, func(p *rawPeer) {
				p.framer.WriteSettings()
				if id := p.nextConnect(); id != 0 {
					misbehave(p, id)
				}
				p.nextConnect()
			})
			c, err := startPool(t, hbone.PoolConfig{Now: frozen}).Dial(t.Context(), target(addr))
			var de *hbone.DialError
			if !errors.As(err, &de) || de.Phase != hbone.PhaseHTTP2 {
				t.Errorf("got %v, want a failure in phase %q", err, hbone.PhaseHTTP2)
			}
			if err == nil {
				c.Close()
			}
		})
	}
}

func TestInterimResponse(t *testing.T) {
	addr := rawServer(t, func(p *rawPeer) {
		p.framer.WriteSettings()
		id := p.nextConnect()
		p.headers(id, false, ":status", "103", "link", "x")
		p.headers(id, false, ":status", "200", "baggage", "a=b")
		p.framer.WriteData(id, true, []byte("done"))
		p.nextConnect()
	})
	c := dial(t, startPool(t, hbone.PoolConfig{}), addr)
	defer c.Close()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "done" || c.Header().Get("Baggage") != "a=b" || c.Header().Get("Link") != "" {
		t.Errorf("got %q, %v with header %v", got, err, c.Header())
	}
}

// Peers with small windows and later changes of them still get everything (RFC 9113, section 6.9.2).
func TestPeerWindows(t *testing.T) {
	sum := make(chan int, 1)
	addr := rawServer(t, func(p *rawPeer) {
		p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		id := p.nextConnect()
		p.headers(id, false, ":status", "200")
		total, ended := 0, false
		for !ended {
			f, err := p.framer.ReadFrame()
			if err != nil {
				return
			}
			d, ok := f.(*http2.DataFrame)
			if !ok {
				continue
			}
			total += len(d.Data())
			ended = d.StreamEnded()
			switch {
			case total == 10: // now the window shrinks below zero and grows again
				p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				p.framer.WriteWindowUpdate(id, 5)
				p.framer.WriteWindowUpdate(id, 10)
			case total > 10:
				p.framer.WriteWindowUpdate(id, uint32(len(d.Data())))
				p.framer.WriteWindowUpdate(0, uint32(len(d.Data())))
			}
		}
		sum <- total
		p.nextConnect()
	})
	c := dial(t, startPool(t, hbone.PoolConfig{}), addr)
	defer c.Close()
	if _, err := c.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if got, want := <-sum, 3000; got != want {
		t.Errorf("the peer got %d bytes, want %d", got, want)
	}
}

func TestDrainPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryMesh(t, hbone.Limits{}, echo)
		defer m.close()
		c := m.dial(t)
		ended := make(chan struct{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() {
			m.pool.Drain(ctx)
			close(ended)
		}()
		synctest.Wait()
		stillServes(t, c)
		if _, err := m.pool.Dial(context.Background(), m.target()); !errors.Is(err, hbone.ErrPoolClosed) {
			t.Errorf("dial while draining: %v, want %v", err, hbone.ErrPoolClosed)
		}
		start := time.Now()
		<-ended
		if got, want := time.Since(start), time.Minute; got != want {
			t.Errorf("drain took %v, want its deadline of %v", got, want)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("a tunnel that was cut ends with %v", err)
		}
	})
}

func TestDrainPoolWithoutTunnels(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := startPool(t, hbone.PoolConfig{})
	c := dial(t, p, addr)
	go func() {
		c.CloseWrite()
		io.ReadAll(c)
		c.Close()
	}()
	p.Drain(context.Background())
}
