package mcp_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"waymark.dev/waypoint/cmd/demo/company"
)

// witness keeps every body that reaches the server.
type witness struct {
	next http.Handler

	mu     sync.Mutex
	bodies []string
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.bodies = append(w.bodies, string(body))
	w.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.next.ServeHTTP(rw, r)
}

func (w *witness) saw(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bodies {
		if strings.Contains(b, text) {
			return true
		}
	}
	return false
}

// A notification that is not allowed is answered 202, as any notification is, and dropped: every other answer would end
// the session of a real client.
func TestDeniedNotificationIsDropped(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		server := &witness{next: company.New().Handler(company.Options{})}
		f := start(t, options{handler: server})
		s := f.session(t, "teller", version, nil)
		header := map[string]string{"Mcp-Protocol-Version": version, "Mcp-Session-Id": s.ID()}
		if version == modern {
			delete(header, "Mcp-Session-Id")
		}
		client := f.caller(t, "teller")
		status, body := post(t, client, `{"jsonrpc":"2.0","method":"notifications/made_up","params":{"mark":"denied-one"}}`, header)
		if status != http.StatusAccepted || body != "" {
			t.Errorf("got %d %q, want 202 and no body", status, body)
		}
		alive(t, s)
		if server.saw("denied-one") {
			t.Error("the denied notification reached the server")
		}
		if version == modern {
			return // the modern form has no notification of a client's that passes over HTTP
		}
		const passing = `{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"_meta":{"mark":"passed-one"}}}`
		status, _ = post(t, client, passing, header)
		if status != http.StatusAccepted || !server.saw("passed-one") {
			t.Errorf("an allowed notification: got %d, want 202 and that it reaches the server", status)
		}
	})
}
