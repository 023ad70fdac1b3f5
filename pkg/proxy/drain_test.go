package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/proxy"
)

// leaving sets how long a connection may be idle in a drain.
func leaving(d time.Duration) func(*proxy.Config, *hbone.ServerConfig) {
	return func(c *proxy.Config, _ *hbone.ServerConfig) { c.Leave = d }
}

// drain begins a drain and returns what it will have returned.
func (v *valley) drain(ctx context.Context) <-chan error {
	drained := make(chan error, 1)
	go func() { drained <- v.proxy.Drain(ctx) }()
	return drained
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// An idle connection is there for one more request, whose answer says that it was the last. So is a new one.
func TestDrainAnswersTheNextRequest(t *testing.T) {
	v := newValley(t, leaving(time.Minute))
	v.attach(vip, service(mesh.HTTP), plain(says(t, "hi")))
	idle, err := v.dial(vip)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(idle)
	if resp := ask(t, idle, br, get); resp.Close {
		t.Fatal("the first answer is said to be the last")
	} else {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	silent, err := v.dial(vip) // open, and nothing was said on it
	if err != nil {
		t.Fatal(err)
	}
	drained := v.drain(context.Background())
	late := func() *hbone.Conn { // once the drain has begun
		for {
			c, err := v.dial(vip)
			if err != nil {
				t.Fatal(err)
			}
			if resp := ask(t, c, bufio.NewReader(c), get); resp.Close {
				return c
			}
			_ = c.Close()
		}
	}()
	for _, c := range []struct {
		*hbone.Conn
		*bufio.Reader
	}{{idle, br}, {silent, bufio.NewReader(silent)}} {
		resp := ask(t, c.Conn, c.Reader, get)
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hi" || !resp.Close {
			t.Errorf("got %q, %v, last %v", b, err, resp.Close)
		}
		if _, err := c.ReadByte(); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
		_ = c.Conn.Close()
	}
	_ = late.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A connection on which nothing comes ends after a while; one with an exchange does not, however long that takes.
func TestDrainEndsIdleConnections(t *testing.T) {
	const patience = 100 * time.Millisecond
	begun, end := make(chan struct{}), make(chan struct{})
	slow := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			begun <- struct{}{}
			<-end
		}
		_, _ = io.WriteString(w, "hi")
	})
	v := newValley(t, leaving(patience))
	v.attach(vip, service(mesh.HTTP), plain(slow))
	var idle []*bufio.Reader
	for i := range 10 {
		c, err := v.dial(vip)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(c)
		if i > 0 { // on the first one nothing was ever said
			resp := ask(t, c, br, get)
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		idle = append(idle, br)
	}
	busy, err := v.dial(vip)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(busy, post(""))
	<-begun
	before := time.Now()
	drained := v.drain(context.Background())
	for i, br := range idle {
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("connection %d: got %v, want a clean end", i, err)
		}
	}
	if took := time.Since(before); took < patience {
		t.Errorf("they ended after %s, want %s", took, patience)
	}
	time.Sleep(2 * patience)
	end <- struct{}{}
	resp, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hi" || !resp.Close {
		t.Errorf("got %q, %v, last %v", b, err, resp.Close)
	}
	v.pool.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// HTTP/2 connections hear GOAWAY at once, idle or not, and which streams are still served.
func TestDrainSaysGoAway(t *testing.T) {
	server := h2Server(t, func(_ int64, f *http2.Framer, id uint32) { h2Answer(f, id) })
	v := newValley(t, leaving(100*time.Millisecond))
	v.attach(vip, service(mesh.HTTP2), plain(server))
	ask := func(f *http2.Framer, id uint32) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: []byte{
			0x82, 0x86, 0x84, 0x41, 0x01, 'x', // GET http / x
		}})
	}
	open := func() *http2.Framer {
		c, err := v.dial(vip)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, http2.ClientPreface)
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		ask(f, 1)
		return f
	}
	until := func(f *http2.Framer, is func(http2.Frame) bool) {
		t.Helper()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if is(frame) {
				return
			}
		}
	}
	ended := func(frame http2.Frame) bool { h, ok := frame.(*http2.HeadersFrame); return ok && h.StreamEnded() }
	goAway := func(last uint32) func(http2.Frame) bool {
		return func(frame http2.Frame) bool {
			g, ok := frame.(*http2.GoAwayFrame)
			if ok && (g.ErrCode != http2.ErrCodeNo || g.LastStreamID != last) {
				t.Errorf("got %v, want the last stream %d", g, last)
			}
			return ok
		}
	}
	idle := open()
	until(idle, ended)
	drained := v.drain(context.Background())
	until(idle, goAway(1<<31-1))
	late := open() // a tunnel that was on its way
	until(late, goAway(1<<31-1))
	until(late, ended)
	ask(idle, 3) // a request that was on its way, too
	until(idle, ended)
	until(idle, goAway(3))
	until(late, goAway(1))
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Event streams last until the deadline, and nobody takes their end for a clean one.
func TestDrainLeavesStreams(t *testing.T) {
	stream := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; r.Context().Err() == nil; i++ {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	for _, version := range []string{"1.1", "1.0"} { // in 1.0 the end of the connection is the end of the answer
		v := newValley(t, leaving(10*time.Millisecond))
		v.attach(vip, service(mesh.HTTP), plain(stream))
		c, err := v.dial(vip)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(c)
		resp := ask(t, c, br, "GET / HTTP/"+version+"\r\nHost: x\r\n\r\n")
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		drained := v.drain(ctx)
		lines := bufio.NewReader(resp.Body)
		n := 0
		var result error
		for ended := false; !ended; n++ {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatalf("the stream ended after %d lines: %v", n, err)
			}
			select {
			case result = <-drained:
				ended = true
			default:
			}
		}
		if !errors.Is(result, context.DeadlineExceeded) || n < 20 {
			t.Errorf("got %v after %d lines", result, n)
		}
		go v.proxy.Close()
		if _, err := io.Copy(io.Discard, lines); err == nil {
			t.Errorf("HTTP/%s: the stream looks whole", version)
		}
	}
}

