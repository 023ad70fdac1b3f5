package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/proxy"
)

// names resolves names for a test.
type names map[string][]string

func (n names) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range n[host] {
		out = append(out, netip.MustParseAddr(s))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

func (n names) resolve(c *proxy.Config, _ *hbone.ServerConfig) { c.Lookup = n.lookup }

// named is an endpoint that is a name. Its address is a stand-in that must never be dialled.
func named(host string, app string) mesh.Endpoint {
	return mesh.Endpoint{Host: host, Address: netip.AddrPortFrom(netip.MustParseAddr("100::7"), netip.MustParseAddrPort(app).Port())}
}

// A request goes to another endpoint while no byte of it went out, whatever kind of endpoint failed, and arrives there once.
func TestAnotherEndpoint(t *testing.T) {
	var received atomic.Int64
	live := app(t, func(w http.ResponseWriter, r *http.Request) {
		received.Add(1)
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	v := newValley(t, names{"dead.example": {"127.0.0.1"}, "metadata.example": {"169.254.169.254", "::1"}}.resolve)
	dead := nowhere(t)
	refused := v.workload(idA, nowhere(t).String(), "127.0.0.1:0") // its ztunnel answers, its application does not
	other := refused.ep
	other.Identities = []identity.ID{idB}
	for name, first := range map[string]mesh.Endpoint{
		"plaintext, refused":         {Address: dead},
		"tunnel, refused":            {Address: netip.MustParseAddrPort("10.0.0.1:80"), Tunnel: dead, Identities: []identity.ID{idA}},
		"tunnel, another identity":   other,
		"tunnel, CONNECT refused":    refused.ep,
		"gateway, refused":           {Address: dead, Identities: []identity.ID{idA}, Gateway: &mesh.Gateway{Tunnel: dead, Identities: []identity.ID{idB}, Authority: "a:1"}},
		"gateway, name unknown":      {Address: dead, Identities: []identity.ID{idA}, Gateway: &mesh.Gateway{Host: "x.example", Tunnel: dead, Identities: []identity.ID{idB}, Authority: "a:1"}},
		"name, unknown":              named("unknown.example", dead.String()),
		"name, refused":              named("dead.example", dead.String()),
		"name, leads to a bad place": named("metadata.example", dead.String()),
	} {
		for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				received.Store(0)
				v.attach(vip, service(protocol), first, plain(live))
				c := v.client(vip, protocol == mesh.HTTP2)
				v.expect(c, "POST", "once", "200 once")
				if got := received.Load(); got != 1 {
					t.Errorf("received %d times", got)
				}
			})
		}
		t.Run(name+" raw", func(t *testing.T) {
			v.attach(vip, service(mesh.TCP), first, plain(upstream(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() })))
			c, err := v.dial(vip)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "raw")
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != "raw" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// dying reads a little of each request and hangs up. Of HTTP/2 that is its first frame: before it there is only the connection's
// preface, which is no byte of a request.
func dying(t *testing.T, protocol mesh.Protocol) string {
	return upstream(t, func(c *net.TCPConn) {
		defer c.SetLinger(0)
		if protocol == mesh.HTTP {
			_, _ = c.Read(make([]byte, 1))
			return
		}
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if _, request := frame.(*http2.HeadersFrame); request || err != nil {
				return
			}
		}
	})
}

// Once a byte went out there is no other endpoint: it may have been executed.
func TestNoOtherEndpointOnceAByteWentOut(t *testing.T) {
	var received atomic.Int64
	live := app(t, func(http.ResponseWriter, *http.Request) { received.Add(1) })
	v := newValley(t)
	for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
		first := dying(t, protocol)
		for name, ep := range map[string]mesh.Endpoint{"plaintext": plain(first), "tunnel": v.workload(idA, first, "127.0.0.1:0").ep} {
			for _, method := range []string{"POST", "GET"} {
				t.Run(name+" "+string(protocol)+" "+method, func(t *testing.T) {
					v.attach(vip, service(protocol), ep, plain(live))
					got, err := say(v.client(vip, false), method, "")
					if err != nil || got != "503 upstream_unavailable\n" {
						t.Errorf("got %q, %v", got, err)
					}
				})
			}
		}
	}
	if received.Load() != 0 {
		t.Error("a request was sent twice")
	}
}

// An endpoint that hangs up while a request is on its way over a connection that was idle costs nobody a request without a
// body and effects.
func TestIdleConnectionThatEnded(t *testing.T) {
	var accepted, received atomic.Int64
	addr := upstream(t, func(c *net.TCPConn) {
		n := accepted.Add(1)
		br := bufio.NewReader(c)
		for i := 0; ; i++ {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			received.Add(1)
			if n == 1 && i == 1 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	v := newValley(t)
	v.attach(vip, service(mesh.HTTP), plain(addr))
	c := v.client(vip, false)
	for range 3 {
		v.expect(c, "GET", "", "204 ")
	}
	if accepted.Load() != 2 || received.Load() != 4 {
		t.Errorf("%d connections and %d requests, want 2 and 4", accepted.Load(), received.Load())
	}
}

// h2Server answers streams as a test wants: each connection is handed to serve after the preface and SETTINGS.
func h2Server(t *testing.T, serve func(n int64, f *http2.Framer, stream uint32)) string {
	var conns atomic.Int64
	return upstream(t, func(c *net.TCPConn) {
		n := conns.Add(1)
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				serve(n, f, h.StreamID)
			}
		}
	})
}

func h2Answer(f *http2.Framer, stream uint32) {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
}

// REFUSED_STREAM and a GOAWAY that leaves a stream out say that nothing was done (RFC 9113, section 8.7).
func TestNotProcessed(t *testing.T) {
	var first, second atomic.Int64
	refusing := h2Server(t, func(_ int64, f *http2.Framer, stream uint32) {
		first.Add(1)
		_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	})
	cancelling := h2Server(t, func(_ int64, f *http2.Framer, stream uint32) {
		first.Add(1)
		_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
	})
	leaving := h2Server(t, func(n int64, f *http2.Framer, stream uint32) {
		first.Add(1)
		if n == 1 && stream > 1 {
			_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
			return
		}
		h2Answer(f, stream)
	})
	live := h2Server(t, func(_ int64, f *http2.Framer, stream uint32) { second.Add(1); h2Answer(f, stream) })
	for _, tt := range []struct {
		name, first   string
		requests      int
		want          string
		first_, other int64
	}{
		{"refused", refusing, 1, "204 ", 1, 1},
		{"reset", cancelling, 1, "503 upstream_unavailable\n", 1, 0},
		{"left", leaving, 2, "204 ", 3, 0}, // on another connection to the same endpoint, which is fine
	} {
		t.Run(tt.name, func(t *testing.T) {
			first.Store(0)
			second.Store(0)
			v := newValley(t)
			v.attach(vip, service(mesh.HTTP2), plain(tt.first), plain(live))
			c := v.client(vip, true)
			for range tt.requests {
				v.expect(c, "POST", "", tt.want)
			}
			if first.Load() != tt.first_ || second.Load() != tt.other {
				t.Errorf("the first endpoint saw %d requests and the other %d, want %d and %d", first.Load(), second.Load(), tt.first_, tt.other)
			}
		})
	}
}
