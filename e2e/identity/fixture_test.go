// Package identity_test runs the product with tokens: the rules that operators write, delegation chains with a real token service,
// and issuers that nobody here wrote.
package identity_test

import (
	"bytes"
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer signs tokens, and serves the keys that they are verified with.
type issuer struct {
	name string
	key  *jwkstest.Key

	mu      sync.Mutex
	fetched int
	down    bool
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	return &issuer{name: name, key: jwkstest.NewKey()}
}

func (i *issuer) keys() []byte { return i.key.Set() }

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched++
	if i.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(i.keys())
}

func (i *issuer) fail(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// token is a good one, with these claims.
func (i *issuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.name, "sub": "alice", "aud": "tools", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	return i.key.Sign(all)
}

// backend is a server of MCP without sessions that answers every call, and remembers the header of the last one.
type backend struct {
	mu   sync.Mutex
	last http.Header
	hits int
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.last, b.hits = r.Header.Clone(), b.hits+1
	b.mu.Unlock()
	var message struct {
		ID any `json:"id"`
	}
	if json.Unmarshal(body, &message) != nil || message.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%v,"result":{"content":[{"type":"text","text":"done"}]}}`, message.ID)
}

func (b *backend) seen() (http.Header, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.hits
}

// world is a mesh with the configuration of an example, and its services.
type world struct {
	t        *testing.T
	mesh     *testmesh.Mesh
	waypoint *testmesh.Waypoint
	dir      string
	at       map[string]testmesh.Placement
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, mesh: testmesh.New(identity.RequireTrustDomain("cluster.local")), dir: t.TempDir(), at: map[string]testmesh.Placement{}}
	t.Cleanup(func() { w.mesh.Close() })
	return w
}

// place runs a workload with a ztunnel beside it.
func (w *world) place(namespace, name string, h http.Handler) *httptest.Server {
	w.t.Helper()
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	at := testmesh.Placement{App: s.Listener.Addr().(*net.TCPAddr).AddrPort()}
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID(namespace, name), App: at.App})
	if err != nil {
		w.t.Fatal(err)
	}
	at.Tunnel = in.Addr()
	w.at[name] = at
	return s
}

// start runs the waypoint with the files of an example.
func (w *world) start(example string) {
	w.t.Helper()
	if err := testmesh.CopyConfig("../../examples/"+example, w.dir, w.at); err != nil {
		w.t.Fatal(err)
	}
	w.run()
}

// startWith has one more file than the example.
func (w *world) startWith(example, more string, change ...string) {
	w.t.Helper()
	staged := w.t.TempDir()
	if err := os.CopyFS(staged, os.DirFS("../../examples/"+example)); err != nil {
		w.t.Fatal(err)
	}
	if more != "" {
		if err := os.WriteFile(filepath.Join(staged, "more.yaml"), []byte(more), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := 0; i < len(change); i += 3 { // in a file, what, by what
		name := filepath.Join(staged, change[i])
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(b, []byte(change[i+1])) {
			w.t.Fatalf("%s has no %q: %v", name, change[i+1], err)
		}
		if err := os.WriteFile(name, bytes.Replace(b, []byte(change[i+1]), []byte(change[i+2]), 1), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := testmesh.CopyConfig(staged, w.dir, w.at); err != nil {
		w.t.Fatal(err)
	}
	w.run()
}

func (w *world) run() {
	w.t.Helper()
	var err error
	w.waypoint, err = w.mesh.Waypoint(w.t.Context(), testmesh.WaypointConfig{ID: w.mesh.ID("tools", "agents"), Dir: w.dir, Poll: 50 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
}

// client is the HTTP client of a service account of namespace agents, through its ztunnel, for one service.
func (w *world) client(account, vip string) *http.Client {
	w.t.Helper()
	out, err := w.mesh.Outbound(testmesh.OutboundConfig{
		Caller: w.mesh.ID("agents", account), Waypoint: w.waypoint.Addr(), Expect: []identity.ID{w.waypoint.ID()},
		Authority: netip.MustParseAddrPort(vip).String(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c := out.HTTPClient()
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// result is what became of a call.
type result struct {
	status int
	code   string // the reason code of a refusal; "" if the call was answered
	reason string // for the operator
	header http.Header
	body   string
}

// call calls a tool with a token; "" sends none.
func (w *world) call(c *http.Client, host, tool, token string, more ...string) result {
	w.t.Helper()
	return w.callWith(c, host, tool, "{}", token, more...)
}

// callWith has arguments, too.
func (w *world) callWith(c *http.Client, host, tool, arguments, token string, more ...string) result {
	w.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+host+"/mcp", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Mcp-Protocol-Version", "2025-06-18")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(more); i += 2 {
		r.Header[more[i]] = append(r.Header[more[i]], more[i+1])
	}
	from := w.waypoint.Audit().Len()
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := result{status: resp.StatusCode, header: resp.Header, body: string(bytes.TrimSpace(answer))}
	record, err := w.waypoint.Audit().Find(w.t.Context(), from, func(r testmesh.Record) bool { return true })
	if err != nil {
		w.t.Fatal(err)
	}
	if out.code, out.reason = record.Code, record.Reason; record.Allowed() && !strings.Contains(out.body, `"done"`) {
		w.t.Fatalf("the call was allowed, and answered with %s", out.body)
	}
	if token != "" && len(token) > 16 && strings.Contains(record.Line, token) {
		w.t.Error("the record has the token in it")
	}
	return out
}
