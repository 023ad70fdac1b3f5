package proxy

import "time"

// Sizes and times, each with its reason.
const (
	// maxHeadBytes bounds one HTTP/1 head and the decoded HTTP/2 header list (security 3.7: 64 KiB).
	maxHeadBytes = 64 << 10
	// maxHeaders bounds the number of header field lines (security 3.7: 100).
	maxHeaders = 100
	// guardBuffer holds an ordinary head and its body in one read.
	guardBuffer = 4 << 10
	// headTimeout is how long a head may take from its first byte. Before the first byte there is no limit: agents keep
	// idle connections open for hours.
	headTimeout = 10 * time.Second
	// bodyTimeout bounds a body that is read whole: 4 MiB in it is a slow modem.
	bodyTimeout = 60 * time.Second

	// firstRead is the first buffer for a body; an ordinary message fits.
	firstRead = 64 << 10

	// innerStreams is above what one client opens, and bounds handlers per inner HTTP/2 connection.
	innerStreams = 250
	// innerFrame is the smallest HTTP/2 frame limit: larger ones only delay other streams.
	innerFrame = 16 << 10
	// innerStreamWindow and innerConnWindow: one stalled inner stream must not stall its siblings.
	innerStreamWindow = 1 << 20
	innerConnWindow   = 4 << 20
	// innerPing notices an inner HTTP/2 peer that vanished without a word.
	innerPing = 30 * time.Second

	// DefaultSniff is how long an undeclared port waits for the client to speak before it is taken for a server-first
	// protocol. Declared ports never wait (contract ambient 5.2).
	DefaultSniff = 2 * time.Second
	// sniffBytes is how much of a connection is looked at: a request line, a TLS record header, the HTTP/2 preface.
	sniffBytes = 8 << 10

	// dialTimeout is ztunnel's own (contract ambient 4.4).
	dialTimeout = 10 * time.Second
	// maxAttempts is how many endpoints one exchange may try, all before a byte went out.
	maxAttempts = 3
	// upstreamIdle is how long an unused inner connection is kept.
	upstreamIdle = 90 * time.Second
	// upstreamIdlePerEndpoint bounds unused inner connections to one endpoint.
	upstreamIdlePerEndpoint = 64
	// maxUpstreamHead bounds a response head.
	maxUpstreamHead = 256 << 10

	// DefaultEvent is how long an event, or an answer in one piece, may take from its first byte to its last: 16 MiB in it is a
	// slow modem. How long a server waits before it begins, and between two events, is its own affair.
	DefaultEvent = 60 * time.Second
	// maxAnswer and maxEvents bound one answer to one POST in all. Streams that a client opens to listen are not bounded.
	maxAnswer = 4 << 30
	maxEvents = 1 << 20

	// DefaultSettle is one propagation delay of readiness through a cluster (contract ambient, section 4.9).
	DefaultSettle = 5 * time.Second
	// DefaultLeave is long against the time a request travels, and short against the time a pod has to end.
	DefaultLeave = 5 * time.Second

	// noticeTime is how long an HTTP/2 client has to hear that it should open no more streams: many round trips.
	noticeTime = time.Second

	// copyChunk is one read of a body that is relayed unseen.
	copyChunk = 32 << 10
	// lingerTime and lingerBytes bound how long a closed HTTP/1 connection waits for the client to finish, so that the
	// last answer is not lost to a reset.
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
	// defaultMaxBody is a route's request limit where none is configured.
	defaultMaxBody = 4 << 20
)
