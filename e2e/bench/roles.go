package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync"

	"waymark.dev/waypoint/e2e/apart"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"

	"waymark.dev/waypoint/e2e/peers"
)

var roles = apart.Roles{"waypoint": apart.Waypoint, "copy": copyTLS, "stock": stockHTTP}

func credentials(dir string) (certs.Source, error) {
	return certs.NewDirectory(dir)
}

// copyTLS is the floor: mutual TLS in, bytes copied, mutual TLS out. Its arguments are the directory of its certificate and
// the address of the backend.
func copyTLS(ctx context.Context, args []string, ready func(netip.AddrPort)) error {
	source, err := credentials(args[0])
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(source, peers.Trust))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	ready(peers.AddrPort(l))
	d := tls.Dialer{Config: certs.ClientConfig(source, identity.MatchOneOf(backendID))}
	for {
		near, err := l.Accept()
		if err != nil {
			return ignoreClosed(err)
		}
		go func() {
			defer near.Close()
			far, err := d.DialContext(ctx, "tcp", args[1])
			if err != nil {
				return
			}
			defer far.Close()
			go func() {
				copyBytes(far, near)
				far.Close()
			}()
			copyBytes(near, far)
		}()
	}
}

// copyBytes copies with a buffer of the size that the tunnel's copy has.
func copyBytes(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf)
}

// stockHTTP is what net/http costs by itself: our tunnels on both sides, http.Server and ReverseProxy between them, and
// nothing judged. Its arguments are the directory of its certificate, the address of the backend's tunnel, and the authority
// to ask there for.
func stockHTTP(ctx context.Context, args []string, ready func(netip.AddrPort)) error {
	source, err := credentials(args[0])
	if err != nil {
		return err
	}
	pool := hbone.NewPool(hbone.PoolConfig{Certificates: source})
	target := hbone.Target{Addr: netip.MustParseAddrPort(args[1]), Expect: []identity.ID{backendID}, Authority: args[2]}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "web"})
	proxy.Transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return pool.Dial(ctx, target) },
		MaxIdleConnsPerHost: 2 * streams, DisableCompression: true,
	}
	accepted := make(handed)
	go (&http.Server{Handler: proxy}).Serve(accepted)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := hbone.NewServer(hbone.ServerConfig{Certificates: source, Trust: peers.Trust, Handler: func(r *hbone.Request) {
		if c, err := r.Accept(nil); err == nil {
			done := make(chan struct{})
			accepted <- &handedConn{Conn: c, done: sync.OnceFunc(func() { close(done) })}
			<-done
		}
	}})
	context.AfterFunc(ctx, func() { s.Close() })
	ready(peers.AddrPort(l))
	return ignoreClosed(s.Serve(l))
}

// handed is a listener whose connections come from elsewhere.
type handed chan net.Conn

func (h handed) Accept() (net.Conn, error) { return <-h, nil }
func (h handed) Close() error              { return nil }
func (h handed) Addr() net.Addr            { return &net.TCPAddr{} }

type handedConn struct {
	*hbone.Conn
	done func()
}

func (c *handedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, hbone.ErrServerClosed) {
		return nil
	}
	return err
}
