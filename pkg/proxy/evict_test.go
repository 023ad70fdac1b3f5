package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"waymark.dev/waypoint/pkg/mesh"
)

// A pod is removed and another one gets its address (contract ambient, pitfall 1). Whatever was open to the first one is
// closed when istiod says so, and what comes then goes to the second one, as the second one.
func TestPodAddressIsReused(t *testing.T) {
	for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) {
			v := newValley(t)
			a := v.workload(idA, says(t, "a"), "127.0.0.1:0")
			v.attach(vip, service(protocol), a.ep)
			c := v.client(vip, protocol == mesh.HTTP2)
			v.expect(c, "POST", "to a", "200 a")
			v.expect(c, "POST", "to a", "200 a")
			if open, opened := a.tunnels(); open != 1 || opened != 1 {
				t.Fatalf("%d tunnels of %d are open to a, want the one", open, opened)
			}
			// The new pod takes the address while the old connections still look alive: its network namespace is gone.
			gone := a.ep.Tunnel
			a.server.Close()
			b := v.workload(idB, says(t, "b"), gone.String())
			b.ep.Address = a.ep.Address // the same address and port, of which only the identity tells
			v.move(vip, b.ep)
			v.up.Evict(gone.Addr())
			v.proxy.Evict(gone.Addr())
			v.expect(c, "POST", "to b", "200 b")
			v.move(vip, a.ep) // somebody still believes in the old pod
			if got, err := say(c, "POST", "to a"); err != nil || got != "503 upstream_unavailable\n" {
				t.Errorf("got %q, %v, want it refused", got, err)
			}
			if _, opened := b.tunnels(); opened != 1 {
				t.Errorf("b saw %d tunnels, want 1: the last request was not for it", opened)
			}
			other := v.workload(idB, says(t, "b"), "127.0.0.1:0")
			v.move(vip, a.ep, other.ep) // and another endpoint is there: nothing of the request went out, so it goes on
			v.expect(c, "POST", "to whoever is there", "200 b")
		})
	}
}

// switchable is an address in front of an application that can be given to another one, open connections and all: the worst
// that can happen to an address without identity.
type switchable struct {
	addr string
	to   atomic.Value
	mu   sync.Mutex
	old  map[string]int // bytes that arrived on connections opened before the last switch, by application
}

func newSwitchable(t *testing.T, app string) *switchable {
	s := &switchable{old: map[string]int{}}
	s.to.Store(app)
	s.addr = upstream(t, func(c *net.TCPConn) {
		first := s.to.Load().(string)
		server, err := net.Dial("tcp", first)
		if err != nil {
			return
		}
		defer server.Close()
		go func() { _, _ = io.Copy(c, server); _ = c.CloseWrite() }()
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if now := s.to.Load().(string); n > 0 && now != first {
				s.mu.Lock()
				s.old[now] += n
				s.mu.Unlock()
			}
			if err != nil {
				return
			}
			_, _ = server.Write(b[:n])
		}
	})
	return s
}

func TestPlaintextAddressIsReused(t *testing.T) {
	v := newValley(t)
	s := newSwitchable(t, says(t, "a"))
	v.attach(vip, service(mesh.HTTP), plain(s.addr))
	c := v.client(vip, false)
	v.expect(c, "POST", "to a", "200 a")
	b := says(t, "b")
	s.to.Store(b)
	v.proxy.Evict(plain(s.addr).Address.Addr())
	for range 10 {
		v.expect(c, "POST", "to b", "200 b")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old[b] != 0 {
		t.Errorf("%d bytes for a arrived at b", s.old[b])
	}
}

// An exchange that is under way is left to end; its connection takes nothing after it.
func TestEvictLeavesExchanges(t *testing.T) {
	for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) {
			v := newValley(t)
			begun, end := make(chan struct{}), make(chan struct{})
			slow := app(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Slow") != "" {
					_, _ = io.WriteString(w, "half")
					_ = http.NewResponseController(w).Flush()
					close(begun)
					<-end
				}
				_, _ = io.WriteString(w, "done")
			})
			w := v.workload(idA, slow, "127.0.0.1:0")
			v.attach(vip, service(protocol), w.ep)
			c := v.client(vip, protocol == mesh.HTTP2)
			r, _ := http.NewRequest("GET", "http://x/", nil)
			r.Header.Set("Slow", "yes")
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			v.proxy.Evict(w.ep.Tunnel.Addr())
			v.expect(c, "POST", "another", "200 done")
			if open, opened := w.tunnels(); open != 2 || opened != 2 {
				t.Errorf("%d of %d tunnels are open, want 2", open, opened)
			}
			close(end)
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "halfdone" {
				t.Errorf("got %q, %v", b, err)
			}
			_ = resp.Body.Close()
			eventually(t, "the evicted connection to end", func() bool { open, _ := w.tunnels(); return open == 1 })
			v.expect(c, "POST", "another", "200 done")
			if _, opened := w.tunnels(); opened != 2 {
				t.Errorf("%d tunnels, want no third one", opened)
			}
		})
	}
}

// Whatever moment an eviction comes at, no request is lost by it.
func TestEvictLosesNothing(t *testing.T) {
	for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) {
			v := newValley(t)
			w := v.workload(idA, says(t, "a"), "127.0.0.1:0")
			v.attach(vip, service(protocol), w.ep)
			const callers, requests = 8, 100
			var wg sync.WaitGroup
			var failed atomic.Int64
			for range callers {
				c := v.client(vip, protocol == mesh.HTTP2)
				wg.Go(func() {
					for range requests {
						if got, err := say(c, "POST", "a body that streams"); err != nil || got != "200 a" {
							failed.Add(1)
							t.Errorf("got %q, %v", got, err)
						}
					}
				})
			}
			done := make(chan struct{})
			var evictions sync.WaitGroup
			n := 0
			evictions.Go(func() {
				for ; ; n++ {
					select {
					case <-done:
						return
					default:
						v.proxy.Evict(w.ep.Tunnel.Addr())
					}
				}
			})
			wg.Wait()
			close(done)
			evictions.Wait()
			_, opened := w.tunnels()
			t.Logf("%d requests, %d failed, %d evictions, %d tunnels", callers*requests, failed.Load(), n, opened)
		})
	}
}

// Answers that nobody reads to their end do not cost the connection, and connections are used again.
func TestConnectionsAreUsedAgain(t *testing.T) {
	var accepted atomic.Int64
	addr := upstream(t, func(c *net.TCPConn) {
		accepted.Add(1)
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == "POST" { // an event stream: the answer, and then the end
				_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
				event := `data: {"jsonrpc":"2.0","id":1,"result":{}}` + "\n\n"
				_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n", len(event), event)
				continue
			}
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	v := newValley(t)
	d := service(mesh.MCP)
	d.Mode = mesh.Enforce
	v.attach(vip, d, plain(addr))
	conn, err := v.dial(vip)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	for range 20 {
		resp := ask(t, conn, br, post("Accept: application/json, text/event-stream\r\n"))
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.Status, err)
		}
	}
	if got := accepted.Load(); got != 1 {
		t.Errorf("20 calls used %d connections, want 1", got)
	}
}