// balancer is the caller's ztunnel in front of several waypoints: each connection of an application goes through a tunnel to
// one that is ready. It does not try twice.
type balancer struct {
	pool *hbone.Pool
	mu   sync.Mutex
	next int
	to   []netip.AddrPort
}

func (b *balancer) set(to ...netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = to
}

func (b *balancer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	b.mu.Lock()
	b.next++
	to := b.to[b.next%len(b.to)]
	b.mu.Unlock()
	return b.pool.Dial(ctx, hbone.Target{Addr: to, Expect: []identity.ID{ownID}, Authority: vip})
}

// Two waypoints are restarted in turn under fifty callers with kept connections, who try nothing twice: no request fails.
func TestRollingRestart(t *testing.T) {
	for _, protocol := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) { rollingRestart(t, protocol) })
	}
}

func rollingRestart(t *testing.T, protocol mesh.Protocol) {
	const callers, restarts, settle = 50, 4, 100 * time.Millisecond
	quick := func(pc *proxy.Config, hc *hbone.ServerConfig) {
		pc.Settle, hc.Settle, pc.Leave = settle, settle, 300*time.Millisecond
	}
	v := newValley(t, quick)
	v.attach(vip, service(protocol), v.workload(idA, says(t, "yes"), "127.0.0.1:0").ep)
	type waypoint struct {
		*proxy.Proxy
		*hbone.Server
		addr  netip.AddrPort
		close func()
	}
	current := func() waypoint { return waypoint{v.proxy, v.server, v.addr, v.close} }
	running := []waypoint{current()}
	v.start(quick)
	running = append(running, current())
	b := &balancer{pool: hbone.NewPool(hbone.PoolConfig{Certificates: v.certificate(callerID)})}
	t.Cleanup(func() { _ = b.pool.Close() })
	b.set(running[0].addr, running[1].addr)

	// net/http's HTTP/2 client gives a request up that it assigns to a connection in the very moment in which it reads
	// GOAWAY there, before it opens a stream, unless it can rewind the body. That is no affair of any server's.
	var sent, failed, unopened atomic.Int64
	var gap atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range callers {
		var p http.Protocols
		p.SetHTTP1(protocol == mesh.HTTP)
		p.SetUnencryptedHTTP2(protocol == mesh.HTTP2)
		transport := &http.Transport{DialContext: b.dial, Protocols: &p}
		c := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		pause := time.Duration(i%10) * 8 * time.Millisecond // from hammering to mostly idle
		wg.Go(func() {
			defer transport.CloseIdleConnections()
			for last := time.Now(); ctx.Err() == nil; time.Sleep(pause) {
				sent.Add(1)
				got, err := say(c, "POST", "a body that can be read once")
				if err != nil && strings.Contains(err.Error(), "cannot rewind body after connection loss") {
					unopened.Add(1)
					continue
				}
				if err != nil || got != "200 yes" {
					failed.Add(1)
					t.Errorf("caller %d: got %q, %v", i, got, err)
				}
				if since := int64(time.Since(last)); since > gap.Load() {
					gap.Store(since)
				}
				last = time.Now()
			}
		})
	}
	for range restarts {
		time.Sleep(100 * time.Millisecond)
		old := running[0]
		v.start(quick) // the new one is ready before the old one goes
		running = append(slices.Delete(running, 0, 1), current())
		deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		drained := make(chan error, 1)
		go func() { drained <- old.Drain(deadline) }()
		time.AfterFunc(settle/2, func() { b.set(running[0].addr, running[1].addr) }) // readiness takes a while to be heard
		if err := old.Shutdown(deadline); err != nil {
			t.Errorf("the HBONE server was cut: %v", err)
		}
		if err := <-drained; err != nil {
			t.Errorf("the proxy was cut: %v", err)
		}
		cancel()
		old.close()
	}
	stop()
	wg.Wait()
	for _, w := range running {
		w.close()
	}
	if got, want := int64(len(v.recorded())), sent.Load()-unopened.Load(); got != want {
		t.Errorf("%d requests are on record, want %d", got, want)
	}
	t.Logf("%d callers, %d restarts: %d requests sent, %d failed (%d never left the client), longest gap %s",
		callers, restarts, sent.Load(), failed.Load(), unopened.Load(), time.Duration(gap.Load()).Round(time.Millisecond))
}
