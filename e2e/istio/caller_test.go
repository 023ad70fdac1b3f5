package istio_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// caller is a workload with the ztunnel next to it: each connection of the application is a CONNECT on a pooled connection to
// one of the waypoint's replicas, by choice at random among the ready ones. A CONNECT that fails is not tried again.
type caller struct {
	ns     string
	source certs.Source
	pool   *hbone.Pool

	mu       sync.Mutex
	replicas []*waypoint
}

func (p *place) caller(t *testing.T, account string, replicas ...*waypoint) *caller {
	t.Helper()
	c := &caller{ns: p.ns, source: p.i.Certificates(t, p.ns, account), replicas: replicas}
	c.pool = hbone.NewPool(hbone.PoolConfig{Certificates: c.source, Trust: trust})
	t.Cleanup(func() { c.pool.Close() })
	return c
}

// use changes which replicas istiod says are healthy.
func (c *caller) use(replicas ...*waypoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replicas = replicas
}

func (c *caller) dial(ctx context.Context, authority string) (*hbone.Conn, error) {
	c.mu.Lock()
	if len(c.replicas) == 0 {
		c.mu.Unlock()
		return nil, errors.New("no healthy waypoint")
	}
	w := c.replicas[rand.IntN(len(c.replicas))]
	c.mu.Unlock()
	return c.pool.Dial(ctx, hbone.Target{Addr: w.addr(), Expect: []identity.ID{id(c.ns, "agents")}, Authority: authority})
}

// http is a client whose every connection leads to an authority, as the redirection in a pod does it.
func (c *caller) http(t *testing.T, authority string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, authority) }}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// get is one request over a connection of its own: the status, or why there is none.
func (c *caller) get(t *testing.T, authority, path string) (int, error) {
	t.Helper()
	client := c.http(t, authority)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	resp, err := client.Get("http://" + authority + path)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// mcp connects the official SDK's client.
func (c *caller) mcp(t *testing.T, authority string) *mcp.ClientSession {
	t.Helper()
	s, err := c.tryMCP(t, authority)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *caller) tryMCP(t *testing.T, authority string) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://" + authority + "/mcp", HTTPClient: c.http(t, authority)}, nil)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// arguments are what each tool of the bank takes.
var arguments = map[string]map[string]any{
	"read_account": {"account": "A-100"},
	"update_limit": {"account": "A-100", "amount": 700},
	"export_all":   {},
}

// call says what came of a tool call: "ok", or the code and message of the refusal.
func call(t *testing.T, s *mcp.ClientSession, tool string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments[tool]})
	var rpc *jsonrpc.Error
	switch {
	case errors.As(err, &rpc):
		return fmt.Sprintf("%d %s", rpc.Code, rpc.Message)
	case err != nil:
		return "BROKEN: " + err.Error()
	case res.IsError:
		return "tool error"
	}
	return "ok"
}

// keepAlive is the plainest client that keeps its connection, and never sends anything twice. It notices, as every client does,
// that an idle connection was closed before it sends on it.
type keepAlive struct {
	dial func(context.Context) (net.Conn, error)
	conn net.Conn
	r    *bufio.Reader
}

func (k *keepAlive) request(ctx context.Context, method, path string) (err error) {
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if k.conn != nil && k.closed() {
		k.close()
	}
	if k.conn == nil {
		if k.conn, err = k.dial(ctx); err != nil {
			k.conn = nil
			return fmt.Errorf("connect: %w", err)
		}
		k.r = bufio.NewReader(k.conn)
	}
	if err := k.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(k.conn, "%s %s HTTP/1.1\r\nHost: mcp\r\nContent-Length: 0\r\n\r\n", method, path); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	resp, err := http.ReadResponse(k.r, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if resp.Close {
		k.close()
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// closed looks whether the other side has closed the connection meanwhile.
func (k *keepAlive) closed() bool {
	_ = k.conn.SetReadDeadline(time.Now().Add(time.Microsecond))
	_, err := k.r.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (k *keepAlive) close() {
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}

// tally counts what became of requests, and the longest time without a success.
type tally struct {
	sent, failed atomic.Int64

	mu     sync.Mutex
	last   time.Time
	gap    time.Duration
	causes map[string]int
}

func newTally() *tally { return &tally{last: time.Now(), causes: map[string]int{}} }

func (y *tally) add(err error) {
	y.sent.Add(1)
	y.mu.Lock()
	defer y.mu.Unlock()
	if err != nil {
		y.failed.Add(1)
		y.causes[err.Error()]++
		return
	}
	now := time.Now()
	y.gap, y.last = max(y.gap, now.Sub(y.last)), now
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	s := fmt.Sprintf("%d requests sent, %d failed, longest gap %s", y.sent.Load(), y.failed.Load(), y.gap.Round(time.Millisecond))
	var all []string
	for cause, n := range y.causes {
		all = append(all, fmt.Sprintf("%d × %s", n, cause))
	}
	if len(all) > 0 {
		s += ": " + strings.Join(all, "; ")
	}
	return s
}

// load keeps clients busy until it is stopped: each sends a request, waits for the answer, pauses.
type load struct {
	*tally
	stop func()
}

// start runs clients, each with a keep-alive connection of its own. Methods alternate, POST and GET.
func (c *caller) start(t *testing.T, authority string, clients int, pause time.Duration) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{tally: newTally()}
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			k := &keepAlive{dial: func(ctx context.Context) (net.Conn, error) { return c.dial(ctx, authority) }}
			defer k.close()
			methods := []string{http.MethodPost, http.MethodGet}
			for i := 0; ctx.Err() == nil; i++ {
				l.add(k.request(context.Background(), methods[i%2], fmt.Sprintf("/%d/%d", n, i)))
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	l.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(l.stop)
	return l
}
