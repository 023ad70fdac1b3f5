package conformance_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// everything allows everything. What is governed by it is read, judged, filtered and written again, all of which must not
// show.
const everything = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: everything, namespace: bank}
spec:
  action: ALLOW
  rules: [{}]
`

// way is a configuration of the waypoint that nothing must be seen of.
type way struct {
	name   string
	notes  map[string]string // annotations of the services
	policy string
}

var pinned = map[string]string{"waymark.dev/protocol": "mcp"}

var ways = []way{
	{"pinned", pinned, ""},
	{"pinned, everything allowed", pinned, everything},
	{"undeclared, everything allowed", nil, everything},
}

// lane is a way through the mesh: the client's end of a tunnel, the waypoint, and a server in the mesh that can be pointed
// at another address while the waypoint's configuration stays what it is.
type lane struct {
	out *testmesh.Outbound

	mu sync.Mutex
	to string
}

func (l *lane) point(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func (l *lane) dial(ctx context.Context) (peers.Duplex, error) {
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// entry is where a client connects instead of the server.
func (l *lane) entry() string { return l.out.Addr().String() }

// newLanes runs a waypoint with n services behind it.
func newLanes(t *testing.T, n int, w way) []*lane {
	t.Helper()
	m := testmesh.New(identity.RequireTrustDomain("cluster.local"))
	t.Cleanup(func() { m.Close() })
	dir := t.TempDir()
	if w.policy != "" {
		if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(w.policy), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lanes, services := make([]*lane, n), make([]testmesh.Service, n)
	for i := range lanes {
		lanes[i] = &lane{}
		services[i] = place(t, m, i, peers.Forward(t, lanes[i].dial))
		services[i].Notes = w.notes
	}
	if err := testmesh.WriteServices(dir, "bank", services...); err != nil {
		t.Fatal(err)
	}
	wp, err := m.Waypoint(t.Context(), testmesh.WaypointConfig{ID: m.ID("bank", "agents"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	refusals(t, wp)
	for i, l := range lanes {
		l.out, err = m.Outbound(testmesh.OutboundConfig{
			Caller: m.ID("agents", "teller"), Waypoint: wp.Addr(), Expect: []identity.ID{wp.ID()}, Authority: services[i].Authority(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lanes
}

// place puts a server that is at app into the mesh.
func place(t *testing.T, m *testmesh.Mesh, i int, app netip.AddrPort) testmesh.Service {
	t.Helper()
	name := fmt.Sprint("server-", i)
	in, err := m.Inbound(testmesh.InboundConfig{Workload: m.ID("bank", name), App: app})
	if err != nil {
		t.Fatal(err)
	}
	at := testmesh.Placement{App: app, Tunnel: in.Addr()}
	return testmesh.Service{Name: name, Port: uint16(4000 + i), Protocol: "HTTP", Account: name, At: at}
}

// refusals prints, should the test fail, what the waypoint did not let through.
func refusals(t *testing.T, wp *testmesh.Waypoint) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, r := range wp.Audit().Records(0) {
			if !r.Allowed() {
				t.Logf("refused: %s", r.Line)
			}
		}
	})
}

// through is one lane to a server.
func through(t *testing.T, w way, server string) (entry string) {
	t.Helper()
	l := newLanes(t, 1, w)[0]
	l.point(server)
	return l.entry()
}

// dispatcher assigns a lane to each server that it is asked about; testdata/redirect.go asks.
func dispatcher(t *testing.T, lanes []*lane) (url string) {
	t.Helper()
	var mu sync.Mutex
	assigned := map[string]*lane{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		to := r.FormValue("to")
		if assigned[to] == nil {
			if len(lanes) == 0 {
				http.Error(w, "no lane is left", http.StatusServiceUnavailable)
				return
			}
			assigned[to], lanes = lanes[0], lanes[1:]
			_, port, _ := net.SplitHostPort(to)
			assigned[to].point(net.JoinHostPort("127.0.0.1", port))
		}
		fmt.Fprint(w, assigned[to].entry())
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// eventually waits until check returns true; it is for what has no event to wait for.
func eventually(t *testing.T, what func() string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what())
		}
	}
}
