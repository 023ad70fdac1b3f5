package hbone

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/identity"
)

// Conn is one tunnel: a byte stream with a verified peer. It is a net.Conn; its methods may be called concurrently.
// Deadlines yield [os.ErrDeadlineExceeded] and leave the tunnel usable.
//
// A tunnel has two directions that end separately. CloseWrite ends ours; Read returns io.EOF when the peer ended the
// other. When both have ended the tunnel is over. Anything else is an abnormal end and visible as an error to both.
type Conn struct {
	s         *session
	id        uint32
	authority string
	fields    []hpack.HeaderField // of the request (server) or the response (client)
	header    http.Header         // made from fields on demand
	req       Request
	opened    time.Time

	readMu, writeMu sync.Mutex // one reader and one writer at a time

	// The rest is guarded by s.mu.
	rcond, wcond sync.Cond // rcond is also signalled when the answer to a CONNECT has arrived
	in           queue
	want         []byte // the buffer of a reader that waits
	got          int    // how much was placed there
	recvWindow   int64
	recvOwed     int64
	sendWindow   int64
	readTimer    deadline
	writeTimer   deadline
	rerr, werr   error // why reading (after the queue is empty) or writing has ended
	open         bool  // the stream is in s.streams
	recvEnd      bool  // END_STREAM received
	sentEnd      bool  // END_STREAM sent
	queued, turn bool  // waiting in s.senders; called from there
	answered     bool  // server: response headers are out
	spoke        bool  // DATA of ours is out: the stream was what streams are for
	retryable    bool  // client: the peer did not process the stream
	status       int   // client: of the response
	ctx          context.Context
	cancel       context.CancelCauseFunc
}

func (s *session) newConn(id uint32) *Conn {
	c := &Conn{s: s, id: id, opened: s.now(), open: true}
	c.req.conn = c
	c.rcond.L, c.wcond.L = &s.mu, &s.mu
	c.recvWindow, c.sendWindow = int64(s.limits.StreamWindow), s.initialWindow
	s.streams[id] = c
	return c
}

// Peer returns the verified identity at the other end of the connection.
func (c *Conn) Peer() identity.ID { return c.s.peer }

// PeerCertificate returns the verified leaf certificate of the peer.
func (c *Conn) PeerCertificate() *x509.Certificate { return c.s.chain[0] }

// Authority returns the destination named in the CONNECT request.
func (c *Conn) Authority() string { return c.authority }

// Header returns the header fields of the CONNECT request on a server, and of its response on a client. The caller must
// not modify the result.
func (c *Conn) Header() http.Header {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.header == nil {
		c.header = toHeader(c.fields)
	}
	return c.header
}

// LocalAddr returns our end of the underlying TCP connection.
func (c *Conn) LocalAddr() net.Addr { return c.s.local }

// RemoteAddr returns the peer's end of the underlying TCP connection.
func (c *Conn) RemoteAddr() net.Addr { return c.s.remote }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// Read reads what the peer sent. It returns io.EOF after the peer's clean end, and never after any other.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case c.got > 0:
			n := c.got
			c.got = 0
			c.consumed(n)
			return n, nil
		case c.readTimer.expired:
			c.want = nil
			return 0, os.ErrDeadlineExceeded
		case c.in.size > 0:
			n := c.in.read(p)
			s.buffered -= int64(n)
			c.consumed(n)
			return n, nil
		case c.rerr != nil:
			c.want = nil
			return 0, c.rerr
		}
		c.want = p
		c.rcond.Wait()
	}
}

// consumed gives stream credit back in quarters of the window, and connection credit that was held back.
func (c *Conn) consumed(n int) {
	s := c.s
	c.recvOwed += int64(n)
	if c.open && !c.recvEnd && c.recvOwed >= int64(s.limits.StreamWindow)/4 {
		s.frame().WriteWindowUpdate(c.id, uint32(c.recvOwed))
		c.recvWindow += c.recvOwed
		c.recvOwed = 0
		s.kick()
	}
	s.creditConn()
}

// Write sends p. It returns when all of p is on its way or queued behind data that is; a later loss of the connection
// shows in the next call.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.writeError(); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		k, err := c.reserve(len(p))
		if err != nil {
			return n, err
		}
		s.appendData(c.id, p[:k], false)
		s.wakeSender()
		p = p[k:]
		n += k
	}
	c.flush()
	return n, nil
}

// flush writes what we appended, or leaves it to whoever is writing. A writer with a deadline does not write itself: a
// peer that stops reading could hold it for longer.
func (c *Conn) flush() {
	s := c.s
	switch {
	case s.out == nil || s.flushing || s.err != nil:
	case c.writeTimer.set:
		s.kick()
	default:
		s.flush()
	}
}

