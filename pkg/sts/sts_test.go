package sts_test

import (
	"encoding/base64"
	"encoding/json/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/sts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func encode(b []byte) string          { return base64.RawURLEncoding.EncodeToString(b) }
func decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

// story are the grants of user → Butler → Coach → MCP.
func story() []v1alpha1.ExchangeGrant {
	return []v1alpha1.ExchangeGrant{
		{Name: "butler-to-coach", Clients: []v1alpha1.StringMatch{butler}, Audiences: []string{coach}, Scopes: []v1alpha1.Scope{"train", "read"}, NextActor: coach},
		{Name: "coach-to-mcp", Clients: []v1alpha1.StringMatch{coach}, Audiences: []string{mcp}, Scopes: []v1alpha1.Scope{"read"}, Forwarders: []v1alpha1.StringMatch{gateway}},
	}
}

func (w *world) alice(more map[string]any) string {
	claims := map[string]any{"may_act": map[string]string{"sub": butler}, "scope": "train read write", "jti": "t1"}
	for name, v := range more {
		claims[name] = v
	}
	return w.token(claims)
}

func TestStory(t *testing.T) {
	w := newWorld(t, story(), func(o *sts.Options) { o.Copy = []string{"groups"} })
	first := w.ask(butler, form(w.alice(map[string]any{"groups": []string{"athletes"}}), "audience", coach))
	if first.Status != 200 || first.Type != "Bearer" || first.Issued != oauth.TypeAccessToken || first.Scope != "train read" || first.Expires != 300 {
		t.Fatalf("got %+v", first)
	}
	if first.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be cached")
	}
	c := w.verify(first.Token)
	if got, want := subjects(c), []string{"alice", butler}; !slices.Equal(got, want) || c.MayAct.Subject != coach || c.Transaction == "" {
		t.Errorf("got %v, may act %+v", got, c.MayAct)
	}
	if !strings.Contains(string(c.Raw), `"groups":["athletes"]`) {
		t.Errorf("groups did not travel: %s", c.Raw)
	}
	w.clock.add(time.Minute)
	second := w.ask(coach, form(first.Token, "audience", mcp, "scope", "read"))
	if second.Status != 200 || second.Expires != 240 { // no longer than what was shown
		t.Fatalf("got %+v: %+v", second, w.last())
	}
	d := w.verify(second.Token)
	if got, want := subjects(d), []string{"alice", butler, coach}; !slices.Equal(got, want) || !slices.Equal(d.Audience, []string{mcp}) || d.MayAct != nil || d.Transaction != c.Transaction {
		t.Errorf("got %v for %v, may act %+v", got, d.Audience, d.MayAct)
	}
	r := w.last()
	if r.Outcome != "issued" || r.Grant != "home/story/coach-to-mcp" || !slices.Equal(r.Chain, []string{"alice", butler, coach}) || r.ID != d.ID || r.SubjectID != c.ID {
		t.Errorf("record %+v", r)
	}
	if third := w.ask(coach, form(second.Token, "audience", mcp)); third.Error != "invalid_grant" {
		t.Errorf("a token for somebody else was exchanged: %+v", third)
	}
}

