package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// guard reads an inner connection and lets HTTP/1 bytes through only after it has understood their framing in the one way
// there is (RFC 9112). net/http repairs what it can: it drops a Content-Length beside Transfer-Encoding, ignores chunk
// extensions and accepts a bare LF. A backend may repair differently, and then two requests are one or one is two. The
// guard repairs nothing: what is not plain is refused before net/http sees it. HTTP/2 passes as it is; its framing is not
// ambiguous.
type guard struct {
	conn    duplex
	refused func(status int, cause error) // records, and answers unless status is 0: then an exchange is in flight

	base  []byte // the memory behind buf
	buf   []byte // read and not yet handed on
	ok    int    // how many leading bytes of buf may be handed on
	state guardState
	need  int64 // bytes left of a body or chunk
	first bool  // nothing was read yet
	err   error // sticky

	misframed atomic.Bool  // the body of the exchange in flight broke off
	busy      atomic.Int32 // heads handed on whose exchange has not ended; two if the next request came early

	mu       sync.Mutex
	deadline time.Time     // set by net/http
	headBy   time.Time     // set by us while a head is incomplete
	leaveBy  time.Time     // set by us while nothing is on the connection and we take leave
	applied  time.Time     // what the connection has
	quiet    bool          // nothing is on the connection: HTTP/1, between two exchanges or before the first
	leaving  time.Duration // how long that may last; 0 is for ever
}

type guardState int

const (
	inHead guardState = iota
	inBody
	inChunkSize
	inChunk // data and its CRLF
	inTrailer
	opaque
)

// errFraming marks a refusal by the guard.
var errFraming = errors.New("HTTP/1 framing")

func framing(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errFraming, fmt.Sprintf(format, args...))
}

// errHeadTooLarge is a head past maxHeadBytes or maxHeaders.
var errHeadTooLarge = fmt.Errorf("%w: head over %d bytes or %d fields", errFraming, maxHeadBytes, maxHeaders)

func newGuard(c duplex, refused func(int, error)) *guard {
	return &guard{conn: c, refused: refused, first: true, quiet: true}
}

// begin reads until the first head is there, and reports whether what comes is HTTP/2.
func (g *guard) begin() (http2 bool, err error) {
	for g.ok == 0 && g.state != opaque {
		moved, err := g.advance()
		if err != nil {
			return false, g.fail(err)
		}
		if moved {
			continue
		}
		if err := g.fill(); err != nil {
			return false, err
		}
	}
	return g.state == opaque, nil
}

