package hbone_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/hbone"
)

// tcpPair returns both ends of a TCP connection.
func tcpPair(tb testing.TB) (a, b *net.TCPConn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// app <-TCP-> splice <-tunnel-> server: what a ztunnel does, and what raw TCP through the waypoint is.
func splicedPair(t *testing.T) (app *net.TCPConn, server *hbone.Conn, result chan error) {
	client, server := tunnel(t)
	app, local := tcpPair(t)
	result = make(chan error, 1)
	go func() {
		_, _, err := hbone.Splice(local, client)
		local.Close()
		client.Close()
		result <- err
	}()
	return app, server, result
}

func TestSpliceHalfClose(t *testing.T) {
	big := make([]byte, 2<<20)
	rand.Read(big)
	for _, first := range []string{"app", "server"} {
		app, server, result := splicedPair(t)
		var a, b hbone.DuplexConn = app, server
		if first == "server" {
			a, b = server, app
		}
		a.Write([]byte("request"))
		a.CloseWrite()
		if got, err := io.ReadAll(b); err != nil || string(got) != "request" {
			t.Errorf("%s closes first: read %q, %v", first, got, err)
		}
		go func() {
			b.Write(big)
			b.CloseWrite()
		}()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s closes first: it read %d bytes, %v, want %d", first, len(got), err, len(big))
		}
		if err := <-result; err != nil {
			t.Errorf("%s closes first: Splice returned %v", first, err)
		}
	}
}

// An abnormal end on one side is an abnormal end on the other.
func TestSpliceAbort(t *testing.T) {
	app, server, result := splicedPair(t)
	server.Write([]byte("half"))
	io.ReadFull(app, make([]byte, 4))
	server.Abort(io.ErrUnexpectedEOF)
	if _, err := app.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("after a reset of the tunnel the application reads %v", err)
	}
	if err := <-result; err == nil {
		t.Error("Splice returned no error")
	}

	app, server, result = splicedPair(t)
	app.Write([]byte("half"))
	io.ReadFull(server, make([]byte, 4))
	app.SetLinger(0)
	app.Close()
	if _, err := server.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("after a reset of the application's connection the tunnel reads %v", err)
	}
	if err := <-result; err == nil {
		t.Error("Splice returned no error")
	}
}

// The budget of the copy path: sending, receiving and copying one message through a tunnel allocates nothing.
func TestCopyPathDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget at random under the race detector")
	}
	app, server, _ := splicedPair(t)
	for _, size := range []int{300, 32 << 10} {
		buf := make([]byte, size)
		round := func() {
			if _, err := app.Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, buf); err != nil {
				t.Fatal(err)
			}
			if err := exchangeBack(server, app, buf); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 {
			round()
		}
		// AllocsPerRun rounds down, so that a collection which empties the pools in between is no failure.
		if got := testing.AllocsPerRun(300, round); got > 0 {
			t.Errorf("%d bytes there and back: %v allocations, want 0", size, got)
		}
	}
}

func exchangeBack(from, to net.Conn, buf []byte) error {
	if _, err := from.Write(buf); err != nil {
		return err
	}
	to.SetReadDeadline(time.Time{})
	_, err := io.ReadFull(to, buf)
	return err
}

// The budget of a tunnel: open, exchange and close, both ends together (performance row 11).
func TestTunnelAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget at random under the race detector")
	}
	_, addr := startServer(t, hbone.ServerConfig{Handler: smallEcho})
	p := startPool(t, hbone.PoolConfig{})
	to, buf := target(addr), make([]byte, 300)
	got := testing.AllocsPerRun(300, func() {
		c, err := p.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, buf); err != nil {
			t.Fatal(err)
		}
		c.CloseWrite()
		c.Read(buf)
		c.Close()
	})
	if got > 24 {
		t.Errorf("a tunnel takes %v allocations, want at most 24", got)
	}
}
