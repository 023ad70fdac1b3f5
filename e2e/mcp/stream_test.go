package mcp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

// Progress arrives in order, and while the call is still running: the server waits until each step has been seen.
func TestProgressInAStream(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		seen := make(chan struct{})
		server := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
		addTool(server, "count", func(ctx context.Context, r *mcp.CallToolRequest) (any, error) {
			for i := range 3 {
				step := &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1)}
				if err := r.Session.NotifyProgress(ctx, step); err != nil {
					return nil, err
				}
				select {
				case <-seen:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return map[string]any{"counted": 3}, nil
		})
		f := start(t, options{handler: sdkHandler(server, version == modern), policy: everything})
		var mu sync.Mutex
		var got []float64
		s := f.session(t, "teller", version, &mcp.ClientOptions{
			ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
				mu.Lock()
				got = append(got, r.Params.Progress)
				mu.Unlock()
				seen <- struct{}{}
			},
		})
		params := &mcp.CallToolParams{Name: "count"}
		params.SetProgressToken(17)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		res, err := s.CallTool(ctx, params)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := toJSON(t, res.StructuredContent), `{"counted":3}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []float64{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("got progress %v, want %v", got, want)
		}
	})
}

// addTool adds a tool without arguments.
func addTool(s *mcp.Server, name string, run func(context.Context, *mcp.CallToolRequest) (any, error)) {
	mcp.AddTool(s, &mcp.Tool{Name: name},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			out, err := run(ctx, r)
			return nil, out, err
		})
}

func sdkHandler(s *mcp.Server, stateless bool) http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{
		Stateless: stateless, DisableLocalhostProtection: true, PropagateRequestCancellation: true,
	})
}

// Leaving a call ends it at the server: in the modern form the caller's closing of the stream is the cancellation.
func TestLeavingCancelsAtTheServer(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		entered, cancelled := make(chan struct{}), make(chan struct{})
		server := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
		addTool(server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest) (any, error) {
			close(entered)
			<-ctx.Done()
			close(cancelled)
			return nil, ctx.Err()
		})
		f := start(t, options{handler: sdkHandler(server, version == modern), policy: everything})
		s := f.session(t, "teller", version, nil)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		go func() {
			<-entered
			cancel()
		}()
		if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "wait"}); err == nil {
			t.Error("the abandoned call returned a result")
		}
		eventually(t, "the server's handler was cancelled", func() bool {
			select {
			case <-cancelled:
				return true
			default:
				return false
			}
		})
		ctx, cancel = context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := s.ListTools(ctx, nil); err != nil {
			t.Errorf("the session does not go on: %v", err)
		}
	})
}

// The same over a bare connection of which the caller closes its half: in HTTP that is leaving, so the call is cancelled
// and no half of an answer comes (docs/decisions/0004).
func TestHalfCloseIsLeaving(t *testing.T) {
	entered, cancelled := make(chan struct{}), make(chan struct{})
	server := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
	addTool(server, "wait", func(ctx context.Context, _ *mcp.CallToolRequest) (any, error) {
		close(entered)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	})
	f := start(t, options{handler: sdkHandler(server, true), policy: everything})
	conn, err := net.Dial("tcp", f.outbound(t, "teller").Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	const body = `{"jsonrpc":"2.0","id":"half","method":"tools/call","params":{"name":"wait","arguments":{},"_meta":{` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: company-mcp:3000\r\nContent-Type: application/json\r\n"+
		"Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"+
		"Mcp-Name: wait\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-entered
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-cancelled
	if answer, _ := io.ReadAll(conn); strings.Contains(string(answer), `"result"`) {
		t.Errorf("got %s, want no result", answer)
	}
}

// Many calls at once, of two callers on the sessions of each: nobody sees another's answer.
func TestConcurrentCalls(t *testing.T) {
	const workers, calls = 8, 10
	forms(t, func(t *testing.T, version string) {
		f := start(t, options{})
		teller, intern := f.session(t, "teller", version, nil), f.session(t, "intern", version, nil)
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				for range calls {
					id := fmt.Sprintf("A-none-%d", i)
					want := fmt.Sprintf("tool error: there is no account %q", id)
					if got := call(t, teller, company.ReadAccount, account(id)); got != want {
						t.Errorf("teller: got %s, want %s", got, want)
					}
					if got := call(t, intern, company.ReadAccount, account("A-100")); got != adas {
						t.Errorf("intern: got %s, want %s", got, adas)
					}
				}
			})
			wg.Go(func() {
				for range calls {
					if got, want := call(t, intern, company.ExportAll, nil), "-32602 "; !strings.HasPrefix(got, want) {
						t.Errorf("intern: got %s, want %s…", got, want)
					}
				}
			})
		}
		wg.Wait()
		if got, want := f.bank.Runs(company.ReadAccount), 2*workers*calls; got != want {
			t.Errorf("read_account ran %d times, want %d", got, want)
		}
		if got := f.bank.Runs(company.ExportAll); got != 0 {
			t.Errorf("the denied export ran %d times", got)
		}
	})
}
