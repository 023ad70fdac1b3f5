package hbone_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	istio "istio.io/istio/pkg/hbone"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity/certs"
)

func istioDialer(a netip.AddrPort) istio.Dialer {
	return istio.NewDialer(istio.Config{ProxyAddress: a.String(), TLS: peers.CallerTLS()})
}

func TestIstioClient(t *testing.T) {
	authority := make(chan string, 3)
	addr := peers.Server(t, func(r *hbone.Request) {
		authority <- r.Authority()
		if got, want := r.Peer(), peers.CallerID; got != want {
			t.Errorf("peer is %v, want %v", got, want)
		}
		peers.Echo(r)
	})
	dialer := istioDialer(addr)
	for range 3 {
		c, err := dialer.Dial("tcp", peers.Authority)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-authority; got != peers.Authority {
			t.Errorf("authority is %q, want %q", got, peers.Authority)
		}
		go c.Write(bulk)
		got := make([]byte, len(bulk))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, bulk) {
			t.Errorf("%v, or other bytes than were sent", err)
		}
		c.Close()
	}
}

// Istio's client hands out a pipe that cannot be half-closed; what it can show is that the server's end of a tunnel
// arrives behind all of its bytes.
func TestIstioClientReceivesTheRest(t *testing.T) {
	addr := peers.Server(t, func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		c.Write(bulk)
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	c, err := istioDialer(addr).Dial("tcp", peers.Authority)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bulk) {
		t.Errorf("got %d bytes, %v, want %d bytes", len(got), err, len(bulk))
	}
}

func TestIstioClientIsRefused(t *testing.T) {
	addr := peers.Server(t, func(r *hbone.Request) { r.Refuse(http.StatusServiceUnavailable) })
	_, err := istioDialer(addr).Dial("tcp", peers.Authority)
	if want := "round trip failed: 503 Service Unavailable"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// istioServer runs Istio's HBONE server with mutual TLS. It ships with HTTP/1.1 and h2c only, which ALPN h2 cannot reach;
// its handler is as it is.
func istioServer(t *testing.T) netip.AddrPort {
	s := istio.NewServer()
	s.Protocols.SetHTTP2(true)
	s.TLSConfig = certs.ServerConfig(certs.Static(peers.Waypoint()), peers.Trust)
	l := peers.Listen(t)
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return peers.AddrPort(l)
}

// application listens behind Istio's server and serves one connection.
func application(t *testing.T, serve func(*net.TCPConn)) string {
	l := peers.Listen(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c.(*net.TCPConn))
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

func dialThroughIstio(t *testing.T, authority string) *hbone.Conn {
	target := peers.Target(istioServer(t))
	target.Authority = authority
	c, err := peers.Pool(t).Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestIstioServerWeCloseFirst(t *testing.T) {
	app := application(t, func(c *net.TCPConn) {
		got, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("application: %v", err)
		}
		c.Write(got)
	})
	c := dialThroughIstio(t, app)
	if _, err := c.Write(bulk); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bulk) {
		t.Errorf("got %d bytes, %v; want the %d bytes sent before closing", len(got), err, len(bulk))
	}
}

// Istio's server cannot pass on a half-close (golang/go#13717): when the application closes first, it ends the whole
// stream. Every byte before that end must arrive, and the end must be clean.
func TestIstioServerApplicationClosesFirst(t *testing.T) {
	app := application(t, func(c *net.TCPConn) { c.Write(bulk) })
	c := dialThroughIstio(t, app)
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, bulk) {
		t.Errorf("got %d bytes, %v, want %d bytes", len(got), err, len(bulk))
	}
}
