package proxy

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"waymark.dev/waypoint/pkg/call"
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
	status  int
	header  http.Header
	length  int64 // -1 if unknown
	body    io.ReadCloser
	trailer func() http.Header // the announced names at first, the values once body has ended
	backend netip.AddrPort
}

// upstream sends requests to endpoints: the other half of the HTTP seam.
type upstream struct {
	http1, http2 *http.Transport
	seed         maphash.Seed
}

type endpointKey struct{}

// dialError is a connection that could not be opened: no byte of the request went out, so another endpoint may be tried.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func newUpstream(dial func(context.Context, mesh.Endpoint) (net.Conn, error)) *upstream {
	open := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ep, ok := ctx.Value(endpointKey{}).(mesh.Endpoint)
		if !ok {
			return nil, errors.New("proxy: dial without an endpoint")
		}
		conn, err := dial(ctx, ep)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	transport := func(protocols *http.Protocols) *http.Transport {
		return &http.Transport{
			DialContext:            open,
			Protocols:              protocols,
			DisableCompression:     true, // bytes go on as they came
			MaxIdleConns:           0,
			MaxIdleConnsPerHost:    upstreamIdlePerEndpoint,
			IdleConnTimeout:        upstreamIdle,
			ExpectContinueTimeout:  headTimeout,
			MaxResponseHeaderBytes: maxUpstreamHead,
			ReadBufferSize:         8 << 10,
			WriteBufferSize:        8 << 10,
		}
	}
	var h1, h2 http.Protocols
	h1.SetHTTP1(true)
	h2.SetUnencryptedHTTP2(true)
	return &upstream{http1: transport(&h1), http2: transport(&h2), seed: maphash.MakeSeed()}
}

func (u *upstream) close() {
	u.http1.CloseIdleConnections()
	u.http2.CloseIdleConnections()
}

// roundTrip sends o to ep and returns the answer's head. The body must be closed.
func (u *upstream) roundTrip(ctx context.Context, ep mesh.Endpoint, o *outbound) (*inbound, error) {
	ctx = context.WithValue(ctx, endpointKey{}, ep)
	if o.inform != nil {
		inform := &informer{inform: o.inform}
		defer inform.stop()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: inform.got})
	}
	transport := u.http1
	if o.http2 {
		transport = u.http2
	}
	resp, err := transport.RoundTrip(u.request(ctx, ep, o))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols && (o.upgrade == "" || !strings.EqualFold(resp.Header.Get("Upgrade"), o.upgrade)) {
		_ = resp.Body.Close()
		return nil, errors.New("proxy: the upstream switches to a protocol that nobody asked for")
	}
	return &inbound{status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, body: resp.Body, trailer: func() http.Header { return resp.Trailer }}, nil
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

func (u *upstream) request(ctx context.Context, ep mesh.Endpoint, o *outbound) *http.Request {
	r := &http.Request{
		Method: o.Method,
		// Host is the pool's key only; the endpoint itself travels in the context.
		URL:        target(u.key(ep), o.Path, o.Query),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1, ProtoMinor: 1,
		Host:          o.Host,
		Header:        o.Header,
		Body:          io.NopCloser(o.body), // the server closes it; a failed dial must not
		ContentLength: o.length,
		Trailer:       o.trailer,
	}
	if o.body == nil {
		r.Body, r.ContentLength = http.NoBody, 0
		if len(o.replay) > 0 {
			r.GetBody = func() (io.ReadCloser, error) { return newReplay(o.replay), nil }
			r.Body, r.ContentLength = newReplay(o.replay), int64(len(o.replay))
		}
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
	return r.WithContext(ctx)
}

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

// key names an endpoint in the connection pool. It covers the identities we expect there: a pod that takes over an
// address never gets a connection that was verified for its predecessor.
func (u *upstream) key(ep mesh.Endpoint) string {
	var h maphash.Hash
	h.SetSeed(u.seed)
	var b [64]byte
	_, _ = h.Write(ep.Address.AppendTo(b[:0]))
	_, _ = h.Write(ep.Tunnel.AppendTo(append(b[:0], '|')))
	for _, id := range ep.Identities {
		_, _ = h.WriteString("|")
		_, _ = h.WriteString(id.String())
	}
	return "e" + strconv.FormatUint(h.Sum64(), 16) + ":80"
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
func withheld(err error) string {
	text, rest, quoted := strings.Cut(err.Error(), `"`)
	if quoted {
		text += fmt.Sprintf("… (%d bytes withheld)", len(rest))
	}
	return text
}

// forward sends o to an endpoint of dest, and to another one while connections fail before a byte went out.
func (p *Proxy) forward(ctx context.Context, dest *mesh.Destination, o *outbound) (*inbound, error) {
	var tried []netip.AddrPort
	var last error
	for range maxAttempts {
		ep, err := dest.Pick(tried...)
		if err != nil {
			return nil, errors.Join(err, last)
		}
		in, err := p.upstream.roundTrip(ctx, ep, o)
		if err == nil {
			in.backend = ep.Address
			return in, nil
		}
		last = fmt.Errorf("endpoint %s: %w", ep.Address, err)
		var dial *dialError
		if !errors.As(err, &dial) {
			return nil, last
		}
		tried = append(tried, ep.Address)
	}
	return nil, last
}
