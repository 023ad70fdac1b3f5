package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/hbone"
)

const denyAll = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: stop, namespace: bank}
spec:
  action: DENY
  rules:
    - from:
        - source: {serviceAccounts: [bank/teller]}
`

// streaming is an upstream that sends a first piece and then says nothing until the test ends.
func streaming(t *testing.T, first string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, first)
		_, _ = io.Copy(io.Discard, c) // until the waypoint lets go
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// reconsidered starts a world for one stream, and returns the caller's end and what puts the denial in force.
func reconsidered(t *testing.T, annotations, upstream string) (*world, *hbone.Conn, func()) {
	t.Helper()
	a := &txtar.Archive{Files: []txtar.File{{Name: "annotations", Data: []byte(annotations)}}}
	w := newWorld(t, a, upstream)
	return w, w.dial(t), func() {
		a.Files = append(a.Files, txtar.File{Name: "policy.yaml", Data: []byte(denyAll)})
		c, problems := config.Load(writeConfig(t, a, upstream))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		w.swap(t, c)
	}
}

// A raw connection that new rules refuse is cut, and the caller can tell.
func TestReconsiderCutsRawConnections(t *testing.T) {
	w, conn, deny := reconsidered(t, "waymark.dev/protocol: tcp\n", streaming(t, "welcome"))
	_, _ = io.WriteString(conn, "hello")
	if _, err := io.ReadFull(conn, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	deny()
	var reset *hbone.ResetError
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &reset) {
		t.Errorf("got %v, want a reset", err)
	}
	w.close()
	wantRecord(t, w, "deny entitlement_denied tcp - - 200\n")
}

// An event stream that new rules refuse is cut, and the caller can tell that it is not whole.
func TestReconsiderCutsStreams(t *testing.T) {
	upstream := streaming(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata:\n\n")
	w, conn, deny := reconsidered(t, "waymark.dev/protocol: mcp\n", upstream)
	_, _ = io.WriteString(conn, "GET /mcp HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: \n\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: \n\n" {
		t.Fatalf("got %q, %v", first, err)
	}
	deny()
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the stream ended as if it were whole, after %q", rest)
	}
	w.close()
	wantRecord(t, w, "deny entitlement_denied mcp GET - 200\n")
}

// An upgraded connection is no exception.
func TestReconsiderCutsUpgradedConnections(t *testing.T) {
	upstream := streaming(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	w, conn, deny := reconsidered(t, "waymark.dev/mode: auto\n", upstream)
	_, _ = io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	if _, err := io.ReadFull(br, make([]byte, len("hello"))); err != nil {
		t.Fatal(err)
	}
	deny()
	if _, err := br.ReadByte(); err == nil {
		t.Error("the connection went on")
	}
	w.close()
	wantRecord(t, w, "deny entitlement_denied http GET - 101\n")
}

// A stream that the new rules still allow goes on.
func TestReconsiderLeavesTheRest(t *testing.T) {
	w, conn, _ := reconsidered(t, "waymark.dev/protocol: tcp\n", streaming(t, "welcome"))
	_, _ = io.WriteString(conn, "hello")
	if _, err := io.ReadFull(conn, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(denyAll, "bank/teller", "bank/somebody", 1)
	a := &txtar.Archive{Files: []txtar.File{{Name: "policy.yaml", Data: []byte(other)}, {Name: "annotations", Data: []byte("waymark.dev/protocol: tcp\n")}}}
	c, problems := config.Load(writeConfig(t, a, "127.0.0.1:9"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w.swap(t, c)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("got %q, %v, want a clean end", rest, err)
	}
	w.close()
	wantRecord(t, w, "pass - tcp - - 200\n")
}

func wantRecord(t *testing.T, w *world, want string) {
	t.Helper()
	if got := w.records(t); got != want {
		t.Errorf("audit: got %q, want %q", got, want)
	}
}
