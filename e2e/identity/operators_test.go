package identity_test

import (
	"net/http"
	"testing"
)

// The rules that operators of agent gateways write, as they are in examples/operators: who may call what with which token.
func TestOperators(t *testing.T) {
	w := newWorld(t)
	idp, agw := newIssuer(t, "https://idp.example.com"), newIssuer(t, "https://agw-sts.example.com")
	stranger := newIssuer(t, "https://idp.example.com")
	keys := http.NewServeMux()
	keys.Handle("/realms/company/keys", idp)
	keys.Handle("/sts/keys", agw)
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, &backend{})
	}
	w.place("identity", "keys", keys)
	w.start("operators")
	hosts := map[string]string{"github-mcp": "10.96.1.1:3000", "advisors-mcp": "10.96.1.2:3000", "company-mcp": "10.96.1.3:3000"}

	readonly := map[string]any{"sub": "bob", "scope": "openid github-readonly"}
	advisor := map[string]any{"groups": []string{"staff", "investment-advisors"}, "scope": "bank-agents"}
	chain := map[string]any{"act": map[string]any{"sub": "agent-coach", "act": map[string]any{"sub": "agent-butler"}}}
	tests := []struct {
		name, host, tool, token, code string
	}{
		{"a reader reads", "github-mcp", "get_issue", idp.token(t, readonly), ""},
		{"the last tool of the list", "github-mcp", "list_pull_request_files", idp.token(t, readonly), ""},
		{"a reader does not write", "github-mcp", "create_issue", idp.token(t, readonly), "entitlement_denied"},
		{"a scope that only begins alike", "github-mcp", "get_issue", idp.token(t, map[string]any{"sub": "bob", "scope": "github-readonly-not openid"}), "entitlement_denied"},
		{"no scope", "github-mcp", "get_issue", idp.token(t, map[string]any{"sub": "bob"}), "entitlement_denied"},
		{"alice asks who she is", "github-mcp", "get_me", idp.token(t, nil), ""},
		{"bob does not", "github-mcp", "get_me", idp.token(t, map[string]any{"sub": "bob"}), "entitlement_denied"},
		{"an advisor", "advisors-mcp", "analyze_portfolio", idp.token(t, advisor), ""},
		{"an advisor without the scope", "advisors-mcp", "analyze_portfolio", idp.token(t, map[string]any{"groups": []string{"investment-advisors"}}), "entitlement_denied"},
		{"no advisor", "advisors-mcp", "analyze_portfolio", idp.token(t, map[string]any{"groups": []string{"staff"}, "scope": "bank-agents"}), "entitlement_denied"},
		{"an advisor elsewhere", "advisors-mcp", "transfer", idp.token(t, advisor), "entitlement_denied"},
		{"the chain", "company-mcp", "anything", agw.token(t, chain), ""},
		{"the chain, of another issuer", "company-mcp", "anything", idp.token(t, chain), "entitlement_denied"},
		{"half of the chain", "company-mcp", "anything", agw.token(t, map[string]any{"act": map[string]any{"sub": "agent-coach"}}), "entitlement_denied"},
		{"no token", "github-mcp", "get_me", "", "unauthenticated"},
		{"a forged token", "github-mcp", "get_me", stranger.token(t, nil), "token_invalid"},
		{"for another audience", "github-mcp", "get_me", idp.token(t, map[string]any{"aud": "others"}), "token_invalid"},
		{"expired", "github-mcp", "get_me", idp.token(t, map[string]any{"iat": 1, "exp": 2}), "token_invalid"},
		{"junk", "github-mcp", "get_me", "junk", "token_invalid"},
		{"unsigned", "github-mcp", "get_me", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsInN1YiI6ImFsaWNlIn0.", "token_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := w.call(w.client("agent", hosts[tt.host]), tt.host+":3000", tt.tool, tt.token)
			want := http.StatusOK
			if tt.code == "unauthenticated" || tt.code == "token_invalid" {
				want = http.StatusUnauthorized
			}
			if got.code != tt.code || got.status != want || want == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("got %d %q (%s), want %d %q", got.status, got.code, got.reason, want, tt.code)
			}
		})
	}
	if idp.fetched == 0 || idp.fetched > 3 {
		t.Errorf("the keys were fetched %d times", idp.fetched)
	}
}

// Keys that were fetched serve while their service is away; without any, nobody gets in.
func TestKeysAway(t *testing.T) {
	w := newWorld(t)
	idp := newIssuer(t, "https://idp.example.com")
	agw := newIssuer(t, "https://agw-sts.example.com")
	agw.fail(true)
	keys := http.NewServeMux()
	keys.Handle("/realms/company/keys", idp)
	keys.Handle("/sts/keys", agw)
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, &backend{})
	}
	w.place("identity", "keys", keys)
	w.start("operators")
	c := w.client("agent", "10.96.1.1:3000")
	if got := w.call(c, "github-mcp:3000", "get_me", idp.token(t, nil)); got.code != "" {
		t.Fatalf("got %+v", got)
	}
	idp.fail(true)
	for range 10 {
		if got := w.call(c, "github-mcp:3000", "get_me", idp.token(t, nil)); got.code != "" {
			t.Fatalf("warm keys: got %+v", got)
		}
		if got := w.call(c, "github-mcp:3000", "get_me", agw.token(t, nil)); got.code != "upstream_unavailable" {
			t.Fatalf("cold keys: got %+v", got)
		}
	}
	if agw.fetched > 3 {
		t.Errorf("%d fetches for 10 tokens", agw.fetched)
	}
}
