package hbone_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
)

// h2load sends requests to a and returns its report.
func h2load(t *testing.T, a netip.AddrPort, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("h2load")
	if err != nil {
		t.Skip("h2load is not here (Debian package nghttp2-client)")
	}
	out, err := exec.CommandContext(t.Context(), path, append(args, "http://"+a.String()+"/")...).CombinedOutput()
	if err != nil {
		t.Fatalf("h2load: %v\n%s", err, out)
	}
	return string(out)
}

// wantLine fails unless a line of h2load's report begins with want.
func wantLine(t *testing.T, report, want string) {
	t.Helper()
	if !strings.Contains(report, "\n"+want) {
		t.Errorf("h2load did not report %q:\n%s", want, report)
	}
}

// Each connection of h2load becomes a tunnel, behind which Go's HTTP/2 server answers.
func TestH2loadThroughTunnels(t *testing.T) {
	backend := h2cServer(t)
	addr := peers.Server(t, func(r *hbone.Request) {
		var d net.Dialer
		far, err := d.DialContext(r.Context(), "tcp", backend.String())
		if err != nil {
			r.Refuse(http.StatusServiceUnavailable)
			return
		}
		defer far.Close()
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		hbone.Splice(c, far.(*net.TCPConn))
	})
	pool := peers.Pool(t)
	local := peers.Forward(t, func(ctx context.Context) (peers.Duplex, error) {
		return pool.Dial(ctx, peers.Target(addr))
	})
	const requests = 5000
	report := h2load(t, local, "-n", fmt.Sprint(requests), "-c", "10", "-m", "50")
	wantLine(t, report, fmt.Sprintf("requests: %d total, %[1]d started, %[1]d done, %[1]d succeeded, 0 failed, 0 errored, 0 timeout", requests))
	wantLine(t, report, fmt.Sprintf("status codes: %d 2xx, 0 3xx, 0 4xx, 0 5xx", requests))
}

// On the listener itself h2load's requests are no CONNECT: each is refused, and the connections carry on.
func TestH2loadOnTheListener(t *testing.T) {
	addr := peers.Server(t, func(r *hbone.Request) { t.Errorf("a request reached the handler: %s", r.Authority()) })
	const requests = 5000
	report := h2load(t, peers.ForwardTLS(t, addr), "-n", fmt.Sprint(requests), "-c", "4", "-m", "50")
	wantLine(t, report, fmt.Sprintf("requests: %d total, %[1]d started, %[1]d done, 0 succeeded, %[1]d failed, 0 errored, 0 timeout", requests))
	wantLine(t, report, fmt.Sprintf("status codes: 0 2xx, 0 3xx, %d 4xx, 0 5xx", requests))
}

func h2cServer(t *testing.T) netip.AddrPort {
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 1000))
	})}
	s.Protocols.SetUnencryptedHTTP2(true)
	l := peers.Listen(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return peers.AddrPort(l)
}
