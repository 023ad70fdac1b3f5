package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/mesh"
)

// What has no end in sight ends when its destination is not behind this waypoint any more, and the caller can tell. An answer
// that has been asked for is still given.
func TestReconsiderAfterDetach(t *testing.T) {
	begun, answered := make(chan struct{}), make(chan struct{})
	stream := app(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			begun <- struct{}{}
			<-answered
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "done")
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
	for _, tt := range []struct {
		name, request, first, want string
		protocol                   mesh.Protocol
		mode                       mesh.Mode
	}{
		{name: "raw", protocol: mesh.TCP, request: "x", first: "x", want: "deny attachment tcp - 200"},
		{name: "observed", protocol: mesh.TCP, mode: mesh.Observe, request: "x", first: "x", want: "deny attachment tcp - 200"},
		{name: "sniffed", protocol: mesh.Unknown, request: "1\n", first: "1\n", want: "deny attachment tcp - 200"},
		{name: "events", protocol: mesh.HTTP, request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", first: "HTTP/1.1 200 OK\r\n", want: "deny attachment http GET 200"},
		{name: "an answer", protocol: mesh.HTTP, request: "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", want: "pass - http GET 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := stream
			if tt.protocol != mesh.HTTP {
				at = echoing(t)
			}
			v := newValley(t)
			d := service(tt.protocol)
			d.Mode = tt.mode
			v.attach(vip, d, plain(at))
			c, err := v.dial(vip)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, tt.request)
			first := make([]byte, len(tt.first))
			if _, err := io.ReadFull(c, first); err != nil || string(first) != tt.first {
				t.Fatalf("got %q, %v", first, err)
			}
			if tt.first == "" {
				<-begun
			}
			v.attach("10.96.0.11:1", service(mesh.TCP)) // something else changes
			v.proxy.Reconsider(context.Background())
			v.detach(vip)
			if tt.first == "" {
				v.proxy.Reconsider(context.Background())
				answered <- struct{}{}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "done" {
					t.Errorf("got %q, %v", b, err)
				}
			} else {
				v.proxy.Reconsider(context.Background())
				var reset *hbone.ResetError
				if _, err := io.Copy(io.Discard, c); !errors.As(err, &reset) {
					t.Errorf("got %v, want a reset", err)
				}
			}
			v.close()
			if got := v.recorded(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("recorded %q, want %q", got, tt.want)
			}
			if _, err := v.dial(vip); err == nil {
				t.Error("another tunnel was opened")
			}
		})
	}
}

// A workload that is called by its own address is served like a service: HTTP, what turns out to be MCP, raw bytes, and
// protocols in which the server speaks first.
func TestWorkloadAddressed(t *testing.T) {
	const authority = "10.0.0.9:8080"
	workload := func(p mesh.Protocol) mesh.Destination {
		d := service(p)
		d.Service.Name, d.Service.Hostname, d.Service.Port = "company-7d9f-x2x4", "", 8080
		return d
	}
	mcpServer := app(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	})
	greeting := upstream(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 ready\r\n"); _, _ = io.Copy(io.Discard, c) })
	for _, tt := range []struct {
		name, app, request, want, record string
		protocol                         mesh.Protocol
	}{
		{name: "mcp on a port that says nothing", app: mcpServer, request: post(""), want: "HTTP/1.1 200 OK\r\n", record: "pass - mcp tools/call 200"},
		{name: "mcp on an HTTP port", protocol: mesh.HTTP, app: mcpServer, request: post(""), want: "HTTP/1.1 200 OK\r\n", record: "pass - mcp tools/call 200"},
		{name: "http", app: says(t, "hi"), request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", want: "HTTP/1.1 200 OK\r\n", record: "pass - http GET 200"},
		{name: "raw", app: echoing(t), request: "\x16\x03\x01", want: "\x16\x03\x01", record: "pass - tcp - 200"},
		{name: "the server speaks first", app: greeting, want: "220 ready\r\n", record: "pass - tcp - 200"},
	} {
		for _, tunnelled := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				v := newValley(t)
				ep := plain(tt.app)
				if tunnelled {
					ep = v.workload(idA, tt.app, "127.0.0.1:0").ep
				}
				v.attach(authority, workload(tt.protocol), ep)
				c, err := v.dial(authority)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(c, tt.request)
				got := make([]byte, len(tt.want))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != tt.want {
					t.Errorf("got %q, %v", got, err)
				}
				v.close()
				if got := v.recorded(); !slices.Equal(got, []string{tt.record}) {
					t.Errorf("recorded %q, want %q", got, tt.record)
				}
			})
		}
	}
}

// A message that is read while its service is detached is judged by what is true when it has come.
func TestChangesWhileAMessageComes(t *testing.T) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"export_all"}}`
	for _, tt := range []struct {
		name         string
		began, ended mesh.Mode
		detach       bool
		want         string
	}{
		{"nothing", mesh.Enforce, mesh.Enforce, false, "pass - mcp tools/call 200"},
		{"detached", mesh.Enforce, mesh.Enforce, true, "deny attachment mcp tools/call 200"},
		{"detached while it observes", mesh.Observe, mesh.Observe, true, "deny attachment mcp tools/call 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var received atomic.Int64
			server := app(t, func(w http.ResponseWriter, _ *http.Request) {
				received.Add(1)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
			})
			v := newValley(t)
			d := service(mesh.MCP)
			d.Mode = tt.began
			v.attach(vip, d, plain(server))
			c, err := v.dial(vip)
			if err != nil {
				t.Fatal(err)
			}
			head := fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"+
				"MCP-Protocol-Version: 2025-11-25\r\nContent-Length: %d\r\n\r\n", len(body))
			_, _ = io.WriteString(c, head+body[:10])
			time.Sleep(50 * time.Millisecond) // the exchange has begun with what was true then
			if tt.detach {
				v.detach(vip)
			}
			_, _ = io.WriteString(c, body[10:])
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if n := received.Load(); tt.detach && n != 0 {
				t.Errorf("the server got %d calls", n)
			}
			v.close()
			if got := v.recorded(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("recorded %q, want %q", got, tt.want)
			}
		})
	}
}
