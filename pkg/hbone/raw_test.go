package hbone_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// rawPeer is a peer that may send anything. It keeps what it received.
type rawPeer struct {
	tb     testing.TB
	conn   net.Conn // TLS, after the handshake
	framer *http2.Framer
	hbuf   bytes.Buffer
	hpack  *hpack.Encoder
}

// patience bounds what must happen soon; no test waits for it when all is well.
const patience = 30 * time.Second

// newRawPeer wraps an authenticated TLS connection.
func newRawPeer(tb testing.TB, conn net.Conn) *rawPeer {
	p := &rawPeer{tb: tb, conn: conn}
	p.framer = http2.NewFramer(conn, conn)
	p.framer.AllowIllegalWrites = true
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.hpack = hpack.NewEncoder(&p.hbuf)
	tb.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return p
}

// rawTLS makes an authenticated TLS connection without saying anything on it.
func rawTLS(tb testing.TB, a netip.AddrPort) *tls.Conn {
	tb.Helper()
	c, err := tls.Dial("tcp", a.String(), certs.ClientConfig(certs.Static(clientMaterial()), trust))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// rawClient is a client that has said its preface and SETTINGS and has read the server's.
func rawClient(tb testing.TB, a netip.AddrPort, settings ...http2.Setting) *rawPeer {
	tb.Helper()
	p := newRawPeer(tb, rawTLS(tb, a))
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings(settings...)
	p.framer.WriteSettingsAck()
	p.await(http2.FrameSettings)
	return p
}

// block encodes fields given as name, value, name, value.
func (p *rawPeer) block(fields ...string) []byte {
	p.hbuf.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.hbuf.Bytes())
}

func (p *rawPeer) headers(id uint32, end bool, fields ...string) error {
	return p.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end,
	})
}

// connect opens a tunnel and does not wait for the answer.
func (p *rawPeer) connect(id uint32) error {
	return p.headers(id, false, ":method", "CONNECT", ":authority", "10.0.0.9:3000")
}

// await reads until a frame of the given type arrives and returns it.
func (p *rawPeer) await(t http2.FrameType) http2.Frame {
	p.tb.Helper()
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			p.tb.Fatalf("waiting for %v: %v", t, err)
		}
		if f.Header().Type == t {
			return f
		}
	}
}

// status reads until the answer to a CONNECT arrives.
func (p *rawPeer) status() string {
	p.tb.Helper()
	return p.await(http2.FrameHeaders).(*http2.MetaHeadersFrame).PseudoValue("status")
}

// end reads until the connection ends and returns the code of the last GOAWAY, and how many RST_STREAM there were.
func (p *rawPeer) end() (code http2.ErrCode, goAway bool, resets int) {
	p.tb.Helper()
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.tb.Fatal("the connection was not closed")
			}
			return code, goAway, resets
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			code, goAway = f.ErrCode, true
		case *http2.RSTStreamFrame:
			resets++
		}
	}
}

// expectEnd requires that the connection ends, with this code if a GOAWAY got through. (A peer that keeps sending may
// lose it: the kernel answers with a TCP reset.)
func (p *rawPeer) expectEnd(want http2.ErrCode) {
	p.tb.Helper()
	if got, goAway, _ := p.end(); goAway && got != want {
		p.tb.Errorf("GOAWAY says %v, want %v", got, want)
	}
}

// ping asks and waits for the answer: everything sent before has been processed then.
func (p *rawPeer) ping() {
	p.tb.Helper()
	data := [8]byte{'t', 'e', 's', 't'}
	p.framer.WritePing(false, data)
	for {
		if f := p.await(http2.FramePing).(*http2.PingFrame); f.IsAck() && f.Data == data {
			return
		}
	}
}

// drainInBackground keeps reading, so that a flood is not stopped by a full socket.
func (p *rawPeer) drainInBackground() (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, p.conn) })
	return wg.Wait
}

// stillServes requires that other connections are unharmed.
func stillServes(tb testing.TB, c net.Conn) {
	tb.Helper()
	buf := []byte("ping")
	c.SetDeadline(time.Now().Add(patience))
	if err := exchange(c, buf); err != nil {
		tb.Errorf("another connection suffered: %v", err)
	}
}

// frozen is a clock that stands still: a flood can then take as long as the machine needs.
func frozen() time.Time { return time.Unix(1_000_000, 0) }

// hostileServer is a server with a standing clock, and a healthy tunnel on another connection.
func hostileServer(tb testing.TB, handler func(*hbone.Request)) (netip.AddrPort, *hbone.Conn) {
	tb.Helper()
	_, addr := startServer(tb, hbone.ServerConfig{Now: frozen, Handler: handler})
	healthy := dial(tb, startPool(tb, hbone.PoolConfig{}), addr)
	return addr, healthy
}

// waitFor waits for something that must become true soon.
func waitFor(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

// listenTLS listens with our server's TLS configuration.
func listenTLS(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(certs.Static(serverMaterial()), trust))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func handshake(c net.Conn) error { return c.(*tls.Conn).Handshake() }

func addrPortOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
