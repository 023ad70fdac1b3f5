package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/mesh"
)

// outbound is a request to send: a cleaned head and a body that is either whole (replay) or a stream.
type outbound struct {
	call.Request
	body    io.ReadCloser
	replay  []byte // the whole body, when it was read; then body is nil
	length  int64  // of body; -1 if unknown
	trailer http.Header
	http2   bool
	upgrade string // the protocol to switch to, or ""
	inform  func(status int, h http.Header)
}

// inbound is the answer: a head and a body that is read as it comes.
type inbound struct {
	status   int
	header   http.Header
	length   int64 // -1 if unknown
	body     io.ReadCloser
	trailer  func() http.Header // the announced names at first, the values once body has ended
	endpoint mesh.Endpoint
}

// destination is an endpoint, and the service that is called there.
type destination struct {
	endpoint mesh.Endpoint
	service  call.Service
}

// anyHost stands where net/http wants a host: which endpoint a connection leads to is settled before.
const anyHost = "endpoint"

// unsentError is a failure before the endpoint could have seen anything of the request, or with its word that it did nothing
// with it: the request may go elsewhere.
type unsentError struct {
	err   error
	stale bool // a connection had ended that was open a moment before, which says nothing about its endpoint
}

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// roundTrip sends o to an endpoint and returns the answer's head. The body must be closed. With fresh, no connection is used
// that was there before.
func (c *connections) roundTrip(ctx context.Context, to *destination, o *outbound, fresh bool) (*inbound, error) {
	conn, err := c.take(ctx, to, o.http2, fresh)
	if err != nil {
		return nil, &unsentError{err: err}
	}
	var inform *informer
	if o.inform != nil {
		inform = &informer{inform: o.inform}
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: inform.got})
	}
	r, body := newRequest(ctx, o)
	mark := conn.mark()
	resp, err := conn.RoundTrip(r)
	if inform != nil {
		inform.stop()
	}
	if err != nil {
		err = conn.judge(err, mark, o, body)
		c.give(conn)
		return nil, err
	}
	in := &inbound{
		status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, endpoint: to.endpoint,
		trailer: func() http.Header { return resp.Trailer },
	}
	a := &answer{ReadCloser: resp.Body, from: c, conn: conn}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		in.body = a
		return in, nil
	}
	both, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || o.upgrade == "" || !strings.EqualFold(resp.Header.Get("Upgrade"), o.upgrade) {
		_ = a.Close()
		return nil, errors.New("proxy: the upstream switches to a protocol that nobody asked for")
	}
	in.body = &switched{a, both}
	return in, nil
}

// answer is the body of an answer. Its end is the end of the exchange on its connection.
type answer struct {
	io.ReadCloser
	from *connections
	conn *connection
	over atomic.Bool
}

func (a *answer) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if err == io.EOF {
		a.end()
	}
	return n, err
}

func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.end()
	return err
}

func (a *answer) end() {
	if !a.over.Swap(true) {
		a.from.give(a.conn)
	}
}

// switched is a connection after a 101.
type switched struct {
	*answer
	both io.Writer
}

func (s *switched) Write(b []byte) (int, error) { return s.both.Write(b) }

// mark is how far a connection's bytes had come when an exchange began.
type mark struct{ written, read int64 }

func (c *connection) mark() mark {
	if c.wire == nil {
		return mark{}
	}
	return mark{c.wire.written.Load(), c.wire.read.Load()}
}

// judge tells failures after which a request may go elsewhere from others. A request without a body and without effects may
// also be sent again where an endpoint hung up on a connection that had been idle (RFC 9110, section 9.2.2).
func (c *connection) judge(err error, m mark, o *outbound, body *bodyOnce) error {
	var unsent, stale bool
	now := c.mark()
	switch {
	case c.wire == nil:
		unsent, stale = notProcessed(err)
	case now.written == m.written:
		unsent, stale = true, c.used
	case c.used && now.read == m.read && o.body == nil && len(o.replay) == 0 && safe(o.Method):
		unsent, stale = true, true
	}
	if !unsent || !body.untouched() {
		return err
	}
	return &unsentError{err, stale}
}

func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// notProcessed reports whether an HTTP/2 endpoint has said, or cannot but have meant, that it did nothing with a request: it
// refused the stream, or left with GOAWAY before it (RFC 9113, section 8.7). net/http has no names for the latter two.
func notProcessed(err error) (unsent, stale bool) {
	var refused http2.StreamError
	if errors.As(err, &refused) {
		return refused.Code == http2.ErrCodeRefusedStream, false
	}
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable",
		"http2: client conn could not be established":
		return true, true
	}
	return false, false
}

