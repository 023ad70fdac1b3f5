package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/proxy"
)

// upstream runs serve for each connection it accepts, until the test ends.
func upstream(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func archive(sections ...string) *txtar.Archive {
	a := &txtar.Archive{}
	for i := 0; i+1 < len(sections); i += 2 {
		a.Files = append(a.Files, txtar.File{Name: sections[i], Data: []byte(sections[i+1])})
	}
	return a
}

func ask(t *testing.T, conn net.Conn, br *bufio.Reader, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

const oneCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`

func post(fields string) string {
	return fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(oneCall), oneCall)
}

// A connection that dies under a POST does not send it again, whatever the caller says about its idempotency: it may have
// been executed.
func TestNoPostIsSentTwice(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"result":{}}`
	for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		t.Run(key, func(t *testing.T) {
			var received atomic.Int32
			addr := upstream(t, func(c *net.TCPConn) {
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if r.Header.Get(key) != "7" {
						t.Errorf("%s was not sent on", key)
					}
					if received.Add(1) == 2 {
						return // executed, and gone before the answer
					}
					_, _ = io.WriteString(c, answer)
				}
			})
			w := newWorld(t, archive(), addr)
			conn := w.dial(t)
			br := bufio.NewReader(conn)
			for _, want := range []int{200, 503} {
				resp := ask(t, conn, br, post(key+": 7\r\n"))
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.StatusCode != want {
					t.Errorf("got %d, want %d", resp.StatusCode, want)
				}
			}
			if got := received.Load(); got != 2 {
				t.Errorf("the upstream received %d POSTs, want 2", got)
			}
		})
	}
}

// Rules that change while a request is still being read judge it.
func TestRulesThatChangeWhileABodyIsRead(t *testing.T) {
	w, conn, deny := reconsidered(t, "waymark.dev/protocol: mcp\n", upstream(t, func(*net.TCPConn) { t.Error("the upstream was reached") }))
	br := bufio.NewReader(conn)
	head, body, _ := strings.Cut(post("Expect: 100-continue\r\n"), "\r\n\r\n")
	if resp := ask(t, conn, br, head+"\r\n\r\n"); resp.StatusCode != http.StatusContinue { // the body is being read
		t.Fatal(resp.Status)
	}
	deny()
	_ = ask(t, conn, br, body)
	w.close()
	wantRecord(t, w, "deny entitlement_denied mcp tools/call pay 200\n")
}

// What is under way is judged again while it is forwarded: nothing is shared that forwarding changes.
func TestReconsiderWhileForwarding(t *testing.T) {
	a := archive("annotations", "waymark.dev/mode: auto\n", "policy.yaml", `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: browsers, namespace: bank}
spec:
  action: DENY
  rules:
    - when: [{key: "request.headers[X-Bad]", values: ["yes"]}]
`)
	addr := upstream(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, a, addr)
	conn := w.dial(t)
	br := bufio.NewReader(conn)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			w.proxy.Reconsider(ctx)
		}
	})
	for range 50 {
		_ = ask(t, conn, br, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = ask(t, conn, br, post("Accept-Encoding: gzip\r\n"))
	}
	cancel()
	wg.Wait()
}

// A port that only observes carries raw connections too, and goes on carrying them.
func TestObservedRawConnections(t *testing.T) {
	w, conn, deny := reconsidered(t, "waymark.dev/protocol: tcp\nwaymark.dev/mode: observe\n", streaming(t, "welcome"))
	_, _ = io.WriteString(conn, "hello")
	if _, err := io.ReadFull(conn, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	deny()
	_ = conn.SetReadDeadline(time.Now())
	if _, err := conn.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("got %v, want a connection that goes on", err)
	}
	w.close()
	wantRecord(t, w, "pass - tcp - - 200\n")
}

// What observing would have refused is on record.
func TestObservedRefusalIsNoted(t *testing.T) {
	a := archive("annotations", "waymark.dev/protocol: tcp\nwaymark.dev/mode: observe\n", "policy.yaml", denyAll)
	w := newWorld(t, a, streaming(t, "welcome"))
	conn := w.dial(t)
	_, _ = io.WriteString(conn, "hello")
	if _, err := io.ReadFull(conn, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	w.close()
	if got, want := w.audit.String(), `"kind":"observe","policy":"bank/stop","rule":"rules[0]","text":"would be refused: entitlement_denied: `; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A request on a tunnel whose destination is gone is on record like any other refusal.
func TestDestinationGone(t *testing.T) {
	addr := upstream(t, func(*net.TCPConn) { t.Error("the upstream was reached") })
	w := newWorld(t, archive(), addr)
	conn := w.dial(t)
	c, problems := config.Load(writeConfig(t, archive(), addr))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c.Services, c.Workloads = nil, nil
	w.swap(t, c)
	if resp := ask(t, conn, bufio.NewReader(conn), post("")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", resp.Status)
	}
	w.close()
	wantRecord(t, w, "deny entitlement_denied http - - 404\n")
}

// An upstream that breaks off in the middle of an upgraded connection does not look as if it had finished.
func TestUpgradeBrokenOff(t *testing.T) {
	addr := upstream(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		_, _ = http.ReadRequest(br)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		_, _ = io.ReadFull(br, make([]byte, 1))
		_ = c.SetLinger(0)
	})
	w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr)
	conn := w.dial(t)
	br := bufio.NewReader(conn)
	if resp := ask(t, conn, br, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	if _, err := io.ReadFull(br, make([]byte, len("hello"))); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "x")
	var reset *hbone.ResetError
	if _, err := br.ReadByte(); !errors.As(err, &reset) {
		t.Errorf("got %v, want a reset", err)
	}
}

