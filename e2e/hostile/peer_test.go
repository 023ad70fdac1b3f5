package hostile_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/e2e/peers"
)

// A phase is how far a peer goes before it gets stuck.
type phase struct {
	name  string
	tls   bool                                    // completes the TLS handshake first
	stuck func(c net.Conn, f *http2.Framer) error // what it sends before it falls silent; f is set if tls is
}

// phases are the places where a connection can hang. Each of them is something real: a scanner, a peer whose machine
// died, a client that computes before it reads.
var phases = []phase{
	{name: "connects and says nothing"},
	{name: "half a ClientHello", stuck: func(c net.Conn, _ *http2.Framer) error {
		_, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3})
		return err
	}},
	{name: "TLS and no preface", tls: true},
	{name: "preface and settings, then nothing", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		return greet(c, f)
	}},
	{name: "half a header block", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		if err := greet(c, f); err != nil {
			return err
		}
		block := connectBlock()
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:len(block)/2]})
	}},
	{name: "a tunnel without a request", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		return open(c, f)
	}},
	{name: "half a request", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		return say(c, f, "GET /small HTTP/1.1\r\nHost: web\r\nX-Slow: ")
	}},
	{name: "a body that never comes", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		return say(c, f, "POST /small HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\n")
	}},
	{name: "a large answer that is never read", tls: true, stuck: func(c net.Conn, f *http2.Framer) error {
		return say(c, f, "GET /large HTTP/1.1\r\nHost: web\r\n\r\n")
	}},
}

// greet opens HTTP/2. Nothing the server says is ever answered: no SETTINGS and no PING is acknowledged.
func greet(c net.Conn, f *http2.Framer) error {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return err
	}
	return f.WriteSettings()
}

// open asks for a tunnel to the web service.
func open(c net.Conn, f *http2.Framer) error {
	if err := greet(c, f); err != nil {
		return err
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connectBlock(), EndHeaders: true})
}

// say opens a tunnel and speaks HTTP/1.1 into it without waiting for an answer.
func say(c net.Conn, f *http2.Framer, request string) error {
	if err := open(c, f); err != nil {
		return err
	}
	return f.WriteData(1, false, []byte(request))
}

// connectBlock is an encoded CONNECT; the encoder's table is empty, as at the start of every connection.
func connectBlock() []byte {
	var block writeBuffer
	e := hpack.NewEncoder(&block)
	e.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
	e.WriteField(hpack.HeaderField{Name: ":authority", Value: web.Authority()})
	return block
}

type writeBuffer []byte

func (b *writeBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// siege keeps a number of stuck peers connected: one that is thrown out comes back.
type siege struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	arrived atomic.Int64 // peers that got stuck once at least
	stuck   atomic.Int64 // peers that are stuck now
	thrown  atomic.Int64 // how often one was thrown out
}

// beginners bounds how many peers are on their way into their phase at once; a handshake costs both sides.
const beginners = 32

func besiege(a netip.AddrPort, peers int) *siege {
	ctx, cancel := context.WithCancel(context.Background())
	s := &siege{cancel: cancel}
	turns := make(chan struct{}, beginners)
	for i := range peers {
		s.wg.Go(func() {
			arrive := sync.OnceFunc(func() { s.arrived.Add(1) })
			for ctx.Err() == nil {
				s.hang(ctx, a, phases[i%len(phases)], turns, arrive)
			}
		})
	}
	return s
}

// lift ends the siege and waits until every connection is closed.
func (s *siege) lift() {
	s.cancel()
	s.wg.Wait()
}

// hang is one connection, from connect until the waypoint closes it or the siege ends. It never reads a byte.
func (s *siege) hang(ctx context.Context, a netip.AddrPort, p phase, turns chan struct{}, arrive func()) {
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	tcp, err := begin(ctx, a, p)
	<-turns
	if err != nil {
		return
	}
	defer tcp.Close()
	arrive()
	s.stuck.Add(1)
	defer s.stuck.Add(-1)
	if waitClosed(ctx, tcp) {
		s.thrown.Add(1)
	}
}

func begin(ctx context.Context, a netip.AddrPort, p phase) (*net.TCPConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", a.String())
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	var framer *http2.Framer
	if p.tls {
		secure := tls.Client(tcp, peers.CallerTLS())
		if err := secure.HandshakeContext(ctx); err != nil {
			tcp.Close()
			return nil, err
		}
		framer = http2.NewFramer(secure, nil)
		conn = secure
	}
	if p.stuck != nil {
		if err := p.stuck(conn, framer); err != nil {
			tcp.Close()
			return nil, err
		}
	}
	return tcp, nil
}

// look is how often a stuck peer looks whether it still has a connection.
const look = 2 * time.Second

// waitClosed reports whether the other side closed the connection before ctx ended. It asks the kernel: to read would make
// room for more, and a stuck peer does not.
func waitClosed(ctx context.Context, c *net.TCPConn) bool {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if closed(c) {
				return true
			}
		}
	}
}
