package clients_test

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// patience is how long a test waits for what must happen; nothing here passes or fails by being fast.
const patience = 10 * time.Second

// transport is what a client speaks.
type transport string

const (
	legacy transport = "legacy" // streamable HTTP with a handshake and a session, 2025-03-26 to 2025-11-25
	modern transport = "modern" // streamable HTTP without them, 2026-07-28
	sse    transport = "sse"    // HTTP+SSE, 2024-11-05
)

// versions are those that the clients in Go are told to speak.
var versions = map[transport]string{legacy: "2025-11-25", modern: "2026-07-28", sse: "2024-11-05"}

func (tr transport) path() string {
	if tr == sse {
		return "/sse"
	}
	return "/mcp"
}

// The callers: who may not be asked and not notify, whose answers are refused, and who may not even say that it is ready.
const (
	clerk = "clerk"
	mute  = "mute"
	shy   = "shy"
)

// The tools: one that everybody may use, one that nobody may, and one for each thing that the server can ask.
const (
	greet     = "greet"
	forbidden = "forbidden"
	spend     = "spend"   // an amount of 10 at most
	confirm   = "confirm" // asks for elicitation/create
	think     = "think"   // asks for sampling/createMessage
	locate    = "locate"  // asks for roots/list
)

// Methods that clients use and rules name. unheard is in no revision of the protocol, and in no policy.
const (
	templates = "resources/templates/list"
	moved     = "notifications/roots/list_changed"
	progress  = "notifications/progress"
	unheard   = "notifications/waymark/unheard"
)

// rules are the policies. A client's answer has no method of its own; to a policy it is called response.
const rules = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: useful, namespace: bank}
spec:
  action: ALLOW
  rules:
    - from: [{source: {namespaces: [agents]}}]
      to:
        - operation: {tools: [greet, confirm, think, locate]}
        - operation: {tools: [spend], arguments: [{pointer: /amount, min: 0, max: 10}]}
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: quiet, namespace: bank}
spec:
  action: DENY
  rules:
    - from: [{source: {principals: [cluster.local/ns/agents/sa/clerk]}}]
      to:
        - operation:
            methods: [resources/templates/list, notifications/roots/list_changed, notifications/progress]
        - operation:
            methods: [elicitation/create, sampling/createMessage, roots/list]
    - from: [{source: {principals: [cluster.local/ns/agents/sa/mute]}}]
      to: [{operation: {methods: [response]}}]
    - from: [{source: {principals: [cluster.local/ns/agents/sa/shy]}}]
      to: [{operation: {methods: [notifications/initialized]}}]
`

// styles are the ways in which the refusal of a tool can look; each is a service of its own.
var styles = []string{"masked", "explained", "result"}

// fixture is one server behind a waypoint, under one name for each style.
type fixture struct {
	server   *server
	mesh     *testmesh.Mesh
	waypoint *testmesh.Waypoint
	services map[string]testmesh.Service // by style
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		server:   newServer(),
		mesh:     testmesh.New(identity.RequireTrustDomain("cluster.local")),
		services: map[string]testmesh.Service{},
	}
	web := httptest.NewServer(f.server.handler())
	t.Cleanup(web.Close)
	t.Cleanup(f.server.close)
	t.Cleanup(func() { f.mesh.Close() })
	dir := t.TempDir()
	var all []testmesh.Service
	for i, style := range styles {
		f.services[style] = f.service(t, style, uint16(3000+i), web.Listener.Addr().(*net.TCPAddr))
		all = append(all, f.services[style])
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := testmesh.WriteServices(dir, "bank", all...); err != nil {
		t.Fatal(err)
	}
	var err error
	f.waypoint, err = f.mesh.Waypoint(t.Context(), testmesh.WaypointConfig{ID: f.mesh.ID("bank", "agents"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// service describes the server to the mesh, with a ztunnel next to it, as one that refuses in the given style.
func (f *fixture) service(t *testing.T, style string, port uint16, app *net.TCPAddr) testmesh.Service {
	t.Helper()
	in, err := f.mesh.Inbound(testmesh.InboundConfig{Workload: f.mesh.ID("bank", style), App: app.AddrPort()})
	if err != nil {
		t.Fatal(err)
	}
	return testmesh.Service{
		Name: style, Port: port, Protocol: "HTTP", Account: style,
		Notes: map[string]string{"waymark.dev/protocol": "mcp", "waymark.dev/refusals": style},
		At:    testmesh.Placement{App: app.AddrPort(), Tunnel: in.Addr()},
	}
}

// url is where a caller reaches the service of a style: a loopback port that stands for the ztunnel next to the caller.
func (f *fixture) url(t *testing.T, caller, style string, tr transport) string {
	t.Helper()
	out, err := f.mesh.Outbound(testmesh.OutboundConfig{
		Caller: f.mesh.ID("agents", caller), Waypoint: f.waypoint.Addr(), Expect: []identity.ID{f.waypoint.ID()},
		Authority: f.services[style].Authority(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + out.Addr().String() + tr.path()
}
