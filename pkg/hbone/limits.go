package hbone

import "time"

// Sizes and times on the wire. Those a deployment may want to change are defaults of [Limits]; the others follow from
// the protocol or from one another.
const (
	// defaultMaxStreams is what we announce as MAX_CONCURRENT_STREAMS. ztunnel opens up to 100 before it has read our
	// SETTINGS and never learns a lower number (contract ambient 4.5), so less than 100 would break it.
	defaultMaxStreams = 250

	// defaultStreamWindow is how much one stream may send us before its reader consumed anything, and so the most
	// that one stalled stream buffers. 64 KB halves throughput, 4 MiB doubles the tail latency of its neighbours.
	defaultStreamWindow = 1 << 20

	// defaultConnWindow is the same for a whole connection: many times the stream window, because with equal windows
	// one stalled stream stops all others (contract ambient 4.4).
	defaultConnWindow = 16 << 20

	// defaultConnBuffer bounds what all stalled streams of one connection hold together. Connection credit is given
	// on receipt, so that a stalled stream costs its neighbours nothing; past this bound it waits for readers, so that
	// 250 stalled streams cannot hold 250 windows.
	defaultConnBuffer = 64 << 20

	// defaultMaxFrame is the largest frame we accept: what ztunnel accepts and may therefore send.
	defaultMaxFrame = 1 << 20

	// defaultHeaderList bounds the decoded size of a header block (RFC 9113, section 6.5.2), and its encoded size too.
	defaultHeaderList = 64 << 10

	// maxHeaderFields bounds the number of fields: a field costs us more than its bytes.
	maxHeaderFields = 100

	// maxHeaderFrames bounds the frames of one header block; 64 KiB in the smallest usual frames need four.
	maxHeaderFrames = 32

	// maxHeaderSent bounds a header block of ours. ztunnel announces 16 KiB as a client; one frame holds it.
	maxHeaderSent = 16 << 10

	// headerTableSize is the HPACK table we let a peer fill: the protocol's default. Our own encoder uses none: what is
	// never indexed cannot fall out of step, and tunnels open too rarely for the bytes to matter.
	headerTableSize = 4096

	// dataFrame is the payload of a full DATA frame of ours: with its header it fills exactly one TLS record.
	dataFrame = 16<<10 - frameHeader

	// frameHeader is the size of a frame header (RFC 9113, section 4.1).
	frameHeader = 9

	// batchTarget is when a batch of frames is full and writers wait for the flush: a 32 KB write with its frame
	// headers fits, and what stands in front of a small message stays small.
	batchTarget = 36 << 10

	// batchSize is the size of a batch buffer: the target, one more full frame, and room for control frames.
	batchSize = 56 << 10

	// smallFlush is when a flush is small enough that yielding once first is likely to gather more of it.
	smallFlush = 4 << 10

	// maxBacklog bounds the frames that wait for a peer which does not read. Data waits elsewhere (batchTarget), so
	// only answers to the peer's own frames get this far: whoever asks and never reads is cut.
	maxBacklog = 256 << 10

	// chunkSize is the unit of receive buffers: one full DATA frame of a 16 KB peer, and with its bookkeeping exactly
	// one size class of the allocator.
	chunkSize = 18<<10 - 24

	// spliceBuffer is the copy buffer of one direction: two full DATA frames, so that a full read is a whole batch.
	spliceBuffer = 2 * dataFrame

	// defaultHandshakeTimeout bounds everything before the peer's first SETTINGS, counted from the accepted
	// connection: TLS, preface, settings. No phase begins without this deadline.
	defaultHandshakeTimeout = 10 * time.Second

	// defaultHandshakes is how many accepted connections may be in that phase. The oldest one gives way to a new
	// one: a healthy handshake takes milliseconds, so that only stuck peers are old.
	defaultHandshakes = 4096

	// headerTimeout bounds the time from HEADERS without END_HEADERS to the end of the block; the connection can do
	// nothing else meanwhile.
	headerTimeout = 10 * time.Second

	// defaultPingInterval and defaultPingTimeout are ztunnel's and Envoy's figures (contract ambient 4.4). They find
	// peers whose network namespace vanished without a FIN (istio/ztunnel#1191).
	defaultPingInterval = 10 * time.Second
	defaultPingTimeout  = 20 * time.Second

	// defaultDialTimeout bounds a TCP connect, as ztunnel does.
	defaultDialTimeout = 10 * time.Second

	// TCP keep-alive as ztunnel sets it: 180 s idle, 180 s apart, 9 probes.
	keepAlivePeriod = 180 * time.Second
	keepAliveProbes = 9

	// defaultStreamsPerConn is how many tunnels our client puts on one connection: ztunnel's figure.
	defaultStreamsPerConn = 100

	// defaultIdleTimeout is when our client closes a connection without tunnels (ztunnel: 5 minutes).
	defaultIdleTimeout = 5 * time.Minute

	// drainNotice is how long a draining server waits for the answer to the PING behind its first GOAWAY, before it
	// names the last stream it will serve. Streams that crossed that GOAWAY on the wire are still served.
	drainNotice = time.Second

	// lastWords bounds how long a connection that is being closed tries to send its GOAWAY.
	lastWords = time.Second

	// lingerBytes is how much input such a connection still takes: the control frames of a peer that has not noticed.
	lingerBytes = 64 << 10

	// floodWindow is the span over which the two budgets below are counted.
	floodWindow = 10 * time.Second

	// noiseBudget is how many frames that carry nothing (SETTINGS, PING, PRIORITY, empty DATA, unknown types, and
	// WINDOW_UPDATE beyond what the DATA we sent explains) a peer may send in that span.
	noiseBudget = 1000

	// resetBudget is how many rapid resets a peer may cause in that span: its own RST_STREAM within rapidReset of
	// opening a stream and before it heard anything on it (CVE-2023-44487), and every reset that its mistakes force on us
	// (CVE-2025-8671). Each stream that carried something of ours earns one: a peer that carries the calls of many callers
	// passes on their changes of mind, too.
	resetBudget = 100
	rapidReset  = time.Second

	// updatesPerData is how many WINDOW_UPDATE frames one DATA frame of ours explains: one for the stream and one
	// for the connection. updateAllowance bounds how many can be saved up; it covers the frames of a full window.
	updatesPerData  = 2
	updateAllowance = 4096

	// abortedStreams is how many streams we reset are remembered, so that frames which were on their way are not
	// mistaken for errors.
	abortedStreams = 256

	// maxAbandoned is after how many abandoned CONNECTs our client stops using a connection for new ones: h2 servers
	// close a connection on which more than 20 streams were reset before they were accepted (contract ambient 4.4).
	maxAbandoned = 16

	// dialAttempts bounds how often a CONNECT which the peer provably did not process moves to another connection.
	dialAttempts = 3

	// maxControl is the largest payload of GOAWAY we read; its debug text is not used.
	maxControl = 16 << 10

	// maxSettings is the most settings in one frame; six are defined.
	maxSettings = 64
)