func TestRefusals(t *testing.T) {
	rsa := form("x", "audience", coach)
	tests := map[string]struct {
		client string
		form   func(w *world) map[string][]string
		error  string
		cause  string
	}{
		"no client":          {"", func(w *world) map[string][]string { return form(w.alice(nil), "audience", coach) }, "invalid_client", "the client does not authenticate itself"},
		"a stranger":         {thief, func(w *world) map[string][]string { return form(w.alice(nil), "audience", coach) }, "unauthorized_client", "no grant names this client"},
		"no grant_type":      {butler, func(*world) map[string][]string { return map[string][]string{} }, "invalid_request", "no grant_type"},
		"another grant_type": {butler, func(*world) map[string][]string { return map[string][]string{"grant_type": {"password"}} }, "unsupported_grant_type", "only token exchange is offered"},
		"a parameter twice": {butler, func(w *world) map[string][]string {
			return form(w.alice(nil), "audience", coach, "scope", "a", "scope", "b")
		}, "invalid_request", "a parameter is there twice"},
		"no audience":                {butler, func(w *world) map[string][]string { return form(w.alice(nil)) }, "invalid_target", "1 to 8 audiences and resources are needed"},
		"another audience":           {butler, func(w *world) map[string][]string { return form(w.alice(nil), "audience", mcp) }, "invalid_target", "no grant of this client has all of these audiences"},
		"one audience too many":      {butler, func(w *world) map[string][]string { return form(w.alice(nil), "audience", coach, "audience", mcp) }, "invalid_target", "no grant of this client has all of these audiences"},
		"a resource with a fragment": {butler, func(w *world) map[string][]string { return form(w.alice(nil), "resource", "https://x/#y") }, "invalid_target", "a resource is no absolute URI without fragment (RFC 8707)"},
		"more scope": {butler, func(w *world) map[string][]string {
			return form(w.alice(nil), "audience", coach, "scope", "train admin")
		}, "invalid_scope", `scope: "admin" is more than what was shown`},
		"scope of the user that no grant has": {butler, func(w *world) map[string][]string { return form(w.alice(nil), "audience", coach, "scope", "write") }, "invalid_scope", `scope: "write" is more than what was shown`},
		"no may_act": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"may_act": nil}), "audience", coach)
		}, "invalid_grant", "the subject token does not say that anybody may act"},
		"may_act for another": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"may_act": map[string]string{"sub": coach}}), "audience", coach)
		}, "invalid_grant", "the subject token says that somebody else may act"},
		"meant for another": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"aud": []string{coach}}), "audience", coach)
		}, "invalid_grant", "the subject token is not meant for the actor"},
		"stolen by who may ask too": {coach, func(w *world) map[string][]string { return form(w.alice(nil), "audience", mcp) }, "invalid_grant", "the subject token is not meant for the actor"},
		"expired": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"exp": int64(1)}), "audience", coach)
		}, "invalid_grant", "the subject token: token expired"},
		"bound to another certificate": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"cnf": map[string]string{"x5t#S256": encode(make([]byte, 32))}}), "audience", coach)
		}, "invalid_grant", "the token is bound to another certificate than the caller's"},
		"a foreign actor in the chain": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"act": map[string]string{"sub": "x", "iss": "https://evil"}}), "audience", coach)
		}, "invalid_grant", "the chain has an actor that the subject token's issuer does not vouch for"},
		"actor token of another": {butler, func(w *world) map[string][]string {
			return form(w.alice(nil), "audience", coach, "actor_token", w.token(map[string]any{"sub": coach}), "actor_token_type", oauth.TypeJWT)
		}, "invalid_grant", "the actor token is not the client's"},
		"actor token of another transaction": {butler, func(w *world) map[string][]string {
			return form(w.alice(map[string]any{"txn": "1"}), "audience", coach, "actor_token", w.token(map[string]any{"sub": butler, "txn": "2"}), "actor_token_type", oauth.TypeJWT)
		}, "invalid_grant", "subject and actor token are of two transactions"},
		"actor type alone": {butler, func(w *world) map[string][]string {
			return form(w.alice(nil), "audience", coach, "actor_token_type", oauth.TypeJWT)
		}, "invalid_request", "actor_token and actor_token_type belong together"},
		"opaque": {butler, func(*world) map[string][]string { return rsa }, "invalid_request", "the subject token is no JWT"},
		"SAML": {butler, func(w *world) map[string][]string {
			f := form(w.alice(nil), "audience", coach)
			f.Set("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")
			return f
		}, "invalid_request", "subject_token_type is none that is known here"},
		"details that were not shown": {butler, func(w *world) map[string][]string {
			return form(w.alice(nil), "audience", coach, "authorization_details", `[{"type":"payment"}]`)
		}, "invalid_authorization_details", `authorization_details[0]: of type "payment" is more than what was shown`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, story(), nil)
			f := tt.form(w)
			a := w.ask(tt.client, f)
			if a.Error != tt.error || w.last().Cause != tt.cause || w.last().Outcome != "refused" || a.Token != "" || a.Status < 400 {
				t.Errorf("got %d %s %q, want %s %q", a.Status, a.Error, w.last().Cause, tt.error, tt.cause)
			}
			if len(w.records) != 1 {
				t.Errorf("%d records", len(w.records))
			}
			for _, v := range f["subject_token"] {
				b, _ := json.Marshal(w.records)
				if len(v) > 8 && strings.Contains(string(b), v) {
					t.Error("the record has the token in it")
				}
			}
		})
	}
}

