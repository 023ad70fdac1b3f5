package peers

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// Duplex is a connection whose two directions end separately.
type Duplex interface {
	net.Conn
	CloseWrite() error
}

// ForwardTLS lends the caller's certificate: whatever connects to the returned address speaks to a over mutual TLS.
func ForwardTLS(tb testing.TB, a netip.AddrPort) netip.AddrPort {
	tb.Helper()
	config := CallerTLS()
	return Forward(tb, func(ctx context.Context) (Duplex, error) {
		d := tls.Dialer{Config: config}
		c, err := d.DialContext(ctx, "tcp", a.String())
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	})
}

// Forward listens until the test ends and joins each connection with what dial returns.
func Forward(tb testing.TB, dial func(context.Context) (Duplex, error)) netip.AddrPort {
	tb.Helper()
	l := Listen(tb)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { forward(ctx, c.(*net.TCPConn), dial) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return AddrPort(l)
}

func forward(ctx context.Context, near *net.TCPConn, dial func(context.Context) (Duplex, error)) {
	defer near.Close()
	far, err := dial(ctx)
	if err != nil {
		near.SetLinger(0)
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() {
		near.Close()
		far.Close()
	})()

	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.Copy(far, near)
		far.CloseWrite()
		// Closing a connection with unread bytes resets it, and takes with it what the other side has not read yet.
		io.Copy(io.Discard, near)
	}()
	io.Copy(near, far)
	near.CloseWrite()
	<-sent
}
