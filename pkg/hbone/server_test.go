package hbone_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

func TestFirstSettings(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := newRawPeer(t, rawTLS(t, addr))
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings()
	f, err := p.framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	first, ok := f.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("first frame is %v, want SETTINGS", f)
	}
	for id, want := range map[http2.SettingID]uint32{
		http2.SettingEnablePush:           0,
		http2.SettingMaxConcurrentStreams: 250,
		http2.SettingInitialWindowSize:    1 << 20,
		http2.SettingMaxFrameSize:         1 << 20,
		http2.SettingMaxHeaderListSize:    64 << 10,
	} {
		if got, ok := first.Value(id); !ok || got != want {
			t.Errorf("%v is %d, %v, want %d", id, got, ok, want)
		}
	}
	if got, want := p.await(http2.FrameWindowUpdate).(*http2.WindowUpdateFrame).Increment, uint32(16<<20-65535); got != want {
		t.Errorf("connection window is widened by %d, want %d", got, want)
	}
}

// A megabyte in one DATA frame, as ztunnel may send it, with and without padding.
func TestLargeFrames(t *testing.T) {
	got := make(chan int64, 1)
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		c, _ := r.Accept(nil)
		n, _ := io.Copy(io.Discard, c)
		got <- n
		c.CloseWrite()
	}})
	p := rawClient(t, addr)
	p.connect(1)
	p.framer.WriteData(1, true, make([]byte, 1<<20))
	if got, want := <-got, int64(1<<20); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
	p.connect(3)
	p.framer.WriteDataPadded(3, false, []byte("abc"), make([]byte, 200))
	p.framer.WriteDataPadded(3, true, nil, make([]byte, 10))
	if got, want := <-got, int64(3); got != want {
		t.Errorf("padded: got %d bytes, want %d", got, want)
	}
}

func TestRefusedRequests(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		want   string
	}{
		{"connect", []string{":method", "CONNECT", ":authority", "10.0.0.9:80"}, "200"},
		{"host that agrees", []string{":method", "CONNECT", ":authority", "a:80", "host", "a:80"}, "200"},
		{"GET", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a:80"}, "400"},
		{"POST", []string{":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a:80"}, "400"},
		{"lower case method", []string{":method", "connect", ":authority", "a:80"}, "400"},
		{"no method", []string{":authority", "a:80"}, "400"},
		{"no authority", []string{":method", "CONNECT"}, "400"},
		{"scheme", []string{":method", "CONNECT", ":authority", "a:80", ":scheme", "https"}, "400"},
		{"path", []string{":method", "CONNECT", ":authority", "a:80", ":path", "/"}, "400"},
		{"extended CONNECT", []string{":method", "CONNECT", ":authority", "a:80", ":protocol", "websocket"}, "400"},
		{"status in a request", []string{":method", "CONNECT", ":authority", "a:80", ":status", "200"}, "400"},
		{"no port", []string{":method", "CONNECT", ":authority", "a"}, "400"},
		{"port 0", []string{":method", "CONNECT", ":authority", "a:0"}, "400"},
		{"user", []string{":method", "CONNECT", ":authority", "u@a:80"}, "400"},
		{"zone", []string{":method", "CONNECT", ":authority", "[fe80::1%eth0]:80"}, "400"},
		{"host that disagrees", []string{":method", "CONNECT", ":authority", "a:80", "host", "b:80"}, "400"},
	}
	_, addr := startServer(t, hbone.ServerConfig{})
	p := rawClient(t, addr)
	for i, tt := range tests {
		for j, end := range []bool{true, false} {
			p.headers(uint32(1+4*i+2*j), end, tt.fields...)
			f := p.await(http2.FrameHeaders).(*http2.MetaHeadersFrame)
			if got := f.PseudoValue("status"); got != tt.want {
				t.Errorf("%s: got status %q, want %q", tt.name, got, tt.want)
			}
			if refused := tt.want != "200"; f.StreamEnded() != refused {
				t.Errorf("%s: END_STREAM is %v, want %v", tt.name, f.StreamEnded(), refused)
			}
		}
	}
}

