package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// echoServer answers every request on a kept-alive connection with one MCP result.
func echoServer(tb testing.TB) string {
	tb.Helper()
	const body = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"the balance of account a1 is 100"}]}}`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	tb.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

// tenRules allow one tool after nine that do not match.
func tenRules() string {
	var b strings.Builder
	b.WriteString("apiVersion: waymark.dev/v1alpha1\nkind: AgentAuthorizationPolicy\nmetadata: {name: ten, namespace: bank}\nspec:\n  rules:\n")
	for i := range 10 {
		tool := fmt.Sprintf("other_%d", i)
		if i == 9 {
			tool = "read_*"
		}
		fmt.Fprintf(&b, "    - to: [{operation: {tools: [%q], arguments: [{pointer: /id, values: [\"a*\"]}]}}]\n", tool)
	}
	return b.String()
}

func benchmarkExchange(b *testing.B, annotations, policy, request string) {
	a := &txtar.Archive{Files: []txtar.File{{Name: "annotations", Data: []byte(annotations)}}}
	if policy != "" {
		a.Files = append(a.Files, txtar.File{Name: "policy.yaml", Data: []byte(policy)})
	}
	w := newWorld(b, a, echoServer(b))
	conn := w.dial(b)
	_ = conn.SetDeadline(time.Time{})
	br := bufio.NewReader(conn)
	raw := wireForm([]byte(request))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(raw); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

const benchCall = `POST /mcp HTTP/1.1
Host: company-mcp:3000
Content-Type: application/json
Accept: application/json, text/event-stream
Mcp-Session-Id: 0123456789abcdef
Content-Length: *

{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account","arguments":{"id":"a1","note":"a call of about three hundred bytes, as the targets have it, padded with words that nobody reads twice"}}}
`

// The proxy with the client's and the server's halves of both legs, and net/http's.
func BenchmarkPassThrough(b *testing.B) {
	benchmarkExchange(b, "waymark.dev/mode: auto\n", "", strings.NewReplacer("application/json\n", "application/octet-stream\n", "Mcp-Session-Id", "X-Session-Id").Replace(benchCall))
}

func BenchmarkMCPCallTenRules(b *testing.B) {
	benchmarkExchange(b, "waymark.dev/protocol: mcp\n", tenRules(), benchCall)
}
