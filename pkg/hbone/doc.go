// Package hbone carries byte streams through mutually authenticated HTTP/2 CONNECT tunnels: Istio's HBONE, server and
// client, on an HTTP/2 connection loop of our own.
//
// A tunnel becomes a [Conn], which is a net.Conn that also knows the peer's verified identity, the authority that was
// asked for and the CONNECT headers, and that can be closed for writing only:
//
//	server := hbone.NewServer(hbone.ServerConfig{
//		Certificates: source,
//		Trust:        identity.MatchTrustDomains(td),
//		Handler: func(r *hbone.Request) {
//			if r.Authority() != "10.0.0.9:3000" {
//				r.Refuse(http.StatusNotFound)
//				return
//			}
//			conn, err := r.Accept(nil)
//			...
//		},
//	})
//	go server.Serve(listener)
//
//	pool := hbone.NewPool(hbone.PoolConfig{Certificates: source, Trust: identity.MatchTrustDomains(td)})
//	conn, err := pool.Dial(ctx, hbone.Target{Addr: podAddress, Expect: ids, Authority: "10.0.0.9:3000"})
//
// The package knows no MCP and no policy. It does not use net/http's HTTP/2, because that server cannot end its half of
// a CONNECT stream while the other half is open (golang/go#13717), and because its client takes half a megabyte for an
// idle tunnel.
//
// What it refuses: peers without one SPIFFE identity that the configuration trusts; requests which are not a classic
// CONNECT to host:port; peers that cost more than they should (see limits.go: every bound and its reason). A hostile
// peer loses its own connection and nothing else happens.
//
// How a tunnel ends is always visible to the other side. A clean end is END_STREAM in both directions. Every other end
// is RST_STREAM with INTERNAL_ERROR: ztunnel takes CANCEL and NO_ERROR for a clean end of file, and a truncated answer
// must not look complete.
package hbone
