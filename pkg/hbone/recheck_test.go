package hbone_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

var errRevoked = errors.New("revoked")

// revoke refuses the chain of one identity.
func revoke(id identity.ID) func([]*x509.Certificate) error {
	return func(chain []*x509.Certificate) error {
		if got, err := identity.FromCertificate(chain[0]); err != nil || got == id {
			return errors.Join(errRevoked, err)
		}
		return nil
	}
}

// A server ends the connections of those who are not trusted any more, and nobody else's.
func TestRecheckServer(t *testing.T) {
	ended := make(chan error, 1)
	s, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		if _, err := io.Copy(c, c); err != nil {
			ended <- err
		}
	}})
	other := identity.RequireID("spiffe://cluster.local/ns/bank/sa/other")
	kept := dial(t, startPool(t, hbone.PoolConfig{Certificates: certs.Static(testCA().Issue(other))}), addr)
	defer kept.Close()
	raw := rawClient(t, addr)
	raw.connect(1)
	if got := raw.status(); got != "200" {
		t.Fatal(got)
	}
	s.Recheck(revoke(clientID))
	if code, goAway, _ := raw.end(); !goAway || code != http2.ErrCodeNo {
		t.Errorf("the connection ended with %v, GOAWAY %v; want GOAWAY NO_ERROR", code, goAway)
	}
	if err := <-ended; !errors.Is(err, errRevoked) || err.Error() != "hbone: the peer is not trusted any more: revoked" {
		t.Errorf("the handler saw %v", err)
	}
	stillServes(t, kept)
	// What comes later is judged as well, until the check is taken back.
	late := rawTLS(t, addr)
	p := newRawPeer(t, late)
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings()
	p.expectEnd(http2.ErrCodeNo)
	s.Recheck(nil)
	rawClient(t, addr)
}

// A peer that looks clean to the end of its handshake, and is revoked meanwhile, does not slip through.
func TestRecheckServerInFlight(t *testing.T) {
	s, addr := startServer(t, hbone.ServerConfig{})
	for _, when := range []string{"before the handshake", "after the handshake"} {
		s.Recheck(nil)
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(conn, certs.ClientConfig(certs.Static(clientMaterial()), trust))
		if when == "before the handshake" {
			s.Recheck(revoke(clientID))
		}
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if when == "after the handshake" {
			s.Recheck(revoke(clientID))
		}
		p := newRawPeer(t, c)
		io.WriteString(p.conn, http2.ClientPreface)
		p.framer.WriteSettings()
		p.connect(1)
		for {
			f, err := p.framer.ReadFrame()
			if err != nil {
				break
			}
			if _, ok := f.(*http2.MetaHeadersFrame); ok {
				t.Errorf("%s: a revoked peer got an answer", when)
			}
		}
	}
}

// A pool ends its connections to peers that are not trusted any more, also those inside tunnels.
func TestRecheckPool(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	g := startGateway(t, addr.String(), nil)
	p := startPool(t, hbone.PoolConfig{})
	inner, err := p.DialThrough(t.Context(), g.target(), inside())
	if err != nil {
		t.Fatal(err)
	}
	direct := dial(t, p, addr)
	p.Recheck(revoke(serverID))
	for name, c := range map[string]*hbone.Conn{"inner": inner, "direct": direct} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errRevoked) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var de *hbone.DialError
	_, err = p.Dial(t.Context(), target(addr))
	if !errors.As(err, &de) || de.Phase != hbone.PhaseTLS || !strings.HasSuffix(err.Error(), ": tls: hbone: the peer is not trusted any more: revoked") {
		t.Errorf("got %v", err)
	}
	_, err = p.DialThrough(t.Context(), g.target(), inside())
	if !errors.As(err, &de) || de.Phase != hbone.PhaseTLS || !de.Inner {
		t.Errorf("got %v", err)
	}
	p.Recheck(revoke(gatewayID))
	dial(t, p, addr).Close()
}

// A connect that is under way during the change fails.
func TestRecheckPoolInFlight(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	reached, goOn := make(chan struct{}), make(chan struct{})
	p := startPool(t, hbone.PoolConfig{Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", a.String())
		reached <- struct{}{}
		<-goOn
		return c, err
	}})
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := p.Dial(ctx, target(addr))
		result <- err
	}()
	<-reached
	p.Recheck(revoke(serverID))
	goOn <- struct{}{}
	if err := <-result; !errors.Is(err, errRevoked) {
		t.Errorf("got %v", err)
	}
}

// While it settles, a server that shuts down serves everybody who has not heard of it; and those whose handshake is under
// way when it stops are served as well.
func TestShutdownSettles(t *testing.T) {
	const settle = 300 * time.Millisecond
	s, addr := startServer(t, hbone.ServerConfig{Settle: settle})
	begun := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	c := dial(t, startPool(t, hbone.PoolConfig{}), addr) // a new connection
	stillServes(t, c)
	c.SetDeadline(time.Time{})
	waiting, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the listener to close", func() bool {
		late, err := net.Dial("tcp", addr.String())
		if err == nil {
			late.Close()
		}
		return err != nil
	})
	if took := time.Since(begun); took < settle {
		t.Errorf("it stopped accepting after %s, want %s", took, settle)
	}
	tc := tls.Client(waiting, certs.ClientConfig(certs.Static(clientMaterial()), trust))
	p := newRawPeer(t, tc)
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings()
	p.connect(1)
	if got := p.status(); got != "200" {
		t.Errorf("a tunnel that was on its way was answered %s", got)
	}
	if last := p.await(http2.FrameGoAway).(*http2.GoAwayFrame).LastStreamID; last != 1<<31-1 && last != 1 {
		t.Errorf("GOAWAY names stream %d", last)
	}
	p.conn.Close()
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