// Read hands on bytes whose framing is understood.
func (g *guard) Read(b []byte) (int, error) {
	for {
		if g.ok > 0 {
			n := copy(b, g.buf[:g.ok])
			g.buf, g.ok = g.buf[n:], g.ok-n
			return n, nil
		}
		if g.err != nil {
			return 0, g.err
		}
		if g.state == opaque && len(g.buf) == 0 {
			return g.conn.Read(b)
		}
		moved, err := g.advance()
		if err != nil {
			return 0, g.fail(err)
		}
		if moved {
			continue
		}
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads once from the connection. A deadline is passed on and may be retried; every other error is final.
func (g *guard) fill() error {
	switch {
	case len(g.buf) == 0 && cap(g.base) == 0:
		g.base = make([]byte, 0, guardBuffer)
		g.buf = g.base
	case len(g.buf) == 0:
		g.buf = g.base[:0]
	case len(g.buf) == cap(g.buf) && len(g.buf) < cap(g.base): // there is room again at the beginning
		g.buf = append(g.base[:0], g.buf...)
	case len(g.buf) == cap(g.buf):
		g.base = append(make([]byte, 0, 2*len(g.buf)), g.buf...)
		g.buf = g.base
	}
	n, err := g.conn.Read(g.buf[len(g.buf):cap(g.buf)])
	g.buf = g.buf[:len(g.buf)+n]
	if n > 0 {
		g.stir()
		return nil
	}
	if err == io.EOF && (len(g.buf) > 0 || g.state != inHead) && g.state != opaque {
		err = io.ErrUnexpectedEOF
	}
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() && g.headLate() {
		return g.fail(framing("head not complete after %s", headTimeout))
	} else if ok && timeout.Timeout() && g.overstayed() {
		g.err = io.EOF // net/http hangs up on this without a word
		return g.err
	}
	return err
}

func (g *guard) fail(err error) error {
	g.err = err
	if g.busy.Load() > 0 {
		if g.state == inHead { // a request that came early: it cannot be answered out of turn, and both end here
			g.refused(0, err)
			return err
		}
		g.misframed.Store(true)
		return err // the exchange in flight reads its body to this error, and answers
	}
	status := http.StatusBadRequest
	if errors.Is(err, errHeadTooLarge) {
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	g.refused(status, err)
	g.err = io.EOF // net/http hangs up on this without an answer of its own
	return g.err
}

// idle says that an exchange is over and its answer is written: net/http reads no more on its behalf.
func (g *guard) idle() {
	if g.busy.Add(-1) > 0 || g.state == opaque || len(g.buf) > 0 { // the next head came early, or begins already
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = true
	g.setLeave()
}

// leave ends the connection when nothing has been on it for a while. It never ends one under a head that has begun.
func (g *guard) leave(after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaving = after
	g.setLeave()
}

func (g *guard) setLeave() {
	if g.quiet && g.leaving > 0 {
		g.leaveBy = time.Now().Add(g.leaving)
		_ = g.apply()
	}
}

// stir notes that there is something on the connection.
func (g *guard) stir() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = false
	if !g.leaveBy.IsZero() {
		g.leaveBy = time.Time{}
		_ = g.apply()
	}
}

// overstayed reports whether the connection was to end by now, with nothing on it.
func (g *guard) overstayed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quiet && !g.leaveBy.IsZero() && !time.Now().Before(g.leaveBy)
}

// release ends guarding and returns what was read and not handed on.
func (g *guard) release() []byte {
	rest := g.buf
	g.buf, g.ok, g.state = nil, 0, opaque
	return rest
}

// advance moves over what is in buf and reports whether any of it may be handed on or the state changed.
func (g *guard) advance() (bool, error) {
	switch g.state {
	case opaque:
		g.ok = len(g.buf)
		return g.ok > 0, nil
	case inHead:
		return g.head()
	case inBody:
		return g.pass(inHead), nil
	case inChunk:
		return g.chunk()
	case inChunkSize:
		return g.chunkSize()
	default:
		return g.trailer()
	}
}

const preface = "PRI * HTTP/2.0\r\n"

func (g *guard) head() (bool, error) {
	if len(g.buf) == 0 {
		return false, nil
	}
	if g.first && bytes.HasPrefix([]byte(preface), g.buf[:min(len(g.buf), len(preface))]) {
		if len(g.buf) < len(preface) {
			g.startHead()
			return false, nil
		}
		g.state = opaque
		g.endHead()
		return true, nil
	}
	end, err := headEnd(g.buf)
	if err != nil {
		return false, err
	}
	if end < 0 {
		g.startHead()
		return false, nil
	}
	g.endHead()
	f, err := parseFraming(g.buf[:end])
	if err != nil {
		return false, err
	}
	g.first, g.ok = false, end
	g.busy.Add(1)
	switch {
	case f.chunked:
		g.state = inChunkSize
	case f.length > 0:
		g.state, g.need = inBody, f.length
	}
	return true, nil
}

// pass hands on up to need bytes and goes to next when they are through.
func (g *guard) pass(next guardState) bool {
	take := min(int64(len(g.buf)), g.need)
	g.ok = int(take)
	if g.need -= take; g.need == 0 {
		g.state = next
	}
	return take > 0
}

func (g *guard) chunk() (bool, error) {
	if g.need > 2 { // data; its CRLF is checked, not passed blindly
		take := min(int64(len(g.buf)), g.need-2)
		g.ok, g.need = int(take), g.need-take
		return take > 0, nil
	}
	if len(g.buf) < 2 {
		return false, nil
	}
	if g.buf[0] != '\r' || g.buf[1] != '\n' {
		return false, framing("chunk data is not followed by CRLF")
	}
	g.ok, g.state = 2, inChunkSize
	return true, nil
}

func (g *guard) chunkSize() (bool, error) {
	i := bytes.IndexByte(g.buf, '\n')
	if i < 0 {
		if len(g.buf) > 18 {
			return false, framing("chunk size line too long; chunk extensions are refused")
		}
		return false, nil
	}
	line := g.buf[:i+1]
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return false, framing("chunk size line does not end in CRLF")
	}
	digits := line[:len(line)-2]
	for _, c := range digits {
		if !isHex(c) {
			return false, framing("chunk size is not plain hexadecimal; chunk extensions are refused")
		}
	}
	n, err := strconv.ParseInt(string(digits), 16, 63)
	if err != nil || len(digits) > 16 {
		return false, framing("chunk size out of range")
	}
	if g.state = inTrailer; n > 0 {
		g.state, g.need = inChunk, n+2
	}
	g.ok = len(line)
	return true, nil
}

func (g *guard) trailer() (bool, error) {
	if bytes.HasPrefix(g.buf, []byte("\r\n")) {
		g.ok, g.state = 2, inHead
		return true, nil
	}
	if len(g.buf) < 2 {
		return false, nil
	}
	end, err := headEnd(g.buf)
	if err != nil || end < 0 {
		return false, err
	}
	if err := checkTrailer(g.buf[:end]); err != nil {
		return false, err
	}
	g.ok, g.state = end, inHead
	return true, nil
}

func (g *guard) startHead() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.headBy.IsZero() {
		g.headBy = time.Now().Add(headTimeout)
		_ = g.apply()
	}
}

func (g *guard) endHead() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.headBy.IsZero() {
		g.headBy = time.Time{}
		_ = g.apply()
	}
}

func (g *guard) headLate() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.headBy.IsZero() && !time.Now().Before(g.headBy)
}

func (g *guard) setReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	return g.apply()
}

// apply sets the earliest of net/http's deadline and ours.
func (g *guard) apply() error {
	t := g.deadline
	for _, ours := range [...]time.Time{g.headBy, g.leaveBy} {
		if !ours.IsZero() && (t.IsZero() || ours.Before(t)) {
			t = ours
		}
	}
	if t.Equal(g.applied) { // net/http clears its deadline again and again
		return nil
	}
	g.applied = t
	return g.conn.SetReadDeadline(t)
}
