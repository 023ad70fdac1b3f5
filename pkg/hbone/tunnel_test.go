package hbone_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/nettest"

	"waymark.dev/waypoint/pkg/hbone"
)

// tunnel opens one tunnel and returns both ends. The server's end lives until the test ends.
func tunnel(tb testing.TB) (client, server *hbone.Conn) {
	tb.Helper()
	accepted, release := make(chan *hbone.Conn, 1), make(chan struct{})
	s, addr := startServer(tb, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if c, err := r.Accept(nil); err == nil {
			accepted <- c
		}
		<-release
	}})
	tb.Cleanup(func() { close(release); s.Close() })
	client = dial(tb, startPool(tb, hbone.PoolConfig{}), addr)
	return client, <-accepted
}

func TestTunnelFacts(t *testing.T) {
	facts := make(chan [4]string, 1)
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		facts <- [4]string{r.Peer().String(), r.Authority(), r.Header().Get("Baggage"), r.PeerCertificate().URIs[0].String()}
		c, _ := r.Accept(http.Header{"Baggage": {"k8s.pod.name=a"}})
		c.CloseWrite()
		io.Copy(io.Discard, c)
	}})
	to := target(addr)
	to.Header = http.Header{"Baggage": {"service.name=b"}}
	c, err := startPool(t, hbone.PoolConfig{}).Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, want := <-facts, [4]string{clientID.String(), "10.0.0.9:3000", "service.name=b", clientID.String()}
	if got != want {
		t.Errorf("the server sees %q, want %q", got, want)
	}
	if got, want := c.Peer(), serverID; got != want {
		t.Errorf("the client sees peer %q, want %q", got, want)
	}
	if got, want := c.Header().Get("Baggage"), "k8s.pod.name=a"; got != want {
		t.Errorf("the client sees baggage %q, want %q", got, want)
	}
	if got, want := c.RemoteAddr().String(), addr.String(); got != want {
		t.Errorf("remote address is %q, want %q", got, want)
	}
	if got, want := c.Authority(), "10.0.0.9:3000"; got != want {
		t.Errorf("authority is %q, want %q", got, want)
	}
}

// Half-close, all four ways: whoever closes first still receives the rest.
func TestHalfClose(t *testing.T) {
	big := make([]byte, 3<<20)
	rand.Read(big)
	for _, first := range []string{"client", "server"} {
		for _, rest := range [][]byte{[]byte("the rest"), big} {
			client, server := tunnel(t)
			a, b := client, server
			if first == "server" {
				a, b = server, client
			}
			if _, err := a.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			if err := a.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(b); err != nil || string(got) != "request" {
				t.Errorf("%s closes first: the other side read %q, %v", first, got, err)
			}
			go func() {
				b.Write(rest)
				b.CloseWrite()
			}()
			if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, rest) {
				t.Errorf("%s closes first: it read %d bytes, %v, want %d", first, len(got), err, len(rest))
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after CloseWrite: %v, want %v", err, net.ErrClosed)
			}
			if err := a.CloseWrite(); err != nil {
				t.Errorf("second CloseWrite: %v", err)
			}
			a.Close()
			b.Close()
		}
	}
}

// An end without END_STREAM is an error for the other side, never io.EOF, whatever was sent before.
func TestAbnormalEndIsVisible(t *testing.T) {
	ends := map[string]func(*hbone.Conn){
		"Close":                  func(c *hbone.Conn) { c.Close() },
		"Abort":                  func(c *hbone.Conn) { c.Abort(errors.New("upstream broke")) },
		"Close after CloseWrite": func(c *hbone.Conn) { c.CloseWrite(); c.Close() },
	}
	for name, end := range ends {
		for _, side := range []string{"client", "server"} {
			a, b := tunnel(t)
			if side == "server" {
				a, b = b, a
			}
			a.Write([]byte("half of it"))
			end(a)
			got, err := io.ReadAll(b)
			var reset *hbone.ResetError
			if name == "Close after CloseWrite" { // what we sent was complete; only the other direction is cut
				if err != nil || string(got) != "half of it" {
					t.Errorf("%s by the %s: read %q, %v", name, side, got, err)
				}
				for err == nil {
					_, err = b.Write(make([]byte, 1<<16))
				}
			}
			if !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal || !reset.Remote {
				t.Errorf("%s by the %s: got error %v, want a remote reset with INTERNAL_ERROR", name, side, err)
			}
			if string(got) != "half of it" {
				t.Errorf("%s by the %s: what was sent before is %q, want %q", name, side, got, "half of it")
			}
		}
	}
}

