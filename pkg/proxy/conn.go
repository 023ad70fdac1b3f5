package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/call"
)

// innerConn is the connection net/http sees: the tunnel's stream behind a framing guard.
type innerConn struct {
	duplex
	tunnel  *tunnel
	guard   *guard
	ctx     context.Context // of the tunnel
	aborted atomic.Bool     // the last exchange ended early: the client must see that
	leaving *atomic.Bool    // the server takes leave: each answer is the last one here
	notices *noticed        // of HTTP/2; also the duplex
	once    sync.Once

	over      chan struct{} // closed when the connection is closed and no exchange is left on it
	mu        sync.Mutex
	closed    bool
	exchanges int
}

func newInnerConn(ctx context.Context, c duplex, t *tunnel) *innerConn {
	conn := &innerConn{duplex: c, tunnel: t, ctx: ctx, over: make(chan struct{})}
	conn.guard = newGuard(c, conn.refuse)
	return conn
}

// enter begins an exchange, unless the connection is closed.
func (c *innerConn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.exchanges++
	return true
}

func (c *innerConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exchanges--; c.closed && c.exchanges == 0 {
		close(c.over)
	}
}

// cut ends the connection at once, and visibly so if an exchange is on it.
func (c *innerConn) cut() {
	c.mu.Lock()
	busy := c.exchanges > 0
	c.mu.Unlock()
	if busy {
		c.aborted.Store(true)
	}
	c.once.Do(c.finish)
}

func (c *innerConn) finish() {
	_ = c.duplex.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.exchanges == 0 {
		close(c.over)
	}
}

// refuse puts bytes that never became a request on record, and answers them unless status is 0.
func (c *innerConn) refuse(status int, cause error) {
	code := call.Ambiguous
	if errors.Is(cause, errHeadTooLarge) {
		code = call.TooLarge
	}
	c.tunnel.refused(code, status, cause)
	if status == 0 {
		return
	}
	body := string(code) + "\n"
	_ = c.duplex.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = fmt.Fprintf(c.duplex, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

func (c *innerConn) Read(b []byte) (int, error) { return c.guard.Read(b) }

// SetDeadline and SetReadDeadline pass through the guard, which has a deadline of its own on heads.
func (c *innerConn) SetReadDeadline(t time.Time) error { return c.guard.setReadDeadline(t) }
func (c *innerConn) SetDeadline(t time.Time) error {
	if err := c.duplex.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.guard.setReadDeadline(t)
}

// Close ends the connection. After a complete answer it half-closes and lingers, so that the answer arrives whole; after
// an aborted one it resets at once. It does not wait for that, as net/http closes many under one lock; the tunnel's handler
// does.
func (c *innerConn) Close() error {
	c.once.Do(func() {
		if !c.aborted.Load() && c.duplex.CloseWrite() == nil {
			go c.linger()
			return
		}
		c.finish()
	})
	return nil
}

func (c *innerConn) linger() {
	defer c.finish()
	_ = c.duplex.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.duplex, lingerBytes)
}

// release takes the stream out of HTTP after an upgrade. Bytes the guard already read come first.
func (c *innerConn) release() *released {
	return &released{innerConn: c, rest: bytes.NewReader(c.guard.release())}
}

// released is an upgraded connection: raw bytes both ways.
type released struct {
	*innerConn
	rest *bytes.Reader
}

func (r *released) Read(b []byte) (int, error) {
	if r.rest.Len() > 0 {
		return r.rest.Read(b)
	}
	return r.innerConn.duplex.Read(b)
}

// end closes an upgraded connection. After an error the client can tell it from a clean end.
func (r *released) end(err error) {
	if err != nil {
		r.aborted.Store(true)
	}
	_ = r.Close()
}

func (r *released) SetReadDeadline(t time.Time) error { return r.innerConn.duplex.SetReadDeadline(t) }
func (r *released) SetDeadline(t time.Time) error     { return r.innerConn.duplex.SetDeadline(t) }

// prefixed is a stream of which some bytes were already read.
type prefixed struct {
	duplex
	rest []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.rest) > 0 {
		n := copy(b, p.rest)
		p.rest = p.rest[n:]
		return n, nil
	}
	return p.duplex.Read(b)
}

var _ net.Conn = (*innerConn)(nil)
