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
)

func TestCallGoesThroughTheWaypoint(t *testing.T) {
	for name, plain := range map[string]bool{"backend in the mesh": false, "backend outside the mesh": true} {
		t.Run(name, func(t *testing.T) {
			app := web(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello from "+r.Host+r.URL.Path) })
			w := build(t, app, "HTTP", plain)
			mark := w.waypoint.Audit().Len()
			status, body := get(t, w.client(t), "http://app:3000/path")
			if got, want := body, "hello from app:3000/path"; status != 200 || got != want {
				t.Errorf("got %d %q, want 200 %q", status, got, want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			rec, err := w.waypoint.Audit().Find(ctx, mark, func(testmesh.Record) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			if got, want := rec.Caller, "spiffe://cluster.local/ns/agents/sa/teller"; got != want || !rec.Allowed() {
				t.Errorf("got caller %q, allowed %v, want %q and true", got, rec.Allowed(), want)
			}
		})
	}
}

// The backend's ztunnel sees the waypoint and nobody else: that is what an operator writes L4 policy against.
func TestBackendSeesTheWaypointsIdentity(t *testing.T) {
	w := build(t, web(t, func(http.ResponseWriter, *http.Request) {}), "HTTP", false)
	get(t, w.client(t), "http://app:3000/")
	peers := w.in.Peers()
	if got, want := len(peers), 1; got != want {
		t.Fatalf("got %d peers, want %d: %v", got, want, peers)
	}
	if peers[w.waypoint.ID()] == 0 {
		t.Errorf("got %v, want the waypoint", peers)
	}
}

// An application whose tunnel is refused sees its connection closed, and nothing else.
func TestRefusedTunnelClosesTheApplication(t *testing.T) {
	w := build(t, web(t, func(http.ResponseWriter, *http.Request) {}), "HTTP", false)
	for _, authority := range []string{"10.96.0.99:3000", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 15008).String()} {
		out := w.caller(t, "teller", authority)
		conn, err := net.Dial("tcp", out.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: got %d bytes and %v, want a closed connection", authority, n, err)
		}
		if err := out.Refused(); err == nil {
			t.Errorf("%s: not refused", authority)
		}
	}
}
