package testmesh_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// world is one service behind a waypoint, and one caller.
type world struct {
	mesh     *testmesh.Mesh
	in       *testmesh.Inbound
	waypoint *testmesh.Waypoint
	out      *testmesh.Outbound
	service  testmesh.Service
}

// build puts the application at addr behind a waypoint, on a port of the given protocol. A plain application is one
// outside the mesh.
func build(t *testing.T, addr netip.AddrPort, protocol string, plain bool) *world {
	t.Helper()
	w := &world{mesh: testmesh.New(identity.RequireTrustDomain("cluster.local"))}
	t.Cleanup(func() {
		if err := w.mesh.Close(); err != nil {
			t.Errorf("closing the mesh: %v", err)
		}
	})
	at := testmesh.Placement{App: addr}
	var err error
	if !plain {
		if w.in, err = w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("bank", "app"), App: addr}); err != nil {
			t.Fatal(err)
		}
		at.Tunnel = w.in.Addr()
	}
	w.service = testmesh.Service{Name: "app", Port: 3000, Protocol: protocol, Account: "app", At: at}
	dir := t.TempDir()
	if err := testmesh.WriteServices(dir, "bank", w.service); err != nil {
		t.Fatal(err)
	}
	w.waypoint, err = w.mesh.Waypoint(t.Context(), testmesh.WaypointConfig{ID: w.mesh.ID("bank", "agents"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.out = w.caller(t, "teller", w.service.Authority())
	return w
}

func (w *world) caller(t *testing.T, account, authority string) *testmesh.Outbound {
	t.Helper()
	out, err := w.mesh.Outbound(testmesh.OutboundConfig{
		Caller: w.mesh.ID("agents", account), Waypoint: w.waypoint.Addr(), Expect: []identity.ID{w.waypoint.ID()}, Authority: authority,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dial opens a connection as the application does: to the local port of its ztunnel.
func (w *world) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", w.out.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// client is the application's HTTP client.
func (w *world) client(t *testing.T) *http.Client {
	t.Helper()
	c := w.out.HTTPClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
