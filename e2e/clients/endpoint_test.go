package clients_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// The endpoint that a 2024-11-05 server names is its session: whoever else knows it may not speak there, however it is spelled.
func TestEndpointIsItsCallers(t *testing.T) {
	f := start(t)
	web := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(web.CloseIdleConnections)
	own := f.url(t, clerk, "masked", sse)
	uri := endpointOf(t, web, own)
	owner, strangers := strings.TrimSuffix(own, sse.path()), strings.TrimSuffix(f.url(t, mute, "masked", sse), sse.path())
	reaches := func(t *testing.T, base string, change func(*http.Request)) bool {
		before := len(f.server.messages())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+uri,
			strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Host = strings.TrimPrefix(owner, "http://")
		change(r)
		res, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return len(f.server.messages()) > before
	}
	for name, change := range map[string]func(*http.Request){
		"as it is":        func(*http.Request) {},
		"a session id":    func(r *http.Request) { r.Header.Set("Mcp-Session-Id", "x") },
		"another host":    func(r *http.Request) { r.Host = "localhost" },
		"one more member": func(r *http.Request) { r.URL.RawQuery += "&x=1" },
		"an empty member": func(r *http.Request) { r.URL.RawQuery = "&" + r.URL.RawQuery },
		"an escape":       func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "s", "%73", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			if reaches(t, strangers, change) {
				t.Error("a stranger's message reached the server")
			}
		})
	}
	if !reaches(t, owner, func(*http.Request) {}) {
		t.Error("the owner's message did not reach the server")
	}
}

// endpointOf opens a caller's event stream, until the test ends, and returns the endpoint.
func endpointOf(t *testing.T, web *http.Client, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if uri, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			return uri
		}
	}
	t.Fatal("the server names no endpoint")
	return ""
}