// Drain: the peer is told, tunnels that cross the notice are still served, the last stream is named, open tunnels end
// by themselves, and Shutdown returns then.
func TestShutdown(t *testing.T) {
	s, addr := startServer(t, hbone.ServerConfig{})
	p := rawClient(t, addr)
	p.connect(1)
	p.status()

	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	if got, want := p.await(http2.FrameGoAway).(*http2.GoAwayFrame).LastStreamID, uint32(1<<31-1); got != want {
		t.Errorf("first GOAWAY names stream %d, want %d", got, want)
	}
	ping := p.await(http2.FramePing).(*http2.PingFrame)
	p.connect(3) // crossed the GOAWAY
	if got, want := p.status(), "200"; got != want {
		t.Errorf("a tunnel that crossed the notice: got status %q, want %q", got, want)
	}
	p.framer.WritePing(true, ping.Data)
	if got, want := p.await(http2.FrameGoAway).(*http2.GoAwayFrame).LastStreamID, uint32(3); got != want {
		t.Errorf("second GOAWAY names stream %d, want %d", got, want)
	}
	p.connect(5) // too late: ignored, as the GOAWAY says
	p.framer.WriteData(5, true, []byte("x"))
	p.framer.WriteData(1, true, []byte("still served"))
	got := ""
	for got != "still served" {
		f := p.await(http2.FrameData).(*http2.DataFrame)
		if f.StreamID != 1 {
			t.Errorf("DATA on stream %d", f.StreamID)
		}
		got += string(f.Data())
	}
	select {
	case err := <-ended:
		t.Errorf("Shutdown returned %v while a tunnel was open", err)
	default:
	}
	p.framer.WriteData(3, true, nil)
	p.expectEnd(http2.ErrCodeNo)
	if err := <-ended; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		c.Close()
		t.Error("the listener is still open after Shutdown")
	}
}

// Drain with a deadline: what is left is cut, visibly.
func TestShutdownDeadline(t *testing.T) {
	s, addr := startServer(t, hbone.ServerConfig{})
	c := dial(t, startPool(t, hbone.PoolConfig{}), addr)
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	stillServes(t, c)
	cancel()
	if got, want := <-ended, context.Canceled; got != want {
		t.Errorf("Shutdown returned %v, want %v", got, want)
	}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("a tunnel that was cut looks like a clean end")
	}
}

func TestCloseTwiceAndServeAfterClose(t *testing.T) {
	s, _ := startServer(t, hbone.ServerConfig{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Serve(l), hbone.ErrServerClosed; got != want {
		t.Errorf("Serve after Close returned %v, want %v", got, want)
	}
}

// A failing accept is not the end, unless it is final.
func TestAcceptErrors(t *testing.T) {
	l := &brokenListener{errs: []error{temporaryError{}, temporaryError{}, errors.New("final")}}
	s := hbone.NewServer(hbone.ServerConfig{Certificates: certs.Static(serverMaterial()), Trust: trust, Handler: echo})
	if got, want := s.Serve(l).Error(), "hbone: accept: final"; got != want {
		t.Errorf("Serve returned %q, want %q", got, want)
	}
}

type brokenListener struct {
	net.Listener
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}
func (l *brokenListener) Close() error { return nil }

type temporaryError struct{}

func (temporaryError) Error() string   { return "too many open files" }
func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

// More stuck peers than there are places: the newest, healthy one gets in at once, because the oldest gives way.
func TestStuckPeersGiveWay(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{Limits: hbone.Limits{Handshakes: 20, Handshake: time.Hour}})
	for range 100 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c := dial(t, startPool(t, hbone.PoolConfig{}), addr)
	defer c.Close()
	for range 100 { // an established connection has left the line
		n, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
	}
	stillServes(t, c)
}

// Nothing but mTLS 1.3 with h2 and a trusted client identity gets a stream.
func TestUnauthenticated(t *testing.T) {
	ca, other := testCA(), certstest.NewCA(trustDomain)
	good := clientMaterial()
	config := func(change func(*tls.Config)) *tls.Config {
		c := certs.ClientConfig(certs.Static(good), trust)
		change(c)
		return c
	}
	with := func(m *certs.Material) *tls.Config {
		return config(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &m.Certificate, nil }
		})
	}
	foreign := identity.RequireID("spiffe://elsewhere.org/ns/bank/sa/teller")
	tests := map[string]*tls.Config{
		"no certificate": config(func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
		}),
		"TLS 1.2":              config(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }),
		"no ALPN":              config(func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil }),
		"other ALPN":           config(func(c *tls.Config) { c.NextProtos, c.VerifyConnection = []string{"http/1.1"}, nil }),
		"other CA":             with(other.Issue(clientID)),
		"foreign trust domain": with(ca.Issue(foreign)),
		"expired":              with(ca.Issue(clientID, certstest.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))),
	}
	_, addr := startServer(t, hbone.ServerConfig{})
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", addr.String(), c)
			if err != nil {
				return
			}
			p := newRawPeer(t, conn)
			io.WriteString(p.conn, http2.ClientPreface)
			p.framer.WriteSettings()
			p.connect(1)
			for {
				f, err := p.framer.ReadFrame()
				if err != nil {
					return
				}
				t.Fatalf("got a frame: %v", f)
			}
		})
	}
}

