package proxy_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/proxy"
)

const vip = "10.96.0.10:3000"

var (
	td       = identity.RequireTrustDomain("cluster.local")
	ownID    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/agents")
	callerID = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
	idA      = identity.RequireID("spiffe://cluster.local/ns/bank/sa/a")
	idB      = identity.RequireID("spiffe://cluster.local/ns/bank/sa/b")
)

// landscape is a mesh that a test changes under the waypoint. It is the rules as well: every call passes.
type landscape struct {
	pipe *policy.Pipeline

	mu      sync.Mutex
	version uint64
	dests   map[string]*mesh.Destination
	places  map[string][]mesh.Endpoint
}

func (l *landscape) Generation() string                     { return "test" }
func (l *landscape) View() mesh.View                        { return l }
func (l *landscape) Pipeline(call.Service) *policy.Pipeline { return l.pipe }

func (l *landscape) Version() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

func (l *landscape) Resolve(authority string) (*mesh.Destination, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.dests[authority]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: %s", mesh.ErrNotAttached, authority)
}

// place is what is at an authority: it picks among the endpoints of the moment, the first one first.
type place struct {
	l         *landscape
	authority string
}

func (p place) Pick(tried []netip.AddrPort) (mesh.Endpoint, error) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	for _, ep := range p.l.places[p.authority] {
		if !slices.Contains(tried, ep.Address) {
			return ep, nil
		}
	}
	return mesh.Endpoint{}, mesh.ErrNoEndpoint
}

// attach puts a destination behind the waypoint.
func (l *landscape) attach(authority string, d mesh.Destination, eps ...mesh.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.Picker = place{l, authority}
	if d.Mode == "" {
		d.Mode = mesh.Auto
	}
	l.dests[authority] = &d
	l.places[authority] = eps
	l.version++
}

func (l *landscape) detach(authority string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.dests, authority)
	l.version++
}

// move changes the endpoints of what is attached.
func (l *landscape) move(authority string, eps ...mesh.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places[authority] = eps
}

func service(p mesh.Protocol) mesh.Destination {
	return mesh.Destination{
		Service: call.Service{Namespace: "bank", Name: "company", Hostname: "company.bank.svc.cluster.local", Port: 3000}, Protocol: p,
	}
}

// valley is a waypoint in a landscape, and one caller of it.
type valley struct {
	*landscape
	tb     testing.TB
	ca     *certstest.CA
	audit  *lockedBuffer
	log    *lockedBuffer
	proxy  *proxy.Proxy
	server *hbone.Server
	up     *hbone.Pool // the waypoint's
	pool   *hbone.Pool // the caller's
	addr   netip.AddrPort
	close  func() // afterwards all records are written
}

func newValley(tb testing.TB, options ...func(*proxy.Config, *hbone.ServerConfig)) *valley {
	tb.Helper()
	v := &valley{tb: tb, ca: certstest.NewCA(td), audit: &lockedBuffer{}, log: &lockedBuffer{}}
	v.landscape = &landscape{dests: map[string]*mesh.Destination{}, places: map[string][]mesh.Endpoint{}}
	v.pipe = policy.NewPipeline("test", time.Now, policy.Entry{Stage: audit.New(v.audit, audit.Options{})})
	v.pool = hbone.NewPool(hbone.PoolConfig{Certificates: v.certificate(callerID)})
	tb.Cleanup(func() { _ = v.pool.Close() })
	v.start(options...)
	return v
}

func (v *valley) certificate(id identity.ID) certs.Source { return certs.Static(v.ca.Issue(id)) }

// start runs a waypoint in the landscape; it takes the place of the one that v has.
func (v *valley) start(options ...func(*proxy.Config, *hbone.ServerConfig)) {
	v.tb.Helper()
	trust := identity.MatchTrustDomains(td)
	v.up = hbone.NewPool(hbone.PoolConfig{Certificates: v.certificate(ownID), Trust: trust})
	pc := proxy.Config{
		Rules: func() proxy.Rules { return v.landscape }, Tunnels: v.up, Log: slog.New(slog.NewTextHandler(v.log, nil)),
		Sniff: 50 * time.Millisecond, Loopback: true, Network: "n1",
	}
	hc := hbone.ServerConfig{Certificates: v.certificate(ownID), Trust: trust}
	for _, change := range options {
		change(&pc, &hc)
	}
	p := proxy.New(pc)
	hc.Handler = p.Serve
	v.proxy = p
	v.server, v.addr = serve(v.tb, hc, "127.0.0.1:0")
	up, server := v.up, v.server
	v.close = sync.OnceFunc(func() {
		_ = server.Close()
		_ = p.Close()
		_ = up.Close()
	})
	v.tb.Cleanup(v.close)
}

