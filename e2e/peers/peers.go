// Package peers holds what the suites share: identities of a small mesh, our HBONE endpoints on loopback ports, and forwarders
// that lend a certificate to programs which cannot present one themselves (h2spec, h2load).
package peers

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// The mesh: one trust domain, a caller and a waypoint.
var (
	TrustDomain = identity.RequireTrustDomain("cluster.local")
	Trust       = identity.MatchTrustDomains(TrustDomain)
	CallerID    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
	WaypointID  = identity.RequireID("spiffe://cluster.local/ns/bank/sa/waypoint")

	CA       = sync.OnceValue(func() *certstest.CA { return certstest.NewCA(TrustDomain) })
	Caller   = sync.OnceValue(func() *certs.Material { return CA().Issue(CallerID) })
	Waypoint = sync.OnceValue(func() *certs.Material { return CA().Issue(WaypointID) })
)

// Authority is what the suites ask for; handlers decide what it means.
const Authority = "10.0.0.9:3000"

// CallerTLS is how a caller connects to the waypoint: its certificate, and the waypoint's identity expected.
func CallerTLS() *tls.Config {
	return certs.ClientConfig(certs.Static(Caller()), identity.MatchOneOf(WaypointID))
}

// Server runs our HBONE server until the test ends.
func Server(tb testing.TB, handler func(*hbone.Request)) netip.AddrPort {
	tb.Helper()
	l := Listen(tb)
	s := hbone.NewServer(hbone.ServerConfig{Certificates: certs.Static(Waypoint()), Trust: Trust, Handler: handler})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, hbone.ErrServerClosed) {
			tb.Errorf("Serve returned %v, want %v", err, hbone.ErrServerClosed)
		}
	})
	return AddrPort(l)
}

// Pool is our HBONE client, closed when the test ends.
func Pool(tb testing.TB) *hbone.Pool {
	p := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(Caller())})
	tb.Cleanup(func() { p.Close() })
	return p
}

// Target is the waypoint at a.
func Target(a netip.AddrPort) hbone.Target {
	return hbone.Target{Addr: a, Expect: []identity.ID{WaypointID}, Authority: Authority}
}

// Listen listens on a free loopback port.
func Listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// AddrPort is where l listens.
func AddrPort(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// Echo accepts every tunnel and sends back what it receives, direction by direction.
func Echo(r *hbone.Request) {
	c, err := r.Accept(nil)
	if err != nil {
		return
	}
	if _, err := io.Copy(c, c); err == nil {
		c.CloseWrite()
	}
}
