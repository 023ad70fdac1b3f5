package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"waymark.dev/waypoint/pkg/sse"
)

// sseServer is a server of the 2024-11-05 transport: a GET opens the stream, POSTs to the endpoint that it names are answered
// 202, and the test says what appears on the stream.
type sseServer struct {
	mu     sync.Mutex
	posted []string
	stream net.Conn
	opened chan struct{}
}

func (s *sseServer) serve(c *net.TCPConn) {
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodGet {
			s.mu.Lock()
			s.stream = c
			s.mu.Unlock()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: endpoint\ndata: /message?sessionId=5e55\n\n")
			close(s.opened)
			_, _ = io.Copy(io.Discard, c)
			return
		}
		s.mu.Lock()
		s.posted = append(s.posted, string(body))
		s.mu.Unlock()
		_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\nAccepted")
	}
}

func (s *sseServer) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.posted, "\n")
}

func (s *sseServer) say(t *testing.T, event string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.stream, event); err != nil {
		t.Fatal(err)
	}
}

func postTo(conn net.Conn, br *bufio.Reader, body string) string {
	_, _ = fmt.Fprintf(conn, "POST /message?sessionId=5e55 HTTP/1.1\r\nHost: company-mcp:3000\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err.Error()
	}
	answer, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, answer)
}

// On 2024-11-05, answers appear on another exchange than the question: a refusal must, too, or its caller waits for ever (contract
// mcp-a2a 8.4).
func TestRefusalsOnTheEventStream(t *testing.T) {
	for name, annotations := range map[string]string{"declared": "waymark.dev/protocol: mcp\n", "found out": "waymark.dev/mode: auto\n"} {
		t.Run(name, func(t *testing.T) { refusalsOnTheEventStream(t, annotations) })
	}
}

const readersOfSSE = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: readers, namespace: bank}
spec:
  rules:
    - to:
        - operation: {tools: ["read_*"]}
        - operation: {protocols: [http], paths: [/sse]}
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: no-roots, namespace: bank}
spec:
  action: DENY
  rules:
    - to:
        - operation: {methods: [roots/list]}
`

func refusalsOnTheEventStream(t *testing.T, annotations string) {
	server := &sseServer{opened: make(chan struct{})}
	w := newWorld(t, archive("annotations", annotations, "policy.yaml", readersOfSSE), upstream(t, server.serve))
	stream := w.dial(t)
	_, _ = io.WriteString(stream, "GET /sse HTTP/1.1\r\nHost: company-mcp:3000\r\nAccept: text/event-stream\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(stream), nil)
	if err != nil {
		t.Fatal(err)
	}
	events := sse.NewReader(resp.Body, 1<<20)
	next := func(want string) {
		t.Helper()
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.Data); got != want {
			t.Fatalf("got event %q, want %q", got, want)
		}
	}
	next("/message?sessionId=5e55")

	conn := w.dial(t)
	br := bufio.NewReader(conn)
	if got, want := postTo(conn, br, `{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"export_all"}}`), "202 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	next(`{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"Unknown tool: export_all"}}`)

	allowed := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account"}}`
	if got, want := postTo(conn, br, allowed), "202 Accepted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	server.say(t, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"read_account\"},{\"name\":\"export_all\"}]}}\n\n")
	next(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_account"}]}}`)

	if got, want := postTo(conn, br, `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{}}`), "202 "; got != want {
		t.Errorf("a call of nothing: got %q, want %q", got, want)
	}
	next(`{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"Invalid params"}}`)

	other := w.dialFrom(t, w.as("spiffe://cluster.local/ns/bank/sa/intern"))
	got := postTo(other, bufio.NewReader(other), `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read_account"}}`)
	if !strings.HasPrefix(got, "404 {") {
		t.Errorf("a stranger at the endpoint: got %q, want 404 and an error", got)
	}
	if got := server.seen(); got != allowed {
		t.Errorf("the server saw %q, want %q", got, allowed)
	}

	// What the server asks and may not is answered where it reads answers.
	server.say(t, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"roots/list\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
	next(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
	if got, want := server.seen(), allowed+"\n"+`{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Method not found"}}`; got != want {
		t.Errorf("the server saw %q, want %q", got, want)
	}
}