// ztunnel and net/http end tunnels with these codes; none of them is a clean end.
func TestPeerResetIsNeverEOF(t *testing.T) {
	errs := make(chan error, 1)
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err == nil {
			_, err = io.Copy(io.Discard, c)
		}
		errs <- err
	}})
	p := rawClient(t, addr)
	for i, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeCancel, http2.ErrCodeInternal, http2.ErrCodeStreamClosed} {
		p.connect(uint32(1 + 2*i))
		p.status()
		p.framer.WriteRSTStream(uint32(1+2*i), code)
		got, want := (<-errs).Error(), "hbone: tunnel reset by peer: "+code.String()
		if got != want {
			t.Errorf("got error %q, want %q", got, want)
		}
	}
}

// What goes over the wire when we end a tunnel: INTERNAL_ERROR, never CANCEL or NO_ERROR, which ztunnel takes for EOF.
func TestResetCodeOnTheWire(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if r.Header().Get("kind") != "unanswered" {
			r.Accept(nil)
		}
		if r.Header().Get("kind") == "panic" {
			panic("as the test wants")
		}
	}})
	p := rawClient(t, addr)
	for i, kind := range []string{"returns", "panic"} {
		p.headers(uint32(1+2*i), false, ":method", "CONNECT", ":authority", "a:1", "kind", kind)
		if got, want := p.status(), "200"; got != want {
			t.Errorf("%s: got status %q, want %q", kind, got, want)
		}
		if got, want := p.await(http2.FrameRSTStream).(*http2.RSTStreamFrame).ErrCode, http2.ErrCodeInternal; got != want {
			t.Errorf("%s: stream was reset with %v, want %v", kind, got, want)
		}
	}
	p.headers(5, false, ":method", "CONNECT", ":authority", "a:1", "kind", "unanswered")
	if got, want := p.status(), "500"; got != want {
		t.Errorf("a handler that does not answer: got status %q, want %q", got, want)
	}
}

// The net.Conn contract, from golang.org/x/net/nettest: deadlines, concurrency, races. The test closes connections and
// expects a clean end, so Close is a half-close first.
func TestNetConn(t *testing.T) {
	handoff, over := make(chan chan *hbone.Conn), make(chan struct{})
	s, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if c, err := r.Accept(nil); err == nil {
			(<-handoff) <- c
			<-over // the context would end with the stream, before the last bytes are read
		}
	}})
	t.Cleanup(func() { close(over); s.Close() })
	p := startPool(t, hbone.PoolConfig{})
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		other := make(chan *hbone.Conn)
		go func() { handoff <- other }()
		client := dial(t, p, addr)
		server := <-other
		return politeConn{client}, politeConn{server}, func() { client.Close(); server.Close() }, nil
	})
}

type politeConn struct{ *hbone.Conn }

func (c politeConn) Close() error {
	c.CloseWrite()
	return c.Conn.Close()
}

func TestDeadlines(t *testing.T) {
	client, server := tunnel(t)
	past := time.Unix(1, 0)

	client.SetReadDeadline(past)
	_, err := client.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read past its deadline: %v, want %v", err, os.ErrDeadlineExceeded)
	}

	// A writer whose peer does not read blocks, and its deadline frees it; the tunnel stays usable.
	client.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	sent := 0
	for {
		n, err := client.Write(make([]byte, 1<<20))
		sent += n
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("blocked write: %v, want %v", err, os.ErrDeadlineExceeded)
			}
			break
		}
	}
	client.SetDeadline(time.Time{})
	go func() {
		client.Write([]byte("end"))
		client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	if err != nil || len(got) != sent+3 || !bytes.HasSuffix(got, []byte("end")) {
		t.Errorf("after the deadline: read %d bytes, %v, want %d", len(got), err, sent+3)
	}
}