// A 101 that nobody asked for would open a channel past every later verdict.
func TestUnsolicitedUpgrade(t *testing.T) {
	const head = "GET /chat HTTP/1.1\r\nHost: x\r\n"
	for name, request := range map[string]string{"none": head + "\r\n", "another": head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			addr := upstream(t, func(c *net.TCPConn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nhello")
				_, _ = io.Copy(io.Discard, c)
			})
			w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr)
			conn := w.dial(t)
			if resp := ask(t, conn, bufio.NewReader(conn), request); resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}

// An answer may begin before the request has ended, and the rest of the request still arrives.
func TestAnswerBeforeTheRequestEnds(t *testing.T) {
	addr := upstream(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
		for b := make([]byte, 1); ; {
			n, err := r.Body.Read(b)
			if n > 0 {
				_, _ = fmt.Fprintf(c, "1\r\n%s\r\n", b)
			}
			if err != nil {
				_, _ = io.WriteString(c, "0\r\n\r\n")
				return
			}
		}
	})
	w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr)
	conn := w.dial(t)
	resp := ask(t, conn, bufio.NewReader(conn), "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	got := make([]byte, 1)
	for _, want := range "abc" {
		if _, err := io.ReadFull(resp.Body, got); err != nil || rune(got[0]) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		_, _ = fmt.Fprintf(conn, "1\r\n%c\r\n", want+1)
	}
	_, _ = io.WriteString(conn, "0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "d" {
		t.Errorf("got %q, %v", rest, err)
	}
}

// Draining does not wait for one idle caller after the other.
func TestDrainOfIdleCallers(t *testing.T) {
	addr := upstream(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr, func(c *proxy.Config) { c.Leave = 50 * time.Millisecond })
	var conns []*bufio.Reader
	for range 10 {
		conn := w.dial(t)
		br := bufio.NewReader(conn)
		_ = ask(t, conn, br, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		conns = append(conns, br)
	}
	drained := make(chan error, 1)
	go func() { drained <- w.proxy.Drain(context.Background()) }()
	for i, br := range conns { // each lingers for two seconds; their own deadline is ten
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("caller %d: got %v, want EOF", i, err)
		}
	}
	w.close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// HTTP/1.0 has no interim answers.
func TestInterimAnswers(t *testing.T) {
	addr := upstream(t, func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr)
	for version, want := range map[string]int{"1.0": 200, "1.1": 103} {
		conn := w.dial(t)
		if resp := ask(t, conn, bufio.NewReader(conn), "GET / HTTP/"+version+"\r\nHost: x\r\n\r\n"); resp.StatusCode != want {
			t.Errorf("%s: got %s", version, resp.Status)
		}
	}
}

// A caller that leaves while its body waits for a slow upstream ends the exchange, although nobody reads from it.
func TestCallerLeavesWithItsBodyUnread(t *testing.T) {
	headed, release := make(chan struct{}), make(chan struct{})
	addr := upstream(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		close(headed)
		<-release
	})
	defer close(release)
	w := newWorld(t, archive("annotations", "waymark.dev/mode: auto\n"), addr)
	conn := w.dial(t)
	_, _ = io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
	<-headed
	_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	for chunk := make([]byte, 64<<10); ; { // until every buffer on the way is full
		if _, err := conn.Write(chunk); err != nil {
			break
		}
	}
	_ = conn.Close()
	closed := make(chan struct{})
	go func() { w.close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the exchange goes on without its caller")
	}
}

// A call that is found on a port declared HTTP/2 goes on in HTTP/2: nothing else is spoken there.
func TestDetectedOnAnHTTP2Port(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	w := newWorld(t, archive("annotations", "waymark.dev/protocol: http2\n"), l.Addr().String())
	conn := w.dial(t)
	if resp := ask(t, conn, bufio.NewReader(conn), post("")); resp.StatusCode != http.StatusAccepted {
		t.Errorf("got %s", resp.Status)
	}
}
