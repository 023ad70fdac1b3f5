package matrix_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// patience is how long a test waits for what must happen; nothing here passes or fails by being fast.
const patience = 30 * time.Second

// host is what callers name; which port a tunnel leads to does not depend on it.
const host = "server:3000"

// everything is the policy without which nothing is restricted: what is refused here is refused for what it is.
const everything = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: all, namespace: bank}
spec:
  action: ALLOW
  rules: [{}]
`

// server keeps what reaches it, and answers as script says, or with an empty result.
type server struct {
	script http.HandlerFunc // nil for empty results

	mu   sync.Mutex
	seen map[string]arrival // by the number that a caller gave it
}

// arrival is a request that came through.
type arrival struct {
	method, path string
	header       http.Header
	body         []byte
}

// numbered is the field by which a test knows its request again on the other side.
const numbered = "X-Number"

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.seen[r.Header.Get(numbered)] = arrival{r.Method, r.URL.Path, r.Header, body}
	s.mu.Unlock()
	switch {
	case s.script != nil:
		s.script(w, r)
	case r.Method == http.MethodGet:
		listen(w, r)
	case strings.HasPrefix(r.URL.Path, messages):
		w.WriteHeader(http.StatusAccepted)
	default:
		succeed(w, body)
	}
}

// succeed answers a request with an empty result, and anything else with 202.
func succeed(w http.ResponseWriter, body []byte) {
	m, err := jsonrpc.Parse(body, jsonrpc.RequestLimits())
	if err != nil || m.Kind != jsonrpc.Request {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(jsonrpc.AppendResult(nil, m.ID, []byte(`{}`)))
}

// The paths of a 2024-11-05 server.
const (
	stream   = "/sse"
	messages = "/messages"
)

// listen is a stream of a 2024-11-05 server: it names the endpoint, with the session that was asked for, and says no more.
func listen(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: endpoint\ndata: %s?%s\n\n", messages, r.URL.RawQuery)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// arrived returns what came of a request.
func (s *server) arrived(number string) (a arrival, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok = s.seen[number]
	return a, ok
}

// world is a server behind a waypoint.
type world struct {
	*server
	mesh     *testmesh.Mesh
	waypoint *testmesh.Waypoint
	service  testmesh.Service
}

func start(t testing.TB, script http.HandlerFunc) *world {
	t.Helper()
	w := &world{server: &server{script: script, seen: map[string]arrival{}}, mesh: testmesh.New(identity.RequireTrustDomain("cluster.local"))}
	web := httptest.NewServer(w.server)
	t.Cleanup(web.Close)
	t.Cleanup(func() { w.mesh.Close() })
	app := web.Listener.Addr().(*net.TCPAddr).AddrPort()
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("bank", "server"), App: app})
	if err != nil {
		t.Fatal(err)
	}
	w.service = testmesh.Service{
		Name: "server", Port: 3000, Protocol: "HTTP", Notes: map[string]string{"waymark.dev/protocol": "mcp"},
		Account: "server", At: testmesh.Placement{App: app, Tunnel: in.Addr()},
	}
	dir := t.TempDir()
	if err := testmesh.WriteServices(dir, "bank", w.service); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(everything), 0o600); err != nil {
		t.Fatal(err)
	}
	w.waypoint, err = w.mesh.Waypoint(t.Context(), testmesh.WaypointConfig{ID: w.mesh.ID("bank", "agents"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// outbound is the ztunnel next to a caller.
func (w *world) outbound(t testing.TB, account string) *testmesh.Outbound {
	t.Helper()
	out, err := w.mesh.Outbound(testmesh.OutboundConfig{
		Caller: w.mesh.ID("agents", account), Waypoint: w.waypoint.Addr(), Expect: []identity.ID{w.waypoint.ID()},
		Authority: w.service.Authority(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// client is a caller's HTTP client, through its ztunnel.
func (w *world) client(t testing.TB, account string) *http.Client {
	t.Helper()
	c := w.outbound(t, account).HTTPClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// answer is what a caller gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes one request and reads its answer to the end.
func send(t testing.TB, c *http.Client, method, path string, h http.Header, body []byte) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// events opens a stream and hands over its events, the endpoint first.
func events(t testing.TB, c *http.Client, path string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(found)
		readEvents(ctx, res.Body, found)
	}()
	t.Cleanup(func() {
		cancel()
		res.Body.Close()
		<-done
	})
	return found
}

func readEvents(ctx context.Context, body io.Reader, found chan<- string) {
	var lines []string
	for s := bufio.NewScanner(body); s.Scan(); {
		if s.Text() != "" {
			lines = append(lines, s.Text())
			continue
		}
		select {
		case found <- strings.Join(lines, "\n"):
			lines = nil
		case <-ctx.Done():
			return
		}
	}
}

// next waits for an event.
func next(t testing.TB, from <-chan string) string {
	t.Helper()
	select {
	case event, ok := <-from:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return event
	case <-time.After(patience):
		t.Fatal("no event came")
	}
	return ""
}
