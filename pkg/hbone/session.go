package hbone

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/identity"
)

// session is one HTTP/2 connection, of either role. One goroutine reads it (inbound.go). Whoever has something to say
// appends frames to the batch, and the first one who can afford to block writes it (outbound.go). Everything between
// mu and the end of the struct is guarded by mu; nothing blocks while holding it.
type session struct {
	role   role
	server bool // we accepted the connection; the peer opens the streams
	limits Limits
	now    func() time.Time
	log    *slog.Logger

	tls           *tls.Conn
	wire          *wire
	peer          identity.ID
	chain         []*x509.Certificate // as the peer sent it, leaf first; verified
	local, remote net.Addr

	framer *http2.Framer  // reader only
	hpack  *hpack.Decoder // reader only
	block  headerBlock    // reader only

	frames  atomic.Uint64  // complete frames and chunks received; the keep-alive compares it
	ready   chan struct{}  // closed when the peer's SETTINGS have arrived
	onReady func()         // called then, if not nil
	done    chan struct{}  // closed when everything has ended
	tasks   sync.WaitGroup // flushers and handlers

	mu      sync.Mutex
	err     error            // why the session ended; nil while it lives
	streams map[uint32]*Conn // streams that are open in at least one direction
	lastID  uint32           // highest stream id used
	running int              // handlers that have not returned (server)

	draining bool   // no new streams from us; the peer was, or will be, told so
	drainID  uint32 // when it is set, streams of the peer above it are ignored
	noticed  bool   // drainID has been announced
	notice   *time.Timer

	sendWindow    int64 // what the peer lets us send on the connection
	initialWindow int64 // what the peer lets us send on a new stream
	peerStreams   uint32
	recvWindow    int64 // what we let the peer send
	recvOwed      int64 // received and not credited yet
	buffered      int64 // unread bytes of all streams

	out      *batch // frames to be written; nil when there are none
	flushing bool   // somebody is writing a batch, or is about to
	broken   bool   // a write failed: nothing more can be said
	flushed  sync.Cond
	senders  []*Conn // streams waiting for room in the batch or for connection window, in order
	control  *http2.Framer
	encoder  *hpack.Encoder
	encoded  batch

	noise, resets  budget
	allowance      int       // WINDOW_UPDATE frames that our DATA explains
	settingsUnread int       // SETTINGS of ours without ACK
	aborted        []aborted // streams that we reset lately

	keepAlive *time.Timer
	seen      uint64 // frames at the last tick
	quiet     time.Duration
	pinged    bool // a PING is unanswered

	idle      *time.Timer // client: runs while there are no streams
	abandoned int         // client: CONNECTs we gave up before they were answered
}

// role is what the two ends of a connection do differently.
type role interface {
	// headers handles a decoded header block; called by the reader without mu.
	headers(s *session, id uint32, end bool, h *headerBlock) error
	// vacant is called with mu held when the last stream has ended.
	vacant(s *session)
}

// aborted is a stream we reset, and what the peer may still have on its way to it.
type aborted struct {
	id     uint32
	window int64
}

func newSession(r role, server bool, conn *tls.Conn, w *wire, limits Limits, now func() time.Time,
	log *slog.Logger,
) *session {
	s := &session{
		role: r, server: server, limits: limits, now: now, log: log,
		tls: conn, wire: w, local: w.LocalAddr(), remote: w.RemoteAddr(),
		framer:  http2.NewFramer(io.Discard, conn),
		ready:   make(chan struct{}),
		done:    make(chan struct{}),
		streams: make(map[uint32]*Conn),
		// Before the peer's SETTINGS arrive the protocol's initial values hold (RFC 9113, section 6.5.2).
		sendWindow: 65535, initialWindow: 65535, peerStreams: defaultStreamsPerConn, recvWindow: 65535,
		noise: budget{limit: noiseBudget}, resets: budget{limit: resetBudget},
	}
	s.flushed.L = &s.mu
	s.framer.SetMaxReadFrameSize(limits.MaxFrame)
	s.framer.SetReuseFrames()
	s.hpack = hpack.NewDecoder(headerTableSize, s.block.field)
	s.hpack.SetMaxStringLength(int(limits.HeaderList))
	s.block.limit = int(limits.HeaderList)
	s.encoder = hpack.NewEncoder(&s.encoded)
	s.encoder.SetMaxDynamicTableSizeLimit(0)
	return s
}

// run serves the connection until it ends, and returns why it ended when nothing of it is left running.
func (s *session) run() error {
	s.mu.Lock()
	s.announce()
	s.kick()
	s.mu.Unlock()
	s.fail(s.read())
	s.finish()
	s.tasks.Wait()
	close(s.done)
	return s.err
}

// announce queues our SETTINGS, after the client's preface (RFC 9113, section 3.4), and widens the connection window.
func (s *session) announce() {
	if !s.server {
		io.WriteString(s.batch(), http2.ClientPreface)
	}
	f := s.frame()
	f.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: s.limits.MaxStreams},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: s.limits.StreamWindow},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: s.limits.MaxFrame},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: s.limits.HeaderList},
	)
	s.settingsUnread++
	if widen := int64(s.limits.ConnWindow) - s.recvWindow; widen > 0 {
		f.WriteWindowUpdate(0, uint32(widen))
		s.recvWindow += widen
	}
}

// established is called by the reader after the peer's first SETTINGS: the handshake is over.
func (s *session) established() error {
	s.wire.SetDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err // the deadlines that fail set have just been cleared
	}
	s.keepAlive = time.AfterFunc(s.limits.PingInterval, s.tick)
	close(s.ready)
	if s.onReady != nil {
		s.onReady()
	}
	if s.draining && s.server {
		s.giveNotice()
	}
	return nil
}

