package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/proxy"
	"waymark.dev/waypoint/pkg/session"
)

// answering is an upstream that gives every request the same answer.
func answering(t *testing.T, answer string) string {
	return upstream(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, answer)
		}
	})
}

func body(media, text string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", media, len(text), text)
}

func within(l session.Limits) func(*proxy.Config) {
	return func(c *proxy.Config) { c.Held = l }
}

func message(text string) string {
	return fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

func said(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(r.StatusCode, " ", strings.TrimSpace(string(b)))
}

// A server that always has one page more keeps nobody busy for ever.
func TestListingIsBounded(t *testing.T) {
	page := `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":"more"}}`
	w := newWorld(t, archive(), answering(t, body("application/json", page)), within(session.Limits{Pages: 2}))
	conn := w.dial(t)
	br := bufio.NewReader(conn)
	const more = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"more"}}`
	for i, step := range []struct{ ask, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "200 " + page},
		{more, "200 " + page},
		{more, `200 {"jsonrpc":"2.0","id":1,"error":{"code":-31429,"message":"Too many requests","data":{"reason":"rate_limited"}}}`},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "200 " + page},
	} {
		if got := said(t, ask(t, conn, br, message(step.ask))); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
	w.close()
	wantRecord(t, w, "pass - mcp tools/list - 200\npass - mcp tools/list - 200\ndeny rate_limited mcp tools/list - 200\npass - mcp tools/list - 200\n")
}

// A caller who opens too many streams loses the one that was quiet for longest, and the record says why.
func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t, archive(), answering(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: here\n\n"), within(session.Limits{StreamsPerPrincipal: 1}))
	open := func() *http.Response {
		conn := w.dial(t)
		return ask(t, conn, bufio.NewReader(conn), "GET /mcp HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
	}
	first := open()
	if _, err := io.ReadFull(first.Body, make([]byte, len(":\n\n"))); err != nil {
		t.Fatal(err)
	}
	second := open()
	if _, err := io.ReadAll(first.Body); err == nil {
		t.Error("the first stream ended as if it were whole")
	}
	if _, err := io.ReadFull(second.Body, make([]byte, len(":\n\n"))); err != nil {
		t.Errorf("the second stream: %v", err)
	}
	w.close()
	if got := w.records(t); !strings.Contains(got, "deny rate_limited mcp GET - 200\n") {
		t.Errorf("audit: got %q, want a cut stream", got)
	}
}

// Calls that are answered as streams are no streams that somebody listens on: an agent may make as many as it likes at once.
func TestAnswersAreNoListeningStreams(t *testing.T) {
	w := newWorld(t, archive(), answering(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: here\n\n"), within(session.Limits{StreamsPerPrincipal: 1}))
	for range 3 {
		conn := w.dial(t)
		r := ask(t, conn, bufio.NewReader(conn), message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account"}}`))
		if _, err := io.ReadFull(r.Body, make([]byte, len(":\n\n"))); err != nil {
			t.Fatal(err)
		}
	}
	w.close()
	wantRecord(t, w, strings.Repeat("pass - mcp tools/call read_account 200\n", 3))
}

func TestBytesInMemoryAreBounded(t *testing.T) {
	large := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 8<<10) + `"}]}}`
	w := newWorld(t, archive(), answering(t, body("application/json", large)), within(session.Limits{BytesPerPrincipal: 4 << 10}))
	conn := w.dial(t)
	br := bufio.NewReader(conn)
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account"}}`
	const faulty = `200 {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`
	if got := said(t, ask(t, conn, br, message(call))); got != faulty {
		t.Errorf("an answer over it: got %s", got)
	}
	tooMuch := strings.Replace(call, "read_account", strings.Repeat("x", 8<<10), 1)
	if got := said(t, ask(t, conn, br, message(tooMuch))); got != "429 rate_limited" {
		t.Errorf("a request over it: got %s", got)
	}
}

// An answer that begins and does not end is given up.
func TestDrippingAnswer(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"in one piece", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"",
			`200 {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`},
		{"event", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 7\ndata: \n\ndata: {\"jsonrpc\"",
			"200 id: 7\ndata: \n\ndata: " + `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, archive(), answering(t, tt.answer), func(c *proxy.Config) { c.Event = 50 * time.Millisecond })
			conn := w.dial(t)
			got := said(t, ask(t, conn, bufio.NewReader(conn), message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account"}}`)))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A resumable stream that breaks off does so for the caller, too: an error of ours in the place of the answer would end the call,
// and the answer is still to come (contract mcp-a2a 3.2).
func TestResumableStreamBreaksOff(t *testing.T) {
	w := newWorld(t, archive(), upstream(t, func(c *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\ne\r\nid: 7\ndata: \n\n\r\n")
		}
	}))
	conn := w.dial(t)
	r := ask(t, conn, bufio.NewReader(conn), message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_account"}}`))
	b, err := io.ReadAll(r.Body)
	if err == nil || string(b) != "id: 7\ndata: \n\n" {
		t.Errorf("got %q, %v, want the first event and a broken stream", b, err)
	}
}

// docs/limits.md promises the limits that are in force.
func TestDocumentedLimits(t *testing.T) {
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	l := session.DefaultLimits()
	for _, row := range []string{
		fmt.Sprintf("| sessions on record | | %s | %s |", thousands(l.SessionsPerPrincipal), thousands(l.Sessions)),
		fmt.Sprintf("| idle time of a session's record | %.0fh |", l.Idle.Hours()),
		fmt.Sprintf("| event streams that a caller listens on (`GET`, `subscriptions/listen`) | %d | %s | %s |", l.StreamsPerSession, thousands(l.StreamsPerPrincipal), thousands(l.Streams)),
		fmt.Sprintf("| pages of one listing | %s | %s |", thousands(l.Pages), thousands(l.Pages)),
		fmt.Sprintf("| %d MiB | %d MiB | %d GiB |", l.BytesPerSession>>20, l.BytesPerPrincipal>>20, l.Bytes>>30),
		fmt.Sprintf("from its first byte to its last | %.0fs |", proxy.DefaultEvent.Seconds()),
	} {
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/limits.md has no %q", row)
		}
	}
}

var threeDigits = regexp.MustCompile(`(\d)(\d{3})$`)

func thousands(n int) string { return threeDigits.ReplaceAllString(fmt.Sprint(n), "$1,$2") }
