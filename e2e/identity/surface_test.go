package identity_test

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"waymark.dev/waypoint/internal/testmesh"
)

// modesWorld runs examples/operators with another mode, and a rule that anybody may call ping.
func modesWorld(t *testing.T, change ...string) (*world, *issuer, *http.Client) {
	t.Helper()
	w := newWorld(t)
	idp, agw := newIssuer(t, "https://idp.example.com"), newIssuer(t, "https://agw-sts.example.com")
	keys := http.NewServeMux()
	keys.Handle("/realms/company/keys", idp)
	keys.Handle("/sts/keys", agw)
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, &backend{})
	}
	w.place("identity", "keys", keys)
	w.startWith("operators", anybodyPings, append([]string{"policies.yaml", "  mode: Strict\n"}, change...)...)
	return w, idp, w.client("agent", "10.96.1.1:3000")
}

const anybodyPings = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: anybody, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  rules:
    - when:
        - cel: mcp.tool.name == "ping"
`

// Whoever has no token is a caller without claims where the mode lets it pass: rules that ask for claims do not hold then.
func TestModes(t *testing.T) {
	tests := []struct {
		mode                      string
		none, bad, noneMe, badMe  string
		twice, goodMe, forgedPing string
	}{
		{"Strict", "unauthenticated", "token_invalid", "unauthenticated", "token_invalid", "ambiguous", "", "token_invalid"},
		{"Optional", "", "token_invalid", "entitlement_denied", "token_invalid", "ambiguous", "", "token_invalid"},
		{"Permissive", "", "", "entitlement_denied", "entitlement_denied", "ambiguous", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			w, idp, c := modesWorld(t, "  mode: "+tt.mode+"\n")
			good := idp.token(t, nil)
			forged := newIssuer(t, "https://idp.example.com").token(t, nil)
			for _, call := range []struct {
				name, tool, token, code string
				more                    []string
			}{
				{"no token", "ping", "", tt.none, nil},
				{"no token, and a claim is asked for", "get_me", "", tt.noneMe, nil},
				{"junk", "ping", "junk", tt.bad, nil},
				{"forged", "ping", forged, tt.forgedPing, nil},
				{"forged, and a claim is asked for", "get_me", forged, tt.badMe, nil},
				{"good", "get_me", good, tt.goodMe, nil},
				{"two tokens", "ping", good, tt.twice, []string{"Authorization", "Bearer " + forged}},
				{"a second spelling", "ping", good, tt.twice, []string{"aUTHORIZATION", "Bearer " + good}},
			} {
				if got := w.call(c, "github-mcp:3000", call.tool, call.token, call.more...); got.code != call.code {
					t.Errorf("%s: got %q (%s), want %q", call.name, got.code, got.reason, call.code)
				}
			}
		})
	}
}

// A client of the official SDK finds out from a refusal where to get a token: RFC 9728.
func TestResourceMetadata(t *testing.T) {
	w, idp, c := modesWorld(t, "  mode: Strict\n"+metadata)
	refused := w.call(c, "localhost:3000", "get_me", "")
	if refused.status != http.StatusUnauthorized || refused.code != "unauthenticated" {
		t.Fatalf("got %+v", refused)
	}
	challenges, err := oauthex.ParseWWWAuthenticate(refused.header.Values("WWW-Authenticate"))
	if err != nil || len(challenges) != 1 || challenges[0].Scheme != "bearer" {
		t.Fatalf("challenges %v, %v", challenges, err)
	}
	params := challenges[0].Params
	if params["error"] != "" || params["scope"] != "github-readonly bank-agents" {
		t.Errorf("got %v", params)
	}
	const at = "http://localhost:3000/.well-known/oauth-protected-resource/mcp"
	if params["resource_metadata"] != at {
		t.Fatalf("metadata at %q, want %q", params["resource_metadata"], at)
	}
	m, err := oauthex.GetProtectedResourceMetadata(t.Context(), at, "http://localhost:3000/mcp", c)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.AuthorizationServers) != 1 || m.AuthorizationServers[0] != "https://idp.example.com" || m.ResourceName != "GitHub" || strings.Join(m.ScopesSupported, " ") != "github-readonly bank-agents" {
		t.Errorf("metadata %+v", m)
	}
	bad := w.call(c, "localhost:3000", "get_me", "junk")
	if got := bad.header.Get("WWW-Authenticate"); bad.status != http.StatusUnauthorized || !strings.HasPrefix(got, `Bearer error="invalid_token", resource_metadata="`) {
		t.Errorf("a bad token: %d %q", bad.status, got)
	}
	if got := w.call(c, "localhost:3000", "get_me", idp.token(t, nil)); got.code != "" {
		t.Errorf("with the token: %+v", got)
	}
}

// Metadata is the only thing that is open: what only looks like it needs a token.
func TestOnlyMetadataIsOpen(t *testing.T) {
	w, _, c := modesWorld(t, "  mode: Strict\n"+metadata)
	for path, want := range map[string]int{
		"/.well-known/oauth-protected-resource":     http.StatusOK,
		"/.well-known/oauth-protected-resource/mcp": http.StatusOK,
		"/.well-known/oauth-protected-resourceX":    http.StatusUnauthorized,
		"/.well-known/OAuth-Protected-Resource":     http.StatusUnauthorized,
		"/x/.well-known/oauth-protected-resource":   http.StatusUnauthorized,
		"/mcp": http.StatusUnauthorized,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:3000"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream, application/json")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %d %s, want %d", path, resp.StatusCode, b, want)
		}
	}
	if w.waypoint.Audit().Len() == 0 {
		t.Error("nothing was recorded")
	}
}

