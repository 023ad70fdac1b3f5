package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"
	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/fetch"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/oauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the-caller's-token"

// endpoint is a server on loopback, reached as one of the mesh is.
func endpoint(t *testing.T, h http.HandlerFunc) *fetch.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return to(t, s.Listener.Addr().String())
}

func to(t *testing.T, address string) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Options{URL: "http://sts.identity.svc.cluster.local/token", Timeout: 500 * time.Millisecond, MaxBytes: 64 << 10,
		Via: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func client(t *testing.T, e oauth.Endpoint, a oauth.Auth) *oauth.Client {
	t.Helper()
	c, err := oauth.New(oauth.Options{Endpoint: e, Auth: a})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const good = `{"access_token":"new","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}`

func TestAuthentication(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := oauth.PrivateKeyJWT(oauth.KeyOptions{ClientID: "me", PEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), KeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	account := func(_ context.Context, audience string) (string, error) { return "sa for " + audience, nil }
	tests := map[string]struct {
		auth  oauth.Auth
		check func(r *http.Request) bool
	}{
		"basic": {oauth.SecretBasic("a:b", "c d"), func(r *http.Request) bool {
			id, pass, ok := r.BasicAuth()
			id, _ = url.QueryUnescape(id)
			pass, _ = url.QueryUnescape(pass)
			return ok && id == "a:b" && pass == "c d" && r.PostForm.Get("client_id") == ""
		}},
		"post": {oauth.SecretPost("me", "s"), func(r *http.Request) bool {
			return r.PostForm.Get("client_id") == "me" && r.PostForm.Get("client_secret") == "s" && r.Header.Get("Authorization") == ""
		}},
		"mutual TLS": {oauth.MutualTLS("me"), func(r *http.Request) bool {
			return r.PostForm.Get("client_id") == "me" && r.Header.Get("Authorization") == ""
		}},
		"account": {oauth.ServiceAccountToken("", "", account), func(r *http.Request) bool {
			return r.PostForm.Get("client_assertion") == "sa for http://sts.identity.svc.cluster.local/token"
		}},
		"private_key_jwt": {signed, func(r *http.Request) bool {
			b, err := jws.Verify([]byte(r.PostForm.Get("client_assertion")), jws.WithKey(jwa.ES256(), key.Public()))
			return err == nil && strings.Contains(string(b), `"iss":"me"`) && strings.Contains(string(b), `"aud":"http://sts.identity.svc.cluster.local/token"`)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var ok atomic.Bool
			e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				ok.Store(tt.check(r) && r.PostForm.Get("subject_token") == secret && r.PostForm.Get("grant_type") == oauth.GrantExchange)
				_, _ = w.Write([]byte(good))
			})
			token, err := client(t, e, tt.auth).Exchange(t.Context(), oauth.Request{Subject: secret, Audiences: []string{"x"}})
			if err != nil || token.Value != "new" || token.Expires.IsZero() || !ok.Load() {
				t.Errorf("got %+v, %v, known %v", token, err, ok.Load())
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for name, o := range map[string]oauth.KeyOptions{
		"the key is not one private key in PEM (PKCS #8)": {PEM: []byte("x")},
		"the key is no PKCS #8":                           {PEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
	} {
		if _, err := oauth.PrivateKeyJWT(o); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

// answers of a token service, and what becomes of them.
func TestAnswers(t *testing.T) {
	const rest = `"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer"`
	tests := map[string]struct {
		status int
		body   string
		want   string // of the error
	}{
		"good":                 {200, good, ""},
		"N_A":                  {200, strings.Replace(good, "Bearer", "N_A", 1), ""},
		"a narrower scope":     {200, strings.Replace(good, "{", `{"scope":"a",`, 1), ""},
		"a wider scope":        {200, strings.Replace(good, "{", `{"scope":"a c",`, 1), "oauth: the server's answer is no good: it has a scope that was not asked for"},
		"the same token":       {200, strings.Replace(good, `"new"`, `"`+secret+`"`, 1), "oauth: the server's answer is no good: it is the token that was to be traded"},
		"no token":             {200, `{` + rest + `}`, "oauth: the server's answer is no good: no access_token that can stand in a header"},
		"a token with a break": {200, `{"access_token":"a\nb",` + rest + `}`, "oauth: the server's answer is no good: no access_token that can stand in a header"},
		"a number":             {200, `{"access_token":7,` + rest + `}`, "oauth: the server's answer is no good: no access_token that can stand in a header"},
		"no type":              {200, `{"access_token":"a","token_type":"Bearer"}`, "oauth: the server's answer is no good: issued_token_type is not what was asked for"},
		"DPoP":                 {200, strings.Replace(good, "Bearer", "DPoP", 1), "oauth: the server's answer is no good: token_type is neither Bearer nor N_A"},
		"no time":              {200, strings.Replace(good, "60", "-60", 1), "oauth: the server's answer is no good: expires_in is no length of time"},
		"a name twice":         {200, strings.Replace(good, "{", `{"access_token":"other",`, 1), "oauth: the server's answer is no good: no JSON, or a name twice"},
		"another case":         {200, strings.Replace(good, "{", `{"Access_Token":"other",`, 1), "oauth: the server's answer is no good: access_token in another spelling"},
		"two values":           {200, good + good, "oauth: the server's answer is no good: not one JSON object"},
		"junk":                 {200, "<html>", "oauth: the server's answer is no good: no JSON, or a name twice"},
		"a list":               {200, "[]", "oauth: the server's answer is no good: not one JSON object"},
		"created":              {201, good, "oauth: the server's answer is no good: status 201"},
		"refused":              {400, `{"error":"invalid_target","error_description":"` + secret + `"}`, "oauth: the server refuses: invalid_target (status 400)"},
		"refused in prose":     {400, secret, "oauth: the server refuses: an error without a code (status 400)"},
		"refused oddly":        {400, `{"error":"` + secret + `"}`, "oauth: the server refuses: an error without a code (status 400)"},
		"busy":                 {429, "", "oauth: the server is not available: status 429"},
		"broken":               {502, "", "oauth: the server is not available: status 502"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := client(t, e, oauth.MutualTLS("")).Exchange(t.Context(), oauth.Request{Subject: secret, Scopes: []string{"a", "b"}})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// hostile are servers that are away, slow, or have no end.
func hostile(t *testing.T) map[string]oauth.Endpoint {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	return map[string]oauth.Endpoint{
		"killed": to(t, dead),
		"slow": endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // net/http notices that a client left once it has read its body
			<-r.Context().Done()
		}),
		"endless": endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			b := []byte(strings.Repeat(" ", 64<<10))
			for range (10 << 30) / len(b) {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}),
		"cut": endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"active":true`))
		}),
		"junk": endpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\x00\xff{")) }),
	}
}

func TestHostile(t *testing.T) {
	for name, e := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			c := client(t, e, oauth.MutualTLS(""))
			in, err := oauth.NewIntrospector(oauth.IntrospectorOptions{Client: c, CacheFor: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			x, err := oauth.NewExchanger(oauth.ExchangerOptions{Client: c, CacheFor: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 3 {
				_, err1 := in.Introspect(t.Context(), secret)
				_, err2 := x.Trade(t.Context(), secret, identity.ID{}, time.Time{})
				for _, err := range []error{err1, err2} {
					if !errors.Is(err, oauth.ErrUnavailable) && !errors.Is(err, oauth.ErrAnswer) || strings.Contains(err.Error(), secret) {
						t.Errorf("got %v", err)
					}
				}
			}
			runtime.ReadMemStats(&after)
			if grew := (after.TotalAlloc - before.TotalAlloc) / 6; grew > 8<<20 {
				t.Errorf("%d bytes were allocated for one question", grew)
			}
		})
	}
}

func TestIntrospect(t *testing.T) {
	soon := time.Now().Add(time.Hour).Unix()
	tests := map[string]struct{ body, want string }{
		"active":         {fmt.Sprintf(`{"active":true,"sub":"alice","iss":"i","aud":["a","b"],"exp":%d,"scope":"x y","act":{"sub":"coach"}}`, soon), ""},
		"not active":     {`{"active":false}`, "oauth: the token is not active"},
		"a text":         {`{"active":"true"}`, "oauth: the server's answer is no good: active is neither true nor false"},
		"nothing said":   {`{"sub":"alice"}`, "oauth: the server's answer is no good: active is neither true nor false"},
		"another case":   {`{"Active":true,"active":true}`, "oauth: the server's answer is no good: active in another spelling"},
		"ended":          {`{"active":true,"exp":1}`, "oauth: the token is not active: it says so, and that its time is not now"},
		"not begun":      {fmt.Sprintf(`{"active":true,"nbf":%d}`, soon), "oauth: the token is not active: it says so, and that its time is not now"},
		"a bad date":     {`{"active":true,"exp":"x"}`, "oauth: the server's answer is no good: exp is no date"},
		"a bad chain":    {`{"active":true,"act":{}}`, "oauth: the server's answer is no good: claims: act: no sub"},
		"a bad audience": {`{"active":true,"aud":{}}`, "oauth: the server's answer is no good: aud is neither a string nor a list of them"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			e := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { asked++; _, _ = w.Write([]byte(tt.body)) })
			in, err := oauth.NewIntrospector(oauth.IntrospectorOptions{Client: client(t, e, oauth.MutualTLS("")), CacheFor: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				c, err := in.Introspect(t.Context(), "opaque")
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want && !(tt.want != "" && errors.Is(err, oauth.ErrInactive)) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if tt.want == "" && (c.Subject != "alice" || len(c.Scope) != 2 || c.Actors[0].Subject != "coach" || len(c.Audience) != 2) {
					t.Errorf("got %+v", c)
				}
			}
			if remembered := tt.want == "" || strings.Contains(tt.want, "is not active"); remembered && asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// Tokens that differ anywhere are different: nobody gets what another one traded.
func TestStrangers(t *testing.T) {
	const tokens = 20_000
	e := fake(func(form url.Values) string {
		return strings.Replace(good, `"new"`, `"for-`+form.Get("subject_token")+`"`, 1)
	})
	x, err := oauth.NewExchanger(oauth.ExchangerOptions{Client: client(t, e, oauth.MutualTLS("")), CacheFor: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	callers := []identity.ID{identity.RequireID("spiffe://td/ns/a/sa/b"), identity.RequireID("spiffe://td/ns/a/sa/c")}
	prefix, suffix := strings.Repeat("a", 200), strings.Repeat("z", 200)
	for i := range tokens {
		token := fmt.Sprintf("%s%d%s", prefix, i%(tokens/2), suffix)
		got, err := x.Trade(t.Context(), token, callers[i%2], time.Time{})
		if err != nil || got.Value != "for-"+token {
			t.Fatalf("%d: got %q, %v", i, got.Value, err)
		}
	}
}

// fake is an endpoint without a network.
type fake func(url.Values) string

func (f fake) URL() string { return "http://sts" }
func (f fake) Post(_ context.Context, _ string, body []byte, _ http.Header) (int, []byte, error) {
	form, err := url.ParseQuery(string(body))
	return 200, []byte(f(form)), err
}

// A token is used again until shortly before it ends, or the caller's own does; many who ask at once wait for one answer.
func TestReuse(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var mu sync.Mutex
	asked := 0
	e := fake(func(url.Values) string {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return good
	})
	c, err := oauth.New(oauth.Options{Endpoint: e, Auth: oauth.MutualTLS(""), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	x, err := oauth.NewExchanger(oauth.ExchangerOptions{Client: c, CacheFor: time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	trade := func(ends time.Time) {
		t.Helper()
		if _, err := x.Trade(t.Context(), "t", identity.ID{}, ends); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { trade(time.Time{}) })
	}
	all.Wait()
	if asked != 1 {
		t.Errorf("50 at once: asked %d times", asked)
	}
	now = now.Add(49 * time.Second)
	trade(time.Time{})
	if asked != 1 {
		t.Errorf("11 s before the end: asked %d times", asked)
	}
	now = now.Add(2 * time.Second)
	trade(now.Add(5 * time.Second)) // what comes now ends with the caller's token
	if asked != 2 {
		t.Errorf("9 s before the end: asked %d times", asked)
	}
	now = now.Add(6 * time.Second)
	trade(time.Time{})
	if asked != 3 {
		t.Errorf("after the end of the caller's: asked %d times", asked)
	}
}