// Close and a lost connection unblock everybody.
func TestCloseUnblocks(t *testing.T) {
	client, server := tunnel(t)
	errs := make(chan error, 4)
	for _, c := range []*hbone.Conn{client, server} {
		go func() {
			_, err := io.Copy(io.Discard, c)
			errs <- err
		}()
		go func() {
			var err error
			for err == nil {
				_, err = c.Write(make([]byte, 1<<20))
			}
			errs <- err
		}()
	}
	client.Close()
	for range 4 {
		if err := <-errs; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("unblocked with %v, want an error", err)
		}
	}
	if err := client.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestRequestContext(t *testing.T) {
	causes := make(chan error, 1)
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		ctx := r.Context()
		c, _ := r.Accept(nil)
		if r.Header().Get("kind") == "clean" {
			io.Copy(io.Discard, c)
			c.CloseWrite()
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
	}})
	p := startPool(t, hbone.PoolConfig{})
	c := dial(t, p, addr)
	c.Close()
	if got, want := (<-causes).Error(), "hbone: tunnel reset by peer: INTERNAL_ERROR"; got != want {
		t.Errorf("cause after a reset is %q, want %q", got, want)
	}
	to := target(addr)
	to.Header = http.Header{"kind": {"clean"}}
	c, err := p.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if got, want := <-causes, context.Canceled; got != want {
		t.Errorf("cause after a clean end is %v, want %v", got, want)
	}
	c.Close()
}

func TestAnswerOnce(t *testing.T) {
	errs := make(chan error, 3)
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		errs <- r.Refuse(http.StatusForbidden)
		errs <- r.Refuse(http.StatusForbidden)
		_, err := r.Accept(nil)
		errs <- err
	}})
	_, err := startPool(t, hbone.PoolConfig{}).Dial(t.Context(), target(addr))
	if got, want := err.Error(), "hbone: dial "+addr.String()+": CONNECT refused with status 403"; got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
	got, want := []error{<-errs, <-errs, <-errs}, []error{nil, hbone.ErrAnswered, hbone.ErrAnswered}
	if !slices.Equal(got, want) {
		t.Errorf("answers return %v, want %v", got, want)
	}
}

func TestHeaderThatCannotBeSent(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := startPool(t, hbone.PoolConfig{})
	for want, h := range map[string]http.Header{
		`hbone: header field "a b" cannot be sent`:        {"a b": {"c"}},
		`hbone: header field "connection" cannot be sent`: {"Connection": {"close"}},
		`hbone: header field "x" cannot be sent`:          {"X": {"a\r\nb"}},
		`hbone: header field ":path" cannot be sent`:      {":path": {"/"}},
		"hbone: header fields exceed 15 KB":               {"X": {string(bytes.Repeat([]byte("a"), 16<<10))}},
	} {
		to := target(addr)
		to.Header = h
		_, err := p.Dial(t.Context(), to)
		if want := "hbone: dial " + addr.String() + ": http2: " + want; err == nil || err.Error() != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

// Bulk in both directions at once moves more than every window and buffer many times over.
func TestBulkBothDirections(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := startPool(t, hbone.PoolConfig{})
	payload := make([]byte, 24<<20)
	rand.Read(payload)
	want := sha256.Sum256(payload)
	for range 3 {
		c := dial(t, p, addr)
		go func() {
			c.Write(payload)
			c.CloseWrite()
		}()
		h := sha256.New()
		n, err := io.Copy(h, c)
		if err != nil || !bytes.Equal(h.Sum(nil), want[:]) {
			t.Errorf("got %d bytes, %v, or other bytes than were sent; want %d", n, err, len(payload))
		}
		c.Close()
	}
}

// One stream that nobody reads must not stop the others, nor the connection's credit.
func TestStalledStreamDoesNotStopOthers(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if r.Header().Get("kind") != "stall" {
			echo(r)
			return
		}
		r.Accept(nil)
		<-r.Context().Done()
	}})
	p := startPool(t, hbone.PoolConfig{})
	to := target(addr)
	to.Header = http.Header{"kind": {"stall"}}
	for range 20 { // 20 windows of 1 MiB: more than the connection window
		c, err := p.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		if n, err := c.Write(make([]byte, 1<<20)); err != nil {
			t.Fatalf("wrote %d bytes: %v", n, err)
		}
	}
	c := dial(t, p, addr)
	defer c.Close()
	stillServes(t, c)
	payload := make([]byte, 20<<20)
	go func() {
		c.Write(payload)
		c.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, c); err != nil || n != int64(len(payload)) {
		t.Errorf("beside stalled streams: %d bytes, %v, want %d", n, err, len(payload))
	}
}
