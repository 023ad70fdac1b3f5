//lint:file-ignore SA1019 roots, sampling and logging are deprecated in the newest revision, and all the others have them

package conformance_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/e2e/peers"
)

// peer is an everything server in one of its forms, and how to speak to it.
type peer struct {
	name    string
	start   func(t *testing.T) (addr string)
	path    string
	version string // of the protocol, as the client asks for it
	plan    plan
}

// Whoever works with one of these servers works with it through us: everything that the Go SDK's client can ask for comes
// out the same. Each session has a server of its own: some of them keep what they are told.
func TestEverythingServers(t *testing.T) {
	for _, p := range everythingServers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel() // they wait for one another's clocks more than they work
			server := p.start(t)
			direct := p.walk(t, server, server)
			for _, w := range ways {
				t.Run(w.name, func(t *testing.T) {
					t.Parallel()
					server := p.start(t)
					same(t, direct, p.walk(t, server, through(t, w, server)))
				})
			}
		})
	}
}

func everythingServers() []peer {
	node := func(form string) func(*testing.T) string {
		return func(t *testing.T) string { return nodeServer(t, peers.NeedNode(t), form) }
	}
	inGo := func(form string) func(*testing.T) string {
		return func(t *testing.T) string { return goServer(t, form) }
	}
	modern := goPlan
	modern.strays = true
	silent := modern // without sessions, a server has no one to tell, and no one to ask
	silent.silent = true
	silent.calls = slices.DeleteFunc(slices.Clone(goPlan.calls), func(c toolCall) bool {
		return c.name == "test_input_required_result_multiple_inputs" // fails for one input or another, as a map has it
	})
	return []peer{
		{"npm, streamable HTTP, 2025-11-25", node("streamableHttp"), "/mcp", "2025-11-25", npmPlan},
		{"npm, streamable HTTP, 2025-06-18", node("streamableHttp"), "/mcp", "2025-06-18", npmPlan},
		{"npm, streamable HTTP, 2025-03-26", node("streamableHttp"), "/mcp", "2025-03-26", npmPlan},
		{"npm, HTTP+SSE, 2024-11-05", node("sse"), "/sse", httpSSE, npmPlan},
		{"Go, sessions, 2025-11-25", inGo(sessions), "/", "2025-11-25", goPlan},
		{"Go, sessions, 2025-06-18", inGo(sessions), "/", "2025-06-18", goPlan},
		{"Go, stateless, 2025-11-25", inGo(stateless), "/", "2025-11-25", silent},
		{"Go, stateless, 2026-07-28", inGo(stateless), "/", "2026-07-28", modern},
	}
}

// httpSSE is the revision with a transport of its own.
const httpSSE = "2024-11-05"

// walk connects to entry as if it were the server, and carries out the plan.
func (p peer) walk(t *testing.T, server, entry string) *journal {
	t.Helper()
	j := &journal{strays: p.plan.strays}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, j.options())
	client.AddRoots(&mcp.Root{Name: "home", URI: "file:///srv/home"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	t.Cleanup(cancel) // not before: the stream of an HTTP+SSE session lives on it
	s, err := client.Connect(ctx, p.transport(t, server, entry), &mcp.ClientSessionOptions{ProtocolVersion: p.version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	j.note("connected", s.InitializeResult(), nil)
	p.plan.follow(ctx, t, s, j)
	return j
}

func (p peer) transport(t *testing.T, server, entry string) mcp.Transport {
	t.Helper()
	web := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, entry)
	}}
	t.Cleanup(web.CloseIdleConnections)
	url, client := "http://"+server+p.path, &http.Client{Transport: web}
	if p.version == httpSSE {
		return &mcp.SSEClientTransport{Endpoint: url, HTTPClient: client}
	}
	return &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: client}
}

// same compares two journals: step by step, and event by event once all have come.
func same(t *testing.T, direct, through *journal) {
	t.Helper()
	for i := range max(len(direct.steps), len(through.steps)) {
		if got, want := step(through, i), step(direct, i); got != want {
			t.Errorf("step %d through the waypoint:\n got  %s\n want %s", i, got, want)
		}
	}
	if t.Failed() {
		return // events that never come would be waited for
	}
	got, want := through.seen(), direct.seen()
	eventually(t, func() string {
		return "the same events\nonly without the waypoint:\n\t" + strings.Join(less(want, got), "\n\t") +
			"\nonly through the waypoint:\n\t" + strings.Join(less(got, want), "\n\t")
	}, func() bool {
		got, want = through.seen(), direct.seen()
		return len(less(got, want)) == 0 && len(less(want, got)) == 0
	})
	t.Logf("%d steps and %d events are the same", len(direct.steps), len(want))
}

func step(j *journal, i int) string {
	if i < len(j.steps) {
		return j.steps[i]
	}
	return "(no such step)"
}
