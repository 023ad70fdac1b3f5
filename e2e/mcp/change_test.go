package mcp_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

// A policy is edited while a session is open, both ways, and the session only notices what it was told; a faulty edit
// changes nothing.
func TestPolicyChangesMidSession(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		f := start(t, options{})
		s := f.session(t, "intern", version, nil)
		allowed := func() bool { return !strings.HasPrefix(call(t, s, company.ExportAll, nil), "-32602 ") }
		if allowed() {
			t.Fatal("the export is allowed before the change")
		}
		f.writePolicy(t, everything)
		eventually(t, "the export is allowed", allowed)
		all := []string{company.ExportAll, company.ListCustomers, company.ReadAccount, company.UpdateLimit}
		if got, want := tools(t, s), all; !slices.Equal(got, want) {
			t.Errorf("got tools %q, want %q", got, want)
		}
		f.writePolicy(t, tellers)
		eventually(t, "the export is denied again", func() bool { return !allowed() })
		alive(t, s)
	})
}

// A call that is under way when its permission is withdrawn is ended; the session is not.
func TestPolicyChangesMidCall(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		entered, release := make(chan struct{}, 1), make(chan struct{})
		server := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
		addTool(server, company.ExportAll, func(ctx context.Context, _ *mcp.CallToolRequest) (any, error) {
			entered <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return map[string]any{"secret": true}, nil
		})
		f := start(t, options{handler: sdkHandler(server, version == modern), policy: everything})
		s := f.session(t, "intern", version, nil)
		result := make(chan string, 1)
		go func() { result <- call(t, s, company.ExportAll, nil) }()
		<-entered
		f.writePolicy(t, tellers)
		got := <-result
		close(release)
		if strings.Contains(got, "secret") {
			t.Errorf("got %s, want the call ended", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := s.ListTools(ctx, nil); err != nil {
			t.Errorf("the session does not go on: %v", err)
		}
	})
}

// While the server is away its callers get an error each, and the next call after it is back works.
func TestUpstreamDown(t *testing.T) {
	for name, plain := range map[string]bool{"in the mesh": false, "outside the mesh": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t, options{plain: plain, company: company.Options{Era: company.Modern}})
			s := f.session(t, "teller", modern, nil)
			alive(t, s)
			addr := f.web.Listener.Addr().String()
			f.web.CloseClientConnections()
			f.web.Close()
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: company.ReadAccount, Arguments: account("A-100")})
				cancel()
				if err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusServiceUnavailable)) {
					t.Errorf("got %v, want %q", err, http.StatusText(http.StatusServiceUnavailable))
				}
			}
			f.reopen(t, addr)
			alive(t, s)
		})
	}
}

// reopen serves the bank again where it was.
func (f *fixture) reopen(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(f.bank.Handler(company.Options{Era: company.Modern}))
	web.Listener.Close()
	web.Listener = l
	web.Start()
	t.Cleanup(web.Close)
}
