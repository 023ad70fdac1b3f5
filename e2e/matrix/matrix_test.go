package matrix_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"waymark.dev/waypoint/internal/mcpmatrix"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// callers is how many callers work through a matrix side by side, each over a connection that it keeps.
const callers = 4

// Every message of the matrix, through a tunnel and a waypoint. The verdict is that of the rules, what passes arrives byte for
// byte, and of what is refused nothing arrives.
func TestMatrix(t *testing.T) {
	for _, transport := range []mcpmatrix.Transport{mcpmatrix.Legacy, mcpmatrix.Modern, mcpmatrix.Original} {
		t.Run(string(transport), func(t *testing.T) {
			m := &matrix{world: start(t, nil), transport: transport, requests: mcpmatrix.Requests(transport)}
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() { m.work(t, fmt.Sprintf("session=%d", i)) })
			}
			wg.Wait()
			t.Logf("%d forwarded, %d refused; %d over a kept connection", m.forwarded.Load(), m.refused.Load(), m.kept.Load())
			if all := m.forwarded.Load() + m.refused.Load(); m.forwarded.Load() < 200 || m.refused.Load() < 2000 || m.kept.Load() < all*9/10 {
				t.Errorf("%d requests, %d over a kept connection: this is not the matrix any more", all, m.kept.Load())
			}
		})
	}
}

// matrix is one transport's.
type matrix struct {
	*world
	transport mcpmatrix.Transport
	requests  []mcpmatrix.Request

	taken                    atomic.Int64 // how many requests were taken by a caller
	forwarded, refused, kept atomic.Int64
}

// caller is one of those who work through it.
type caller struct {
	*http.Client
	path  string        // where it posts
	heard <-chan string // the events of its 2024-11-05 session
}

func (m *matrix) work(t *testing.T, session string) {
	c := &caller{Client: m.client(t, "teller"), path: "/mcp"}
	c.Transport = counting{c.Transport, &m.kept}
	if m.transport == mcpmatrix.Original {
		c.path, c.heard = messages+"?"+session, events(t, c.Client, stream+"?"+session)
		if got, want := next(t, c.heard), "event: endpoint\ndata: "+c.path; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for i := m.taken.Add(1) - 1; i < int64(len(m.requests)); i = m.taken.Add(1) - 1 {
		m.try(t, c, fmt.Sprint(i), m.requests[i])
	}
}

func (m *matrix) try(t *testing.T, c *caller, number string, r mcpmatrix.Request) {
	r.Header.Set(numbered, number)
	got := send(t, c.Client, http.MethodPost, c.path, r.Header, r.Body)
	arrival, arrived := m.arrived(number)
	switch {
	case arrived != r.Want.Forward:
		t.Errorf("%s: arrived %t, want %t; answered %d %.200q", r.Name, arrived, r.Want.Forward, got.status, got.body)
	case !arrived:
		m.refused.Add(1)
		checkRefusal(t, c, r, got)
	default:
		m.forwarded.Add(1)
		if !bytes.Equal(arrival.body, r.Body) {
			t.Errorf("%s: arrived as %.300q, want %.300q", r.Name, arrival.body, r.Body)
		}
		if got.status != http.StatusOK && got.status != http.StatusAccepted {
			t.Errorf("%s: answered %d %.200q", r.Name, got.status, got.body)
		}
	}
}

// checkRefusal compares a refusal with what the rules want. Where a client waits for an answer, 2024-11-05 has it on the stream:
// in the answer to a POST nobody reads it, and the call hangs (contract mcp-a2a 8.4).
func checkRefusal(t *testing.T, c *caller, r mcpmatrix.Request, got answer) {
	t.Helper()
	status, body := r.Want.Status, got.body
	if c.heard != nil && status == http.StatusOK {
		if status = http.StatusAccepted; got.status == status {
			body = strings.TrimPrefix(next(t, c.heard), "data: ")
		}
	}
	if code := codeIn(body); got.status != status || code != r.Want.Code {
		t.Errorf("%s: refused with %d and %d, want %d and %d: %.200q", r.Name, got.status, code, status, r.Want.Code, body)
	}
}

// codeIn is the code of the JSON-RPC error in a text, 0 if there is none.
func codeIn(text string) (code int) {
	m, err := jsonrpc.Parse([]byte(text), jsonrpc.ResponseLimits())
	if err != nil || m.Error == nil {
		return 0
	}
	o, _ := jsonrpc.Members(m.Error)
	fmt.Sscan(string(o.Get("code")), &code)
	return code
}

// counting counts the requests that were sent over a connection that an earlier one had used.
type counting struct {
	http.RoundTripper
	kept *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused {
			c.kept.Add(1)
		}
	}}
	return c.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
}

// CloseIdleConnections lets a client close what it kept.
func (c counting) CloseIdleConnections() { c.RoundTripper.(*http.Transport).CloseIdleConnections() }
