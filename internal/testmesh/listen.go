package testmesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// listen opens a port on the loopback interface, the only place where anything here listens.
func listen() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("testmesh: %w", err)
	}
	return l, nil
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func quiet(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// connections accepts on a listener and runs one function per connection; stop ends and awaits all of them.
type connections struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (c *connections) start(l net.Listener, each func(context.Context, *net.TCPConn)) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.accept(ctx, l, each) })
}

func (c *connections) accept(ctx context.Context, l net.Listener, each func(context.Context, *net.TCPConn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.done.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			each(ctx, conn.(*net.TCPConn))
		})
	}
}

func (c *connections) stop(l net.Listener) error {
	err := l.Close()
	c.cancel()
	c.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