const metadata = `  resourceMetadata:
    authorizationServers: [https://idp.example.com]
    scopes: [github-readonly, bank-agents]
    displayName: GitHub
`

// A token with too little scope is told which one the call needs, and only where the service has a place to get it from: RFC 6750
// section 3.1, and the specification of MCP under "Scope Challenge Handling".
func TestStepUp(t *testing.T) {
	for _, tt := range []struct {
		name, change string
		status       int
		code         string
		params       map[string]string
	}{
		{"a service with metadata", "  mode: Strict\n" + metadata, http.StatusForbidden, "scope_missing", map[string]string{
			"error": "insufficient_scope", "scope": "github-readonly",
			"resource_metadata": "http://localhost:3000/.well-known/oauth-protected-resource/mcp",
		}},
		{"a scope that clients may not ask for", "  mode: Strict\n" + strings.Replace(metadata, "github-readonly, ", "", 1), http.StatusOK, "entitlement_denied", nil},
		{"a service without metadata", "  mode: Strict\n", http.StatusOK, "entitlement_denied", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, idp, c := modesWorld(t, tt.change)
			less, more := idp.token(t, map[string]any{"scope": "bank-agents"}), idp.token(t, map[string]any{"scope": "bank-agents github-readonly"})
			refused := w.call(c, "localhost:3000", "list_issues", less)
			if refused.status != tt.status || refused.code != tt.code {
				t.Fatalf("got %d %q (%s), want %d %q", refused.status, refused.code, refused.reason, tt.status, tt.code)
			}
			challenges, err := oauthex.ParseWWWAuthenticate(refused.header.Values("WWW-Authenticate"))
			if err != nil || (len(challenges) == 1) != (tt.params != nil) {
				t.Fatalf("challenges %v, %v", challenges, err)
			}
			if tt.params != nil && !maps.Equal(challenges[0].Params, tt.params) {
				t.Errorf("got %v, want %v", challenges[0].Params, tt.params)
			}
			if got := w.call(c, "localhost:3000", "list_issues", more); got.code != "" {
				t.Errorf("with the scope: %+v", got)
			}
		})
	}
}

// A stream beside the calls does not outlive the token that it was opened with; an answer under way does, and so does a stream that
// nobody asked a token for.
func TestStreamsEndWithTheirToken(t *testing.T) {
	w := newWorld(t)
	idp, agw := newIssuer(t, "https://idp.example.com"), newIssuer(t, "https://agw-sts.example.com")
	keys := http.NewServeMux()
	keys.Handle("/realms/company/keys", idp)
	keys.Handle("/sts/keys", agw)
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	left := make(chan struct{}, 3)
	streams := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"begun\"}}\n\n")
		rw.(http.Flusher).Flush()
		if r.Method == http.MethodGet {
			select {
			case <-release:
			case <-r.Context().Done():
				left <- struct{}{}
			}
			return
		}
		<-release
		_, _ = io.WriteString(rw, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}}\n\n")
	})
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, streams)
	}
	w.place("identity", "keys", keys)
	w.startWith("operators", anybodyPings, "policies.yaml", "      algorithms: [RS256, ES256, EdDSA]\n", "      algorithms: [RS256, ES256, EdDSA]\n      clockSkew: 0s\n")
	c := w.client("agent", "10.96.1.1:3000")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open := func(method, body, token, session string) *bufio.Reader {
		r, err := http.NewRequestWithContext(ctx, method, "http://github-mcp:3000/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Mcp-Protocol-Version", "2025-06-18")
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		stream := bufio.NewReader(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", method, resp.Status)
		}
		for { // the first event
			line, err := stream.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "begun") {
				return stream
			}
		}
	}
	brief := idp.token(t, map[string]any{"exp": time.Now().Add(3 * time.Second).Unix()})
	ends, alone := open(http.MethodGet, "", brief, "s-1"), open(http.MethodGet, "", brief, "")
	goesOn := open(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_me","arguments":{}}}`, brief, "s-1")
	lives := open(http.MethodGet, "", idp.token(t, nil), "s-1")

	for name, stream := range map[string]io.Reader{"with a session": ends, "without a session": alone} {
		if rest, err := io.ReadAll(stream); err == nil || strings.Contains(string(rest), "data:") {
			t.Errorf("the stream %s ended as if it were whole: %q", name, rest)
		}
	}
	record, err := w.waypoint.Audit().Find(t.Context(), 0, func(r testmesh.Record) bool { return r.Code == "token_invalid" })
	if err != nil || !strings.Contains(record.Reason, "expired") {
		t.Errorf("the record: %+v, %v", record, err)
	}
	for range 2 {
		select {
		case <-left:
		case <-ctx.Done():
			t.Fatal("the server still sends a stream whose token ended")
		}
	}
	end() // what goes on is whole
	if rest, err := io.ReadAll(goesOn); err != nil || !strings.Contains(string(rest), `"done"`) {
		t.Errorf("the answer: %q, %v", rest, err)
	}
	if rest, err := io.ReadAll(lives); err != nil {
		t.Errorf("the other stream: %q, %v", rest, err)
	}
}
