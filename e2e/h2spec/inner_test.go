package h2spec_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// The HTTP/2 server inside a tunnel: each connection of h2spec becomes a CONNECT to a port that carries HTTP.
func TestInnerServer(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "what a server answers")
	}))
	t.Cleanup(backend.Close)
	mesh := testmesh.New(peers.TrustDomain)
	t.Cleanup(func() { mesh.Close() })
	service := testmesh.Service{Name: "web", Port: 8080, Protocol: "HTTP", Account: "web", At: testmesh.Placement{
		App: backend.Listener.Addr().(*net.TCPAddr).AddrPort(),
	}}
	dir := t.TempDir()
	if err := testmesh.WriteServices(dir, "bank", service); err != nil {
		t.Fatal(err)
	}
	waypoint, err := mesh.Waypoint(t.Context(), testmesh.WaypointConfig{ID: peers.WaypointID, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	out, err := mesh.Outbound(testmesh.OutboundConfig{
		Caller: peers.CallerID, Waypoint: waypoint.Addr(), Expect: []identity.ID{peers.WaypointID}, Authority: service.Authority(),
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, out.Addr(), "testdata/inner.baseline")
}