// informer passes 1xx answers on while the round trip lasts. The transport reports them from a goroutine of its own, which
// may be late: afterwards the response head belongs to the exchange.
type informer struct {
	mu      sync.Mutex
	inform  func(status int, h http.Header)
	stopped bool
}

func (i *informer) got(status int, h textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.stopped && status != http.StatusContinue { // our own server says 100 when the body is first read
		i.inform(status, http.Header(h))
	}
	return nil
}

func (i *informer) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
}

func newRequest(ctx context.Context, o *outbound) (*http.Request, *bodyOnce) {
	r := &http.Request{
		Method: o.Method,
		URL:    target(anyHost, o.Path, o.Query),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host:    o.Host,
		Header:  o.Header,
		Body:    http.NoBody,
		Trailer: o.trailer,
	}
	var body *bodyOnce
	switch {
	case o.body != nil:
		body = &bodyOnce{body: o.body}
		r.Body, r.ContentLength = body, o.length
	case len(o.replay) > 0:
		r.Body, r.ContentLength = newReplay(o.replay), int64(len(o.replay))
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{""} // net/http would add its own
	}
	for _, k := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := r.Header[k]; ok { // by this spelling net/http would know that it may send a POST twice
			delete(r.Header, k)
			r.Header[strings.ToLower(k)] = v
		}
	}
	if o.upgrade != "" {
		r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{o.upgrade}
	}
	return r.WithContext(ctx), body
}

// bodyOnce is a body that streams through. It can be sent to another endpoint as long as nothing was read of it, and closing
// it is the server's affair: a failed attempt must not.
type bodyOnce struct {
	body  io.Reader
	state atomic.Int32 // 0 untouched, 1 read from, 2 this attempt is over
}

func (b *bodyOnce) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(0, 1) && b.state.Load() != 1 {
		return 0, errors.New("proxy: this attempt is over")
	}
	return b.body.Read(p)
}

func (b *bodyOnce) Close() error { return nil }

// untouched ends the attempt and reports whether another one may begin. There is nothing to touch in no body.
func (b *bodyOnce) untouched() bool { return b == nil || b.state.CompareAndSwap(0, 2) }

// target spells the request target exactly as it came. Opaque does that for every path but one that begins with "//",
// which net/url would take for a host.
func target(host, path, query string) *url.URL {
	u := &url.URL{Scheme: "http", Host: host, Opaque: path, RawQuery: query}
	if len(path) > 1 && path[1] == '/' {
		u.Opaque, u.RawPath = "", path
		u.Path, _ = url.PathUnescape(path) // checkPath has refused what cannot be unescaped
	}
	return u
}

// replay is a whole body that can be sent again.
type replay struct{ rest []byte }

func newReplay(b []byte) *replay { return &replay{b} }

func (r *replay) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *replay) Close() error { return nil }

// withheld is an error for the log. Where net/http and we quote what a peer sent, the text ends: payloads are not for logs.
// Errors of a dial quote identities and addresses only.
func withheld(err error) string {
	if d := (*hbone.DialError)(nil); errors.As(err, &d) {
		return err.Error()
	}
	text, rest, quoted := strings.Cut(err.Error(), `"`)
	if quoted {
		text += fmt.Sprintf("… (%d bytes withheld)", len(rest))
	}
	return text
}

// forward sends o to an endpoint of dest, and again while nothing of it can have been seen: over another connection where one
// had ended unnoticed, else to another endpoint.
func (p *Proxy) forward(ctx context.Context, dest *mesh.Destination, o *outbound) (*inbound, error) {
	var tried []netip.AddrPort
	var last error
	to := destination{service: dest.Service}
	for range maxAttempts {
		again := stale(last)
		if !again {
			ep, err := dest.Pick(tried...)
			if err != nil {
				return nil, errors.Join(err, last)
			}
			to.endpoint = ep
		}
		in, err := p.upstream.roundTrip(ctx, &to, o, again)
		if err == nil {
			return in, nil
		}
		last = fmt.Errorf("endpoint %s: %w", where(&to.endpoint), err)
		var unsent *unsentError
		if !errors.As(err, &unsent) || ctx.Err() != nil {
			return nil, last
		}
		if !unsent.stale {
			tried = append(tried, to.endpoint.Address)
		}
	}
	return nil, last
}

func stale(err error) bool {
	var unsent *unsentError
	return errors.As(err, &unsent) && unsent.stale
}
