package delivery_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the checker would find, if there were something to find: servers and proxies that err on purpose, without a waypoint.
func TestCheckerNotices(t *testing.T) {
	for _, tc := range []struct {
		name    string
		mistake mistake
		front   func(http.Handler) http.Handler
		denies  bool
		want    fault
	}{
		{name: "nothing"},
		{name: string(crossesAnswers), mistake: crossesAnswers, want: stranger},
		{name: string(crossesEvents), mistake: crossesEvents, want: stranger},
		{name: string(crossesSteps), mistake: crossesSteps, want: stranger},
		{name: string(crossesRequests), mistake: crossesRequests, want: stranger},
		{name: string(repeatsAnswers), mistake: repeatsAnswers, want: duplicate},
		{name: string(repeatsEvents), mistake: repeatsEvents, want: duplicate},
		{name: string(swallowsAnswers), mistake: swallowsAnswers, want: lost},
		{name: string(swallowsEvents), mistake: swallowsEvents, want: lost},
		{name: "a call goes to the session of another", front: crossingSessions, want: trespass},
		{name: "a call is sent twice", front: repeatingCalls, want: duplicate},
		{name: "a refused call reaches the server", denies: true, want: leaked},
		{name: "a refusal goes to another caller", front: crossingRefusals, denies: true, want: stranger},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 1, tc.front)
			w.server.mistake, w.server.denies = tc.mistake, tc.denies
			if tc.want != "" { // most of what is waited for will not come
				w.patience = 300 * time.Millisecond
			}
			w.crowd(t, 1, 8, 1600)
			switch got := w.book.kinds(); {
			case tc.want == "":
				w.settled(t)
				w.book.clean(t)
			case !slices.Contains(got, tc.want):
				t.Errorf("the checker found %q, want %q among them", got, tc.want)
			}
		})
	}
}

// swap keeps one text at a time and gives back the one before.
type swap struct {
	mu   sync.Mutex
	last string
	n    int
}

// seldom returns the text before, for some of those that differ from it.
func (s *swap) seldom(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.last
	s.last = text
	if s.n++; s.n%seldom != 0 || before == "" {
		return text
	}
	return before
}

// calls stands in front of h and shows each call to see, which reports whether it has answered.
func calls(h http.Handler, see func(w http.ResponseWriter, r *http.Request, body []byte) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"method":"tools/call"`)) || !see(w, r, body) {
			h.ServeHTTP(w, r)
		}
	})
}

func crossingSessions(h http.Handler) http.Handler {
	var sessions swap
	return calls(h, func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			r.Header.Set("Mcp-Session-Id", sessions.seldom(id))
		}
		return false
	})
}

func repeatingCalls(h http.Handler) http.Handler {
	return calls(h, func(_ http.ResponseWriter, r *http.Request, body []byte) bool {
		if bytes.Contains(body, []byte(`"name":"`+denied)) { // those are the plain ones
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(httptest.NewRecorder(), again)
		}
		return false
	})
}

func crossingRefusals(h http.Handler) http.Handler {
	var names swap
	return calls(h, func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		m, err := parse(body)
		if err != nil || r.URL.Path != "/mcp" || !strings.HasPrefix(m.Params.Name, denied+"odd") {
			return false
		}
		sendJSON(w, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"Unknown tool: %s"}}`, m.ID, names.seldom(m.Params.Name)))
		return true
	})
}