// serve runs an HBONE server until the test ends.
func serve(tb testing.TB, c hbone.ServerConfig, addr string) (*hbone.Server, netip.AddrPort) {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	s := hbone.NewServer(c)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return s, l.Addr().(*net.TCPAddr).AddrPort()
}

// workload is a pod in the mesh: what is behind its ztunnel, and what that saw.
type workload struct {
	server *hbone.Server
	ep     mesh.Endpoint

	mu     sync.Mutex
	fields []http.Header
	open   int
	opened int
}

// workload starts a pod with an application at app, behind a ztunnel that proves to be id.
func (v *valley) workload(id identity.ID, app string, at string) *workload {
	v.tb.Helper()
	w := &workload{}
	var tunnel netip.AddrPort
	w.server, tunnel = serve(v.tb, hbone.ServerConfig{
		Certificates: v.certificate(id), Trust: identity.MatchTrustDomains(td),
		Handler: func(r *hbone.Request) {
			w.count(1, r.Header().Clone())
			defer w.count(-1, nil)
			server, err := net.Dial("tcp", app)
			if err != nil {
				_ = r.Refuse(http.StatusServiceUnavailable)
				return
			}
			defer server.Close()
			conn, err := r.Accept(nil)
			if err != nil {
				return
			}
			_, _, _ = hbone.Splice(conn, server.(*net.TCPConn))
		},
	}, at)
	w.ep = mesh.Endpoint{Address: netip.MustParseAddrPort(app), Tunnel: tunnel, Identities: []identity.ID{id}, Workload: "bank/" + app}
	return w
}

func (w *workload) count(n int, h http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open += n
	if n > 0 {
		w.opened++
		w.fields = append(w.fields, h)
	}
}

// tunnels returns how many tunnels are open, and how many there ever were.
func (w *workload) tunnels() (open, opened int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open, w.opened
}

func (w *workload) seen() []http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.fields)
}

func plain(app string) mesh.Endpoint { return mesh.Endpoint{Address: netip.MustParseAddrPort(app)} }

// nowhere is an address where nobody listens.
func nowhere(tb testing.TB) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// app is an HTTP server, of both versions, until the test ends.
func app(tb testing.TB, handle http.HandlerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: handle, Protocols: &both}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// says answers every request with a word.
func says(tb testing.TB, word string) string {
	return app(tb, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, word)
	})
}

// client is an HTTP client whose connections are tunnels of the caller. It never tries anything twice: with a body that can
// be read once only, net/http cannot.
func (v *valley) client(authority string, http2 bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	t := &http.Transport{Protocols: &p, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return v.pool.Dial(ctx, v.target(authority))
	}}
	v.tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second}
}

// once is a body that cannot be sent again.
func once(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// say sends one request and returns the status and body of its answer.
func say(c *http.Client, method, body string) (string, error) {
	r, err := http.NewRequest(method, "http://company:3000/x", once(body))
	if err != nil {
		return "", err
	}
	if body == "" {
		r.Body = nil
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, b), err
}

func (v *valley) expect(c *http.Client, method, body, want string) {
	v.tb.Helper()
	if got, err := say(c, method, body); err != nil || got != want {
		v.tb.Errorf("%s: got %q, %v, want %q", method, got, err, want)
	}
}

func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// recorded returns one line per audit record: verdict, stage, protocol, backend, status.
func (v *valley) recorded() []string {
	var lines []string
	for line := range strings.Lines(v.audit.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			v.tb.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(r["verdict"], " ", or(r["stage"]), " ", or(r["protocol"]), " ", or(r["method"]), " ", or(r["status"])))
	}
	return lines
}

// target is a tunnel to the waypoint.
func (v *valley) target(authority string) hbone.Target {
	return hbone.Target{Addr: v.addr, Expect: []identity.ID{ownID}, Authority: authority}
}

// dial opens a tunnel as the caller.
func (v *valley) dial(authority string) (*hbone.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := v.pool.Dial(ctx, v.target(authority))
	if err == nil {
		v.tb.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return c, err
}
