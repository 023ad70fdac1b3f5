package delivery_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
)

// patience is how long a test waits for what must happen; nothing here passes or fails by being fast.
const patience = 60 * time.Second

// policy lets everybody do everything, but odd principals not use some tools.
const policy = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: everybody, namespace: bank}
spec:
  action: ALLOW
  rules: [{}]
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: odd, namespace: bank}
spec:
  action: DENY
  rules:
    - from: [{source: {namespaces: [odd]}}]
      to: [{operation: {tools: ["export_*"]}}]
`

// world is the server, and how principals reach it.
type world struct {
	prove    prover
	book     *ledger
	server   *backend
	web      *httptest.Server
	base     string // of URLs
	patience time.Duration
	slots    chan struct{} // bounds what is done at once
	mesh     *mesh         // nil: everybody reaches the server itself
}

// atOnce is how many exchanges are under way at once, beside the streams that stand.
const atOnce = 96

// newWorld starts the server alone. wrap, if not nil, stands in front of it.
func newWorld(t *testing.T, seed uint64, wrap func(http.Handler) http.Handler) *world {
	t.Helper()
	w := &world{
		prove: prover{binary.BigEndian.AppendUint64([]byte("delivery"), seed)}, book: newLedger(), base: "http://tools:3000",
		patience: patience, slots: make(chan struct{}, atOnce),
	}
	w.server = newBackend(w.prove, w.book)
	var h http.Handler = w.server
	if wrap != nil {
		h = wrap(h)
	}
	w.web = httptest.NewUnstartedServer(h)
	w.web.Config.Protocols = new(http.Protocols)
	w.web.Config.Protocols.SetHTTP1(true)
	w.web.Config.Protocols.SetUnencryptedHTTP2(true)
	w.web.Start()
	t.Cleanup(w.server.close)
	t.Cleanup(w.web.Close)
	return w
}

// mesh is the waypoint between the principals and the server.
type mesh struct {
	*testmesh.Mesh
	waypoint identity.ID
	addr     netip.AddrPort
	services []testmesh.Service // one over HTTP/1.1, declared to be MCP; one over HTTP/2, found out to be
	denials  denials
}

// throughWaypoint puts the waypoint in front of the server.
func (w *world) throughWaypoint(t *testing.T) {
	t.Helper()
	m := &mesh{Mesh: testmesh.New(identity.RequireTrustDomain("cluster.local"))}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("the mesh does not end: %v", err)
		}
	})
	m.waypoint = m.ID("bank", "agents")
	m.place(t, w.web.Listener.Addr().(*net.TCPAddr).AddrPort())
	w.mesh, w.server.denies = m, true
}

// place writes the configuration and starts the waypoint.
func (m *mesh) place(t *testing.T, server netip.AddrPort) {
	t.Helper()
	in, err := m.Inbound(testmesh.InboundConfig{Workload: m.ID("bank", "tools"), App: server})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []testmesh.Service{
		{Protocol: "HTTP", Notes: map[string]string{"waymark.dev/protocol": "mcp"}},
		{Protocol: "HTTP2", Notes: map[string]string{"waymark.dev/mode": "auto"}},
	} {
		s.Name, s.Port, s.Account = fmt.Sprint("tools-", i), uint16(3000+i), "tools"
		s.At = testmesh.Placement{App: server, Tunnel: in.Addr()}
		m.services = append(m.services, s)
	}
	dir := t.TempDir()
	if err := testmesh.WriteServices(dir, "bank", m.services...); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run(t, dir)
}

// run starts the waypoint as the binary does. Its audit records are counted, not kept: there are too many.
func (m *mesh) run(t *testing.T, dir string) {
	t.Helper()
	a, err := app.New(app.Options{
		ConfigDir: dir, Listen: "127.0.0.1:0", Certificates: m.Certificates(m.waypoint), TrustDomain: m.TrustDomain(), Audit: &m.denials,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Errorf("the waypoint does not drain: %v", err)
		}
	})
	m.addr = a.Addr()
}

// denials counts the audit records of refusals by policy.
type denials struct{ n atomic.Int64 }

func (d *denials) Write(b []byte) (int, error) {
	d.n.Add(int64(bytes.Count(b, []byte(`"verdict":"deny"`))))
	return len(b), nil
}

// caller is one principal: its certificate, its connection, its HTTP client.
type caller struct {
	*world
	who    string
	client *http.Client

	mu   sync.Mutex
	pool *hbone.Pool // nil if there is no waypoint
}

// caller returns the n-th principal. Its number decides how HTTP is spoken on either side of the waypoint.
func (w *world) caller(n int) *caller {
	c := &caller{world: w, who: fmt.Sprintf("%s-%03d", [...]string{"even", "odd"}[n%2], n)}
	t := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 8, DisableCompression: true, ReadBufferSize: 2 << 10, WriteBufferSize: 2 << 10}
	t.Protocols.SetHTTP1(n/2%2 == 0)
	t.Protocols.SetUnencryptedHTTP2(n/2%2 == 1)
	c.client = &http.Client{Transport: t}
	var d net.Dialer
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", w.web.Listener.Addr().String())
	}
	if w.mesh != nil {
		c.join()
		c.to(w.service(n))
	}
	return c
}

// service returns the one that the n-th principal calls.
func (w *world) service(n int) testmesh.Service { return w.mesh.services[n/4%2] }

// join gives the principal its certificate, and a connection of its own to the waypoint. Whatever is under way on one that it
// had breaks off.
func (c *caller) join() {
	m := c.mesh
	id := m.ID("even", c.who)
	if odd(c.who) {
		id = m.ID("odd", c.who)
	}
	c.mu.Lock()
	was := c.pool
	c.pool = hbone.NewPool(hbone.PoolConfig{Certificates: m.Certificates(id), Trust: identity.MatchTrustDomains(m.TrustDomain())})
	c.mu.Unlock()
	if was != nil {
		was.Close()
	}
}

// to leads the principal's tunnels to a service.
func (c *caller) to(s testmesh.Service) *caller {
	target := hbone.Target{Addr: c.mesh.addr, Expect: []identity.ID{c.mesh.waypoint}, Authority: s.Authority()}
	c.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c.mu.Lock()
		pool := c.pool
		c.mu.Unlock()
		return pool.Dial(ctx, target)
	}
	return c
}

func (c *caller) close() error {
	c.client.CloseIdleConnections()
	if c.pool == nil {
		return nil
	}
	return c.pool.Close()
}