// reserve takes window for up to want bytes of one DATA frame, and waits for it if it must.
func (c *Conn) reserve(want int) (int, error) {
	s := c.s
	for {
		if err := c.writeError(); err != nil {
			c.giveUpTurn()
			return 0, err
		}
		switch {
		case c.sendWindow <= 0:
			c.giveUpTurn()
			c.flush() // what was appended so far must not wait for the window of this stream
			if c.sendWindow > 0 || c.writeError() != nil {
				continue
			}
			c.wcond.Wait()
		case s.full() && !s.flushing && !c.writeTimer.set:
			s.flush()
		case s.full() || s.sendWindow <= 0 || len(s.senders) > 0 && !c.turn:
			s.enqueue(c)
			s.kick()
			c.wcond.Wait()
		default:
			n := min(int64(want), dataFrame, c.sendWindow, s.sendWindow)
			c.sendWindow -= n
			s.sendWindow -= n
			c.spoke = true
			c.turn = false
			return int(n), nil
		}
	}
}

// giveUpTurn leaves the line, and passes on the turn if there was one.
func (c *Conn) giveUpTurn() {
	c.s.leaveLine(c)
	if c.turn {
		c.turn = false
		c.s.wakeSender()
	}
}

func (c *Conn) writeError() error {
	if c.writeTimer.expired {
		return os.ErrDeadlineExceeded
	}
	return c.werr
}

// CloseWrite ends our direction cleanly: the peer reads io.EOF after everything written so far. Reading goes on.
func (c *Conn) CloseWrite() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.sentEnd {
		return nil
	}
	if c.werr != nil {
		return c.werr
	}
	c.sendEnd()
	c.flush()
	return nil
}

// sendEnd queues END_STREAM.
func (c *Conn) sendEnd() {
	c.s.appendData(c.id, nil, true)
	c.sentEnd, c.werr = true, errWriteClosed
	c.wcond.Broadcast()
	c.endIfBothEnded()
}

// peerEnded notes the peer's END_STREAM.
func (c *Conn) peerEnded() {
	c.recvEnd, c.rerr = true, io.EOF
	c.endIfBothEnded()
}

func (c *Conn) endIfBothEnded() {
	if c.recvEnd && c.sentEnd {
		c.detach(nil)
	}
}

// Close ends the tunnel at once. It is clean if both directions have ended; otherwise the peer sees an abnormal end, so
// that half an answer never looks whole: a server of close-delimited data calls CloseWrite first. It may be called more
// than once and unblocks Read and Write.
func (c *Conn) Close() error {
	c.Abort(errClosed)
	return nil
}

// Abort ends the tunnel abnormally: the peer sees RST_STREAM with INTERNAL_ERROR, and pending and later calls here
// return err. If the tunnel is over already it only releases what is left.
func (c *Conn) Abort(err error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.open {
		c.reset(http2.ErrCodeInternal, err)
	}
	c.discardInput()
	if c.rerr == nil || c.rerr == io.EOF {
		c.rerr = err
	}
	c.werr = err
	c.readTimer.stop()
	c.writeTimer.stop()
	c.wake()
}

// reset sends RST_STREAM and ends the stream here with cause.
func (c *Conn) reset(code http2.ErrCode, cause error) {
	s := c.s
	s.frame().WriteRSTStream(c.id, code)
	s.remember(c.id, c.recvWindow)
	c.end(cause)
	s.kick()
}

// end takes the stream out of the session because it ended abnormally. What was received before can still be read,
// except that after the end the error stands where io.EOF would.
func (c *Conn) end(cause error) {
	c.cut(cause)
	c.detach(cause)
}

// cut makes cause the answer to further reads and writes.
func (c *Conn) cut(cause error) {
	c.open = false
	if c.rerr == nil {
		c.rerr = cause
	}
	if c.werr == nil || c.sentEnd {
		c.werr = cause
	}
	if c.cancel != nil {
		c.cancel(cause)
	}
	c.s.leaveLine(c)
	c.wake()
}

// detach removes the stream from the session.
func (c *Conn) detach(cause error) {
	c.open = false
	if c.cancel != nil {
		c.cancel(cause)
	}
	if c.spoke {
		c.s.resets.earn()
	}
	if c.s.err == nil {
		delete(c.s.streams, c.id)
		c.s.endIfVacant()
	}
}

func (c *Conn) discardInput() {
	c.s.buffered -= int64(c.in.drop())
	c.want, c.got = nil, 0
	c.s.creditConn()
}

func (c *Conn) wake() {
	c.rcond.Broadcast()
	c.wcond.Broadcast()
}