// Limits are the bounds a deployment may change. A zero field means its default.
type Limits struct {
	MaxStreams     uint32        // tunnels at once on an accepted connection, running handlers included (250)
	StreamWindow   uint32        // bytes one stream may have unread (1 MiB)
	ConnWindow     uint32        // bytes one connection may have on the wire (16 MiB)
	ConnBuffer     int64         // bytes all stalled streams of a connection may hold before they stop it (64 MiB)
	MaxFrame       uint32        // largest frame accepted, in bytes, 16 KiB to 16 MiB (1 MiB)
	HeaderList     uint32        // largest header block, in bytes (64 KiB)
	Handshakes     int           // accepted connections without a completed handshake (4096)
	Handshake      time.Duration // from accept or connect to the peer's SETTINGS (10 s)
	Dial           time.Duration // for the TCP connect alone (10 s)
	PingInterval   time.Duration // between our PINGs (10 s)
	PingTimeout    time.Duration // without any frame, after a PING, until the connection is dead (20 s)
	StreamsPerConn uint32        // tunnels the client puts on one connection (100)
	Idle           time.Duration // after which the client closes a connection without tunnels (5 min)
}

// DefaultLimits returns the limits that a zero [Limits] stands for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	orDefault(&l.MaxStreams, defaultMaxStreams)
	orDefault(&l.StreamWindow, defaultStreamWindow)
	orDefault(&l.ConnWindow, defaultConnWindow)
	orDefault(&l.ConnBuffer, defaultConnBuffer)
	orDefault(&l.MaxFrame, defaultMaxFrame)
	orDefault(&l.HeaderList, defaultHeaderList)
	orDefault(&l.Handshakes, defaultHandshakes)
	orDefault(&l.Handshake, defaultHandshakeTimeout)
	orDefault(&l.Dial, defaultDialTimeout)
	orDefault(&l.PingInterval, defaultPingInterval)
	orDefault(&l.PingTimeout, defaultPingTimeout)
	orDefault(&l.StreamsPerConn, defaultStreamsPerConn)
	orDefault(&l.Idle, defaultIdleTimeout)
	return l
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
