package hbone_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	trustDomain = identity.RequireTrustDomain("cluster.local")
	clientID    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
	serverID    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/waypoint")
	trust       = identity.MatchTrustDomains(trustDomain)
)

// testCA is shared: making keys is the slow part of most tests.
var testCA = sync.OnceValue(func() *certstest.CA { return certstest.NewCA(trustDomain) })

var (
	clientMaterial = sync.OnceValue(func() *certs.Material { return testCA().Issue(clientID) })
	serverMaterial = sync.OnceValue(func() *certs.Material { return testCA().Issue(serverID) })
)

// echo accepts every tunnel and sends back what it receives, direction by direction.
func echo(r *hbone.Request) {
	c, err := r.Accept(nil)
	if err != nil {
		return
	}
	if _, err := io.Copy(c, c); err == nil {
		c.CloseWrite()
	}
}

// startServer serves on a loopback port until the test ends.
func startServer(tb testing.TB, c hbone.ServerConfig) (*hbone.Server, netip.AddrPort) {
	tb.Helper()
	if c.Certificates == nil {
		c.Certificates = certs.Static(serverMaterial())
	}
	if c.Trust == nil {
		c.Trust = trust
	}
	if c.Handler == nil {
		c.Handler = echo
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := hbone.NewServer(c)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-served; err != hbone.ErrServerClosed {
			tb.Errorf("Serve returned %v, want %v", err, hbone.ErrServerClosed)
		}
	})
	return s, l.Addr().(*net.TCPAddr).AddrPort()
}

func startPool(tb testing.TB, c hbone.PoolConfig) *hbone.Pool {
	tb.Helper()
	if c.Certificates == nil {
		c.Certificates = certs.Static(clientMaterial())
	}
	p := hbone.NewPool(c)
	tb.Cleanup(func() { p.Close() })
	return p
}

func target(a netip.AddrPort) hbone.Target {
	return hbone.Target{Addr: a, Expect: []identity.ID{serverID}, Authority: "10.0.0.9:3000"}
}

func dial(tb testing.TB, p *hbone.Pool, a netip.AddrPort) *hbone.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	c, err := p.Dial(ctx, target(a))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