// oneByteRecords cuts every TLS record into records of one byte (CVE-2026-32305: a fragmented ClientHello took another
// path).
type oneByteRecords struct{ net.Conn }

func (c *oneByteRecords) Write(p []byte) (int, error) {
	var out []byte
	for rest := p; len(rest) >= 5; {
		n := int(rest[3])<<8 | int(rest[4])
		if rest[0] != 22 { // only plaintext handshake records may be cut
			out = append(out, rest[:5+n]...)
		} else {
			for _, b := range rest[5 : 5+n] {
				out = append(out, rest[0], rest[1], rest[2], 0, 1, b)
			}
		}
		rest = rest[5+n:]
	}
	_, err := c.Conn.Write(out)
	return len(p), err
}

func TestClientHelloInOneByteRecords(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	for name, config := range map[string]*tls.Config{
		"authenticated":   certs.ClientConfig(certs.Static(clientMaterial()), trust),
		"unauthenticated": {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
	} {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, tls.Client(&oneByteRecords{conn}, config))
		io.WriteString(p.conn, http2.ClientPreface)
		p.framer.WriteSettings()
		p.connect(1)
		if name == "authenticated" {
			if got, want := p.status(), "200"; got != want {
				t.Errorf("%s: got status %q, want %q", name, got, want)
			}
			continue
		}
		if f, err := p.framer.ReadFrame(); err == nil {
			t.Errorf("%s: got a frame: %v", name, f)
		}
	}
}

// Certificates and roots rotate while tunnels open and close: no tunnel fails, and a root that was removed opens none.
func TestRotationUnderLoad(t *testing.T) {
	old, next := certstest.NewCA(trustDomain), certstest.NewCA(trustDomain)
	both := certstest.WithRoots(old.Roots(next))
	var server, client certstest.Rotating
	server.Set(old.Issue(serverID))
	client.Set(old.Issue(clientID))
	_, addr := startServer(t, hbone.ServerConfig{Certificates: &server})

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p := hbone.NewPool(hbone.PoolConfig{Certificates: &client}) // a handshake every time
				c, err := p.Dial(t.Context(), target(addr))
				if err == nil {
					stillServes(t, c)
					c.Close()
				} else {
					t.Errorf("during rotation: %v", err)
				}
				p.Close()
			}
		})
	}
	for range 5 {
		for _, ca := range []*certstest.CA{old, next} { // trust both first, then change leaves, as operators do
			server.Set(ca.Issue(serverID, both))
			client.Set(ca.Issue(clientID, both))
			time.Sleep(20 * time.Millisecond)
		}
	}
	close(stop)
	wg.Wait()

	server.Set(next.Issue(serverID)) // the old root is gone
	for range 20 {
		p := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(old.Issue(clientID, both))})
		if c, err := p.Dial(t.Context(), target(addr)); err == nil {
			c.Close()
			t.Error("a certificate of a removed root was accepted")
		}
		p.Close()
	}
	server.Set(nil) // not ready
	p := hbone.NewPool(hbone.PoolConfig{Certificates: &client})
	defer p.Close()
	if _, err := p.Dial(t.Context(), target(addr)); err == nil {
		t.Error("a server without material accepted a tunnel")
	}
}

// A handler that panics takes down its tunnel and nothing else.
func TestPanicStaysInItsTunnel(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if r.Header().Get("kind") == "panic" {
			panic("as the test wants")
		}
		echo(r)
	}})
	p := startPool(t, hbone.PoolConfig{})
	c := dial(t, p, addr)
	defer c.Close()
	to := target(addr)
	to.Header = http.Header{"Kind": {"panic"}}
	_, err := p.Dial(t.Context(), to)
	var refused *hbone.DialError
	if !errors.As(err, &refused) || refused.Status != http.StatusInternalServerError {
		t.Errorf("got %v, want status 500", err)
	}
	stillServes(t, c)
}
