package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/proxy"
	"waymark.dev/waypoint/pkg/ruleset"
)

var update = flag.Bool("update", false, "write what happened into the want, seen and audit sections")

// TestConversations runs each testdata/*.txtar: whole conversations through a real tunnel, one readable file each.
//
//	policy.yaml   policies, added to a Gateway, a ServiceEntry bank/company-mcp and its WorkloadEntry
//	annotations   of the ServiceEntry, "key: value" lines; by default waymark.dev/protocol: mcp
//	peer          the caller's SPIFFE ID; by default bank/teller
//	peer.N        that of one tunnel
//	client.N      what the caller sends in a tunnel of its own, LF for CRLF; "Content-Length: *" is filled in; after a line
//	              "---" comes what it sends on the same connection once that is answered
//	upstream.N    what the server answers to the Nth request it receives
//	want.N        what the caller receives
//	seen          the requests the server received, in order
//	audit         one line for each record: verdict code method target status
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			converse(t, a)
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func converse(t *testing.T, a *txtar.Archive) {
	server := newScriptedServer(t, a)
	w := newWorld(t, a, server.addr)
	for n := 1; ; n++ {
		in := section(a, fmt.Sprintf("client.%d", n))
		if in == nil {
			break
		}
		pool := w.pool
		if other := section(a, fmt.Sprintf("peer.%d", n)); other != nil {
			pool = w.as(strings.TrimSpace(string(other.Data)))
		}
		compare(t, a, fmt.Sprintf("want.%d", n), w.send(pool, in.Data))
	}
	w.close()
	compare(t, a, "seen", server.seen())
	compare(t, a, "audit", w.records(t))
}

// compare holds got against a section, or writes it there.
func compare(t *testing.T, a *txtar.Archive, name string, got string) {
	t.Helper()
	s := section(a, name)
	if *update {
		if s == nil {
			a.Files = append(a.Files, txtar.File{Name: name})
			s = &a.Files[len(a.Files)-1]
		}
		s.Data = []byte(got)
		return
	}
	if s == nil {
		t.Errorf("there is no section %s; got:\n%s", name, got)
		return
	}
	if want := string(s.Data); got != want {
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

func section(a *txtar.Archive, name string) *txtar.File {
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &a.Files[i]
}

func text(a *txtar.Archive, name, otherwise string) string {
	if s := section(a, name); s != nil {
		return string(s.Data)
	}
	return otherwise
}

// wireForm turns a section into an HTTP/1 message: CRLF in the head, the body's last LF removed, Content-Length filled in.
func wireForm(b []byte) []byte {
	head, body, _ := strings.Cut(string(b), "\n\n")
	if strings.Contains(head, ": chunked") {
		return []byte(strings.ReplaceAll(string(b), "\n", "\r\n"))
	}
	body = strings.TrimSuffix(body, "\n")
	if strings.Contains(head, "text/event-stream\n") || strings.HasSuffix(head, "text/event-stream") {
		body += "\n\n"
	}
	head = strings.ReplaceAll(head, "Content-Length: *", "Content-Length: "+strconv.Itoa(len(body)))
	return []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)
}

// world is a waypoint for one service, with one caller.
type world struct {
	pool   *hbone.Pool
	server *hbone.Server
	proxy  *proxy.Proxy
	target hbone.Target
	audit  *lockedBuffer
	rules  atomic.Pointer[ruleset.Ruleset]
	done   chan error
	up     *hbone.Pool
	ca     *certstest.CA
	others []*hbone.Pool
}

// as returns the tunnels of another caller.
func (w *world) as(peer string) *hbone.Pool {
	pool := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(w.ca.Issue(identity.RequireID(peer))), Trust: identity.MatchTrustDomains(identity.RequireTrustDomain("cluster.local"))})
	w.others = append(w.others, pool)
	return pool
}

