package hbone

import (
	"errors"
	"io"
	"net"
	"sync"
)

// DuplexConn is a connection whose two directions end separately: a [Conn], a *net.TCPConn, a *tls.Conn.
type DuplexConn interface {
	net.Conn
	CloseWrite() error
}

var spliceBuffers = sync.Pool{New: func() any { return new([spliceBuffer]byte) }}

// Splice copies both directions between a and b until both have ended, and returns how many bytes went each way. The
// clean end of one direction is passed on with CloseWrite and leaves the other alone. An error in either direction ends
// both connections abnormally, so that neither side takes it for a clean end; it is returned. The caller still closes
// a and b.
func Splice(a, b DuplexConn) (aToB, bToA int64, err error) {
	back := make(chan error, 1)
	go func() {
		var err error
		bToA, err = pipe(a, b)
		back <- err
	}()
	aToB, err = pipe(b, a)
	return aToB, bToA, errors.Join(err, <-back)
}

// pipe copies one direction and passes on how it ended.
func pipe(dst, src DuplexConn) (n int64, err error) {
	if n, err = copyAll(dst, src); err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		abort(src, err)
		abort(dst, err)
	}
	return n, err
}

// copyAll is the copy loop. It allocates nothing, and holds a buffer only while there is something to copy if the
// source can be waited for without one.
func copyAll(dst io.Writer, src io.Reader) (n int64, err error) {
	tunnel, _ := src.(*Conn)
	for {
		if tunnel != nil {
			tunnel.awaitInput()
		}
		buf := spliceBuffers.Get().(*[spliceBuffer]byte)
		m, rerr := src.Read(buf[:])
		if m > 0 {
			if _, werr := dst.Write(buf[:m]); werr != nil {
				spliceBuffers.Put(buf)
				return n, werr
			}
			n += int64(m)
		}
		spliceBuffers.Put(buf)
		switch {
		case rerr == io.EOF:
			return n, nil
		case rerr != nil:
			return n, rerr
		}
	}
}

// awaitInput blocks until Read would not.
func (c *Conn) awaitInput() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for c.in.size == 0 && c.rerr == nil && !c.readTimer.expired {
		c.rcond.Wait()
	}
}

// abort ends a connection so that the peer can tell it from a clean end: RST_STREAM or a TCP reset.
func abort(c net.Conn, err error) {
	switch c := c.(type) {
	case interface{ Abort(error) }:
		c.Abort(err)
		return
	case *net.TCPConn:
		c.SetLinger(0)
	}
	c.Close()
}
