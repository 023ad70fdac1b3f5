package hbone_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
)

// mutedConn lets the first bytes through and then swallows what its owner writes: a peer that stops in mid-sentence.
type mutedConn struct {
	net.Conn
	left int
}

func (c *mutedConn) Write(p []byte) (int, error) {
	n := min(c.left, len(p))
	c.left -= n
	if n > 0 {
		if _, err := c.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Peers that stop at any byte of the handshake: TLS records, certificates, preface, SETTINGS. Each one must be gone when
// the handshake's time is over, and healthy tunnels go on meanwhile.
func TestPeersThatStopInTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryMesh(t, hbone.Limits{}, echo)
		defer m.close()
		healthy := m.dial(t)
		defer healthy.Close()
		start := time.Now()
		var stuck, total atomic.Int64
		for cut := 0; cut < 4000; cut += 61 {
			total.Add(1)
			stuck.Add(1)
			go func() {
				defer stuck.Add(-1)
				c := m.rawTLS(func(c net.Conn) net.Conn { return &mutedConn{c, cut} })
				defer c.Close()
				p := newSilentPeer(c)
				p.talk()
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("stopped after %d bytes: closed after %v", cut, took)
				}
			}()
		}
		time.Sleep(11 * time.Second) // the handshake limit, and a second
		synctest.Wait()
		stillServes(t, healthy)
		// Those who got through the handshake fall silent after it; the PING timeout is theirs.
		if got := stuck.Load(); got > total.Load()/3 {
			t.Errorf("%d of %d stuck peers are left after the handshake limit", got, total.Load())
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := stuck.Load(); got != 0 {
			t.Errorf("%d stuck peers are left after the PING timeout", got)
		}
		stillServes(t, healthy)
	})
}

// newSilentPeer makes a peer that does what a client does, whether or not it gets through.
type silentPeer struct{ conn net.Conn }

func newSilentPeer(c net.Conn) silentPeer { return silentPeer{c} }

func (p silentPeer) talk() {
	io.WriteString(p.conn, http2.ClientPreface)
	f := http2.NewFramer(p.conn, nil)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
	io.Copy(io.Discard, p.conn)
}

// A peer that sends one byte a second makes progress and is still out of time.
func TestDrippingHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryMesh(t, hbone.Limits{}, echo)
		defer m.close()
		conn, err := m.listener.Dial(t.Context(), m.target().Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		go io.Copy(io.Discard, conn)
		hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}
		for i := 0; ; i++ {
			if _, err := conn.Write(hello[i%len(hello) : i%len(hello)+1]); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("a dripping peer was kept for %v", took)
		}
	})
}

// HEADERS that never end stop the connection for everybody on it: ten seconds.
func TestHeadersThatNeverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryMesh(t, hbone.Limits{}, echo)
		defer m.close()
		c := m.rawTLS(nil)
		defer c.Close()
		start := time.Now()
		newSilentPeer(c).talk() // its last frame is HEADERS without END_HEADERS
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("an unfinished header block was waited for %v", took)
		}
	})
}

// A peer whose network vanished is found by PING within half a minute, by either role, and its tunnels end with that
// reason.
func TestPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 1)
		m := newMemoryMesh(t, hbone.Limits{}, func(r *hbone.Request) {
			c, _ := r.Accept(nil)
			_, err := c.Read(make([]byte, 1))
			errs <- err
		})
		defer m.close()
		c := newRawPeer(t, m.rawTLS(nil))
		io.WriteString(c.conn, http2.ClientPreface)
		c.framer.WriteSettings()
		c.framer.WriteSettingsAck()
		c.conn.SetDeadline(time.Time{})
		c.connect(1)
		c.status()
		start := time.Now()
		for { // read but never answer
			if _, err := c.framer.ReadFrame(); err != nil {
				break
			}
		}
		if err := <-errs; !errors.Is(err, hbone.ErrPingTimeout) {
			t.Errorf("tunnel ended with %v, want %v", err, hbone.ErrPingTimeout)
		}
		if took := time.Since(start); took < 20*time.Second || took > 31*time.Second {
			t.Errorf("a silent peer was dropped after %v, want 20 to 31 s", took)
		}
	})
}

// An idle connection whose peers both answer PING lives on; the client closes it after the idle time without tunnels.
func TestIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryMesh(t, hbone.Limits{}, echo)
		defer m.close()
		c := m.dial(t)
		time.Sleep(10 * time.Minute)
		stillServes(t, c)
		c.SetDeadline(time.Time{})
		c.CloseWrite()
		io.ReadAll(c)
		c.Close()

		before := m.listener.dials.Load()
		time.Sleep(4 * time.Minute)
		m.dial(t).Close()
		if got, want := m.listener.dials.Load()-before, int64(0); got != want {
			t.Errorf("%d connects within the idle time, want %d", got, want)
		}
		time.Sleep(6 * time.Minute)
		m.dial(t).Close()
		if got, want := m.listener.dials.Load()-before, int64(1); got != want {
			t.Errorf("%d connects after the idle time, want %d", got, want)
		}
	})
}