// swap puts another configuration in force, as a reload does.
func (w *world) swap(t testing.TB, c *config.Config) {
	t.Helper()
	rules, err := ruleset.Build(c, ruleset.Deps{
		Audit: audit.New(w.audit, audit.Options{}), TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.rules.Store(rules)
	if w.proxy != nil {
		w.proxy.Reconsider(context.Background())
	}
}

// dial opens a tunnel as the caller.
func (w *world) dial(t testing.TB) *hbone.Conn {
	t.Helper()
	return w.dialFrom(t, w.pool)
}

func (w *world) dialFrom(t testing.TB, pool *hbone.Pool) *hbone.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pool.Dial(ctx, w.target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func newWorld(t testing.TB, a *txtar.Archive, upstream string, options ...func(*proxy.Config)) *world {
	t.Helper()
	td := identity.RequireTrustDomain("cluster.local")
	ca := certstest.NewCA(td)
	own := identity.RequireID("spiffe://cluster.local/ns/bank/sa/agents")
	peer := identity.RequireID(strings.TrimSpace(text(a, "peer", "spiffe://cluster.local/ns/bank/sa/teller")))
	c, problems := config.Load(writeConfig(t, a, upstream))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := &world{audit: &lockedBuffer{}, done: make(chan error, 1), ca: ca}
	w.swap(t, c)
	log := slog.New(slog.DiscardHandler)
	trust := identity.MatchTrustDomains(td)
	material := certs.Static(ca.Issue(own))
	w.up = hbone.NewPool(hbone.PoolConfig{Certificates: material, Trust: trust})
	cfg := proxy.Config{Rules: func() proxy.Rules { return w.rules.Load() }, Tunnels: w.up, Log: log, Sniff: 50 * time.Millisecond}
	for _, change := range options {
		change(&cfg)
	}
	w.proxy = proxy.New(cfg)
	w.server = hbone.NewServer(hbone.ServerConfig{Certificates: material, Trust: trust, Handler: w.proxy.Serve, Log: log})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { w.done <- w.server.Serve(l) }()
	w.pool = hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(ca.Issue(peer)), Trust: trust})
	w.target = hbone.Target{
		Addr: l.Addr().(*net.TCPAddr).AddrPort(), Expect: []identity.ID{own},
		Authority: strings.TrimSpace(text(a, "authority", "10.96.0.10:3000")),
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	if w.server == nil {
		return
	}
	for _, pool := range append(w.others, w.pool) {
		_ = pool.Close()
	}
	_ = w.server.Close()
	_ = w.proxy.Close()
	_ = w.up.Close()
	<-w.done
	w.server = nil
}

func writeConfig(t testing.TB, a *txtar.Archive, upstream string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(upstream)
	var annotations strings.Builder
	for line := range strings.Lines(text(a, "annotations", "waymark.dev/protocol: mcp\n")) {
		annotations.WriteString("    " + line)
	}
	dir := t.TempDir()
	base := strings.NewReplacer("HOST", host, "PORT", port, "ANNOTATIONS", annotations.String()).Replace(baseConfig)
	for name, data := range map[string]string{"base.yaml": base, "policy.yaml": text(a, "policy.yaml", "")} {
		if data == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const baseConfig = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: agents, namespace: bank}
spec:
  gatewayClassName: waymark-waypoint
  listeners:
    - {name: mesh, port: 15008, protocol: HBONE}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: company-mcp
  namespace: bank
  labels: {istio.io/use-waypoint: agents}
  annotations:
ANNOTATIONS
spec:
  hosts: [company-mcp.bank.svc.cluster.local]
  addresses: [10.96.0.10]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - {number: 3000, name: p3000, protocol: HTTP, targetPort: PORT}
  workloadSelector: {labels: {app: company-mcp}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: company-mcp
  namespace: bank
  labels: {app: company-mcp}
spec:
  address: HOST
`

// send writes requests into a tunnel of its own and renders everything that comes back.
func (w *world) send(pool *hbone.Pool, script []byte) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pool.Dial(ctx, w.target)
	if err != nil {
		return fmt.Sprintf("tunnel: %v\n", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	br := bufio.NewReader(conn)
	for part := range bytes.SplitSeq(script, []byte("\n---\n")) {
		b.WriteString(exchange(conn, br, wireForm(part)))
	}
	return b.String()
}

// exchange sends raw bytes and renders as many answers as there are requests in them, fewer if the waypoint hangs up.
func exchange(conn net.Conn, br *bufio.Reader, raw []byte) string {
	if _, err := conn.Write(raw); err != nil {
		return fmt.Sprintf("write: %v\n", err)
	}
	var b strings.Builder
	for range requestLine.FindAll(raw, -1) {
		if _, err := br.Peek(1); err != nil {
			if err != io.EOF {
				fmt.Fprintf(&b, "read: %v\n", err)
			}
			return b.String()
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			fmt.Fprintf(&b, "response: %v\n", err)
			return b.String()
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Fprintf(&b, "%s\n%s", resp.Status, render(resp.Header, resp.ContentLength, body))
		if err != nil {
			fmt.Fprintf(&b, "body: %v\n", err)
			return b.String()
		}
		if len(resp.Trailer) > 0 {
			fmt.Fprintf(&b, "trailer\n%s", render(resp.Trailer, -1, nil))
		}
	}
	return b.String()
}

// requestLine finds what looks like the beginning of a request.
var requestLine = regexp.MustCompile(`(?m)^[A-Z]+ \S+ HTTP/1\.\d\r?$`)

func render(h http.Header, length int64, body []byte) string {
	var b strings.Builder
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range h[k] {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
	}
	if length < 0 {
		b.WriteString("(length unknown)\n")
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "\n%s\n", bytes.TrimRight(body, "\n"))
	}
	return b.String() + "\n"
}

// records renders the audit log: what a test can know beforehand.
func (w *world) records(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(w.audit.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("audit line is not JSON: %v: %q", err, line)
		}
		fmt.Fprintf(&b, "%v %v %v %v %v %v\n", r["verdict"], or(r["code"]), or(r["protocol"]), or(r["method"]), or(r["target"]), or(r["status"]))
	}
	return b.String()
}

func or(v any) any {
	if v == nil || v == "" {
		return "-"
	}
	return v
}
