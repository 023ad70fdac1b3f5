package conformance_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A server that ends a stream early tells its client when to come back. The suite does not look at that (closing, in
// ours_test.go), so that it is read here byte by byte.
func TestPollingStreams(t *testing.T) {
	server := goServer(t, sessions)
	direct := poll(t, server)
	if want := []string{"event: close", "retry: 10", "data: "}; !slices.Equal(direct, want) {
		t.Fatalf("got %q without the waypoint, want %q", direct, want)
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			// Without its name, an event with data, even empty, would be a message.
			if got, want := poll(t, through(t, w, server)), []string{"retry: 10"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// poll calls the tool that ends its stream early, and returns the lines of the stream.
func poll(t *testing.T, addr string) []string {
	t.Helper()
	const version = "2025-11-25"
	_, header := post(t, addr, "", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":%q,`+
		`"capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`, version))
	session := header.Get("Mcp-Session-Id")
	post(t, addr, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	body, _ := post(t, addr, session, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"test_reconnection","arguments":{}}}`)
	var lines []string
	for line := range strings.Lines(body) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func post(t *testing.T, addr, session, body string) (string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
		req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	}
	web := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: web}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer), res.Header
}