// A waypoint asks for the workload that calls it, which it knows by its certificate.
func TestForwarder(t *testing.T) {
	w := newWorld(t, story(), nil)
	first := w.ask(butler, form(w.alice(nil), "audience", coach))
	says := func(by, whom string, key any) string {
		s, err := oauth.ActorAssertion(by, issuer, identity.RequireID(whom), key, w.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := says(gateway, coach, w.private[gateway])
	f := form(first.Token, "audience", mcp, "actor_token", good, "actor_token_type", oauth.TypeJWT)
	a := w.ask(gateway, f)
	if a.Status != 200 || !slices.Equal(subjects(w.verify(a.Token)), []string{"alice", butler, coach}) || w.last().Client != gateway || w.last().Actor != coach {
		t.Fatalf("got %+v: %+v", a, w.last())
	}
	for name, tt := range map[string]struct{ client, token, cause string }{
		"twice":           {gateway, good, "the actor token was used before"},
		"of another key":  {gateway, says(gateway, coach, w.private[thief]), "the actor token: its signature does not fit"},
		"for the thief":   {gateway, says(gateway, thief, w.private[gateway]), "no grant names the actor"},
		"by no forwarder": {thief, says(thief, coach, w.private[thief]), "no grant lets this client speak for the actor"},
		"stolen":          {thief, says(gateway, coach, w.private[gateway]), "the actor token: its claims are not"},
	} {
		a := w.ask(tt.client, form(first.Token, "audience", mcp, "actor_token", tt.token, "actor_token_type", oauth.TypeJWT))
		if a.Status < 400 || name != "stolen" && w.last().Cause != tt.cause {
			t.Errorf("%s: got %+v %q, want %q", name, a, w.last().Cause, tt.cause)
		}
	}
}

func TestImpersonation(t *testing.T) {
	grants := story()[:1]
	w := newWorld(t, grants, nil)
	grants[0].Semantics = "Impersonation"
	w.grant(grants)
	a := w.ask(butler, form(w.alice(nil), "audience", coach))
	if a.Status != 200 || !slices.Equal(subjects(w.verify(a.Token)), []string{"alice"}) {
		t.Errorf("got %+v", a)
	}
	b := w.ask(butler, form(w.alice(map[string]any{"act": map[string]string{"sub": "earlier"}}), "audience", coach))
	if !slices.Equal(subjects(w.verify(b.Token)), []string{"alice", "earlier"}) {
		t.Error("an earlier actor was lost")
	}
}

func TestRate(t *testing.T) {
	grants := story()
	n := int32(3)
	grants[0].PerMinute = &n
	w := newWorld(t, grants, nil)
	for i := range 5 {
		a := w.ask(butler, form(w.alice(nil), "audience", coach))
		if want := map[bool]int{true: 200, false: 429}[i < 3]; a.Status != want {
			t.Errorf("%d: got %d, want %d", i, a.Status, want)
		}
	}
	w.clock.add(20 * time.Second)
	if a := w.ask(butler, form(w.alice(nil), "audience", coach)); a.Status != 200 {
		t.Errorf("after 20 s: %+v", a)
	}
}

func TestClockBack(t *testing.T) {
	w := newWorld(t, story(), nil)
	_ = w.ask(butler, form(w.alice(nil), "audience", coach))
	w.clock.add(-4 * time.Minute)
	if a := w.ask(butler, form(w.alice(nil), "audience", coach)); a.Status != 200 {
		t.Errorf("4 minutes back: %+v", a)
	}
	w.clock.add(-2 * time.Minute)
	if a := w.ask(butler, form(w.alice(nil), "audience", coach)); a.Status != 503 || w.last().Cause != "the clock went back by 6m0s: nothing is signed" {
		t.Errorf("6 minutes back: %+v %s", a, w.last().Cause)
	}
}

// A token is verified by the keys that were published before it was signed, while keys change.
func TestRotation(t *testing.T) {
	w := newWorld(t, story(), nil)
	known := w.keys.JWKS() // what somebody fetched up to 10 minutes ago
	var seen []string
	for range 60 {
		w.clock.add(time.Hour)
		if err := w.keys.Refresh(); err != nil {
			t.Fatal(err)
		}
		a := w.ask(butler, form(w.alice(nil), "audience", coach))
		if a.Status != 200 {
			t.Fatalf("%+v: %+v", a, w.last())
		}
		head, _, _ := strings.Cut(a.Token, ".")
		b, _ := decode(head)
		var h struct {
			Kid string `json:"kid"`
		}
		_ = json.Unmarshal(b, &h)
		if !strings.Contains(string(known), h.Kid) {
			t.Fatalf("signed with a key that was not published before: %s", h.Kid)
		}
		if !slices.Contains(seen, h.Kid) {
			seen = append(seen, h.Kid)
		}
		w.verify(a.Token)
		known = w.keys.JWKS()
	}
	if len(seen) < 2 {
		t.Errorf("%d keys in 60 hours", len(seen))
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t, story(), nil)
	for path, want := range map[string]string{
		"/.well-known/oauth-authorization-server": `"token_endpoint":"https://sts.example.com/token"`,
		"/jwks": `"kty":"EC"`,
	} {
		rec := httptest.NewRecorder()
		w.server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), want) || strings.Contains(rec.Body.String(), `"d"`) {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
}
