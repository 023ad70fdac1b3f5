package mcp_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// patience is how long a test waits for what must happen; nothing here passes or fails by being fast.
const patience = 30 * time.Second

// The address the callers use: what it is named does not matter to a tunnel.
const endpoint = "http://company-mcp:3000/mcp"

// The two forms of the protocol, as a client asks for them.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

// tellers lets one caller use everything but the bulk export, within a limit, and another only look.
const tellers = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: tellers, namespace: bank}
spec:
  action: ALLOW
  rules:
    - from: [{source: {principals: [cluster.local/ns/agents/sa/teller]}}]
      to:
        - operation: {tools: [read_account, list_customers]}
        - operation:
            tools: [update_limit]
            arguments: [{pointer: /amount, min: 0, max: 5000}]
        - operation: {resources: ["bank://*"]}
        - operation: {prompts: [review_account]}
    - from: [{source: {principals: [cluster.local/ns/agents/sa/intern]}}]
      to:
        - operation: {tools: [read_account]}
`

// everything is the policy without which nothing is restricted.
const everything = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: tellers, namespace: bank}
spec:
  action: ALLOW
  rules: [{}]
`

// options change one thing of the ordinary fixture. The zero value is the company's server in both eras, in the mesh,
// behind the tellers policy.
type options struct {
	company company.Options
	handler http.Handler      // replaces the company's server
	notes   map[string]string // annotations of the service, beside the protocol
	policy  string
	plain   bool // the server is outside the mesh
}

// fixture is a tool server behind a waypoint.
type fixture struct {
	bank     *company.Bank
	mesh     *testmesh.Mesh
	web      *httptest.Server
	in       *testmesh.Inbound
	waypoint *testmesh.Waypoint
	service  testmesh.Service
	dir      string
}

func start(t *testing.T, o options) *fixture {
	t.Helper()
	f := &fixture{bank: company.New(), mesh: testmesh.New(identity.RequireTrustDomain("cluster.local")), dir: t.TempDir()}
	h := o.handler
	if h == nil {
		h = f.bank.Handler(o.company)
	}
	f.web = httptest.NewServer(h)
	t.Cleanup(f.web.Close)
	t.Cleanup(func() { f.mesh.Close() })
	f.place(t, o)
	if o.policy == "" {
		o.policy = tellers
	}
	f.writePolicy(t, o.policy)
	if err := testmesh.WriteServices(f.dir, "bank", f.service); err != nil {
		t.Fatal(err)
	}
	var err error
	f.waypoint, err = f.mesh.Waypoint(t.Context(), testmesh.WaypointConfig{
		ID: f.mesh.ID("bank", "agents"), Dir: f.dir, Poll: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// place describes the server to the mesh, with the ztunnel next to it if it has one.
func (f *fixture) place(t *testing.T, o options) {
	t.Helper()
	at := testmesh.Placement{App: f.web.Listener.Addr().(*net.TCPAddr).AddrPort()}
	if !o.plain {
		var err error
		if f.in, err = f.mesh.Inbound(testmesh.InboundConfig{Workload: f.mesh.ID("bank", "company-mcp"), App: at.App}); err != nil {
			t.Fatal(err)
		}
		at.Tunnel = f.in.Addr()
	}
	notes := map[string]string{"waymark.dev/protocol": "mcp"}
	for k, v := range o.notes {
		notes[k] = v
	}
	f.service = testmesh.Service{Name: "company-mcp", Port: 3000, Protocol: "HTTP", Notes: notes, Account: "company-mcp", At: at}
}

func (f *fixture) writePolicy(t *testing.T, text string) {
	t.Helper()
	// As careful editors do: a reader sees the old file or the new one, whole.
	next := filepath.Join(f.dir, ".policy.next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(f.dir, "policy.yaml")); err != nil {
		t.Fatal(err)
	}
}

// outbound is the ztunnel next to a caller with this service account.
func (f *fixture) outbound(t *testing.T, account string) *testmesh.Outbound {
	t.Helper()
	out, err := f.mesh.Outbound(testmesh.OutboundConfig{
		Caller: f.mesh.ID("agents", account), Waypoint: f.waypoint.Addr(), Expect: []identity.ID{f.waypoint.ID()},
		Authority: f.service.Authority(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// caller is a service account's HTTP client, through its ztunnel.
func (f *fixture) caller(t *testing.T, account string) *http.Client {
	t.Helper()
	c := f.outbound(t, account).HTTPClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// session connects the SDK's client, as account, in the given form of the protocol.
func (f *fixture) session(t *testing.T, account, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	return connect(t, endpoint, f.caller(t, account), version, o)
}

// direct connects it to the server itself.
func (f *fixture) direct(t *testing.T, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	return connect(t, f.web.URL, http.DefaultClient, version, o)
}

func connect(t *testing.T, url string, c *http.Client, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, o)
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: c},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if got := s.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("negotiated version %q, want %q", got, version)
	}
	return s
}

// forms runs a test in both forms of the protocol.
func forms(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range []string{legacy, modern} {
		t.Run(version, func(t *testing.T) { test(t, version) })
	}
}

// call calls a tool and puts whatever came of it into one line: the structured result, the tool's own error, or the
// JSON-RPC error.
func call(t *testing.T, s *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return failure(err)
	}
	if res.IsError {
		return "tool error: " + res.Content[0].(*mcp.TextContent).Text
	}
	return toJSON(t, res.StructuredContent)
}

// failure is a JSON-RPC error in a line. Any other error is one that a client does not survive, and is marked.
func failure(err error) string {
	var rpc *jsonrpc.Error
	if !errors.As(err, &rpc) {
		return "BROKEN: " + err.Error()
	}
	s := toText(rpc.Code) + " " + rpc.Message
	if len(rpc.Data) > 0 {
		s += " " + string(rpc.Data)
	}
	return s
}

func toText(v any) string { b, _ := json.Marshal(v); return string(b) }

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tools(t *testing.T, s *mcp.ClientSession) []string {
	t.Helper()
	var names []string
	for tool, err := range s.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func account(id string) map[string]any { return map[string]any{"account": id} }

func limit(id string, amount int) map[string]any {
	return map[string]any{"account": id, "amount": amount}
}

const adas = `{"balance":1240,"customer":"Ada Pohl","id":"A-100","limit":500}`

// alive proves that a session still works.
func alive(t *testing.T, s *mcp.ClientSession) {
	t.Helper()
	const want = `{"balance":15900,"customer":"Chiara Neri","id":"A-102","limit":2000}`
	if got := call(t, s, company.ReadAccount, account("A-102")); got != want {
		t.Errorf("the session does not go on: got %s, want %s", got, want)
	}
}

// post sends a raw body on the MCP endpoint and returns the status and the answer.
func post(t *testing.T, c *http.Client, body string, header map[string]string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(answer))
}

// eventually waits until check returns true; it is for what has no event to wait for.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if check() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