// tick runs once per ping interval. A peer is dead when a PING was answered by nothing at all for the ping timeout; any
// complete frame, or a good part of a large one, counts as life.
func (s *session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if n := s.frames.Load(); n != s.seen {
		s.seen, s.quiet = n, 0
	} else if s.pinged {
		s.quiet += s.limits.PingInterval
	}
	if s.quiet >= s.limits.PingTimeout {
		s.failLocked(ErrPingTimeout)
		return
	}
	if !s.pinged {
		s.pinged = true
		s.frame().WritePing(false, keepAlivePing)
		s.kick()
	}
	s.keepAlive.Reset(s.limits.PingInterval)
}

// The payloads of our PINGs, so that we know which question an answer belongs to.
var (
	keepAlivePing = [8]byte{'w', 'a', 'y', 'm', 'a', 'r', 'k', 1}
	drainPing     = [8]byte{'w', 'a', 'y', 'm', 'a', 'r', 'k', 2}
)

// fail ends the session: every stream sees err, a GOAWAY is queued where the peer may still hear it, and the reader is
// woken so that it can finish. Only the first call counts.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *session) failLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	for _, t := range []*time.Timer{s.keepAlive, s.idle, s.notice} {
		if t != nil {
			t.Stop()
		}
	}
	for _, c := range s.streams {
		c.cut(err)
	}
	clear(s.streams)
	// Only the connection's own end of life is worth a GOAWAY; a lost peer would not hear it.
	code, speak := lastCode(err)
	if speak {
		s.frame().WriteGoAway(s.peerLast(), code, nil)
	} else {
		s.dropOut()
	}
	s.wire.SetWriteDeadline(time.Now().Add(lastWords))
	s.kickAlways()
	s.wire.SetReadDeadline(time.Unix(1, 0))
}

func lastCode(err error) (code http2.ErrCode, speak bool) {
	var ce *connError
	if errors.As(err, &ce) {
		return ce.code, true
	}
	if ue := (*untrustedError)(nil); errors.As(err, &ue) {
		return http2.ErrCodeNo, true
	}
	for _, ours := range []error{errDrained, errShutdown, errIdle, errEvicted, ErrPingTimeout} {
		if errors.Is(err, ours) {
			return http2.ErrCodeNo, true
		}
	}
	return 0, false
}

// peerLast is the highest stream id of the peer that we processed.
func (s *session) peerLast() uint32 {
	if s.server {
		return s.lastID
	}
	return 0
}

// finish sends what is left, bounded by the write deadline that fail set, and closes the connection. After last words it
// waits a moment for the peer to hang up: closing a socket with unread input would destroy what is still on its way. A
// peer that goes on sending is not waited for.
func (s *session) finish() {
	s.mu.Lock()
	for s.flushing {
		s.flushed.Wait()
	}
	_, speak := lastCode(s.err)
	speak = speak && !s.broken
	s.mu.Unlock()
	defer s.wire.Close()
	if !speak || s.tls.CloseWrite() != nil {
		return
	}
	if half, ok := s.wire.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		s.wire.SetReadDeadline(time.Now().Add(lastWords))
		io.CopyN(io.Discard, s.wire.Conn, lingerBytes)
	}
}

// spend counts a frame that carries nothing; over the budget it returns the error that ends the session.
func (s *session) spend(n int, what string) error {
	if s.noise.spend(s.now(), n) {
		return nil
	}
	return calm("flood of frames that carry nothing, the last one " + what)
}

// spendReset counts a reset caused by the peer.
func (s *session) spendReset(why string) error {
	if s.resets.spend(s.now(), 1) {
		return nil
	}
	return calm("flood of stream resets, the last one because of " + why)
}

// remember notes that we reset a stream, so that what is on its way to it is not taken for an error.
func (s *session) remember(id uint32, window int64) {
	if len(s.aborted) == abortedStreams {
		s.aborted = s.aborted[:copy(s.aborted, s.aborted[1:])]
	}
	s.aborted = append(s.aborted, aborted{id, window})
}

func (s *session) wasAborted(id uint32) *aborted {
	for i := range s.aborted {
		if s.aborted[i].id == id {
			return &s.aborted[i]
		}
	}
	return nil
}

// drain refuses new streams and ends the session when the last stream has ended. A server first says that it is about
// to leave, and names the last stream it serves only after a round trip: a stream that was on its way is served.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.draining {
		return
	}
	s.draining = true
	switch {
	case !s.server:
		s.endIfVacant()
	case s.keepAlive != nil: // else the handshake is not over, and whoever ends it gives notice
		s.giveNotice()
	}
}

// giveNotice says that we are about to leave.
func (s *session) giveNotice() {
	f := s.frame()
	f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
	f.WritePing(false, drainPing)
	s.kick()
	s.notice = time.AfterFunc(drainNotice, s.closeDoor)
}

// closeDoor names the last stream we serve; later ones are ignored, and the peer knows that they were not processed.
func (s *session) closeDoor() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeDoorLocked()
}

func (s *session) closeDoorLocked() {
	if s.err != nil || s.noticed {
		return
	}
	s.noticed, s.drainID = true, s.lastID
	s.frame().WriteGoAway(s.lastID, http2.ErrCodeNo, nil)
	s.kick()
	s.endIfVacant()
}

func (s *session) endIfVacant() {
	if len(s.streams) > 0 || s.err != nil {
		return
	}
	if s.draining && (s.noticed || !s.server) {
		s.failLocked(errDrained)
		return
	}
	s.role.vacant(s)
}
