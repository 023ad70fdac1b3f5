package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// nothingToClients refuses what servers ask of clients.
type nothingToClients struct{}

func (nothingToClients) Name() string { return "test" }

func (nothingToClients) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	if c.Direction == call.ToClient {
		return policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied, Reason: "no"}, nil
	}
	return policy.Verdict{Action: policy.Pass}, nil
}

// A server whose request is refused hears it at the endpoint that asked, also where endpoints come and go.
func TestRefusalReachesAPickedEndpoint(t *testing.T) {
	refused := make(chan string, 1)
	server := app(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(b), "tools/call") {
			refused <- string(b)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case got := <-refused:
			refused <- got
		case <-time.After(5 * time.Second):
		}
		_, _ = io.WriteString(w, `data: {"jsonrpc":"2.0","id":1,"result":{}}`+"\n\n")
	})
	v := newValley(t)
	v.pipe = policy.NewPipeline("test", time.Now, policy.Entry{Stage: nothingToClients{}})
	d := service(mesh.MCP)
	d.Mode = mesh.Enforce
	v.attach(vip, d, v.workload(idA, server, "127.0.0.1:0").ep)
	r, err := http.NewRequest("POST", "http://company:3000/mcp", strings.NewReader(oneCall))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	resp, err := v.client(vip, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || strings.Contains(string(b), "sampling") || !strings.Contains(string(b), `"id":1`) {
		t.Errorf("the caller got %q, %v", b, err)
	}
	select {
	case got := <-refused:
		if !strings.Contains(got, `"id":7`) || !strings.Contains(got, `"error"`) {
			t.Errorf("the server was told %q", got)
		}
	default:
		t.Error("the server waits for an answer for ever")
	}
}
