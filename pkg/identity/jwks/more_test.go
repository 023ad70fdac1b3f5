package jwks_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/pkg/identity/jwks"
)

// TestForeignTokens: tokens that other implementations made, with their key sets.
func TestForeignTokens(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Tokens []struct{ Alg, Token string } }
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		var set map[string]json.RawMessage
		_ = json.Unmarshal(b, &set)
		i := issuer()
		i.Keys.Inline = []byte(`{"keys":` + string(set["keys"]) + `}`)
		v := verifier(t, i)
		for _, tok := range f.Tokens {
			if c, err := v.Verify(t.Context(), tok.Token); err != nil || c.Subject != "alice" {
				t.Errorf("%s: %s: %v", file, tok.Alg, err)
			}
		}
		t.Logf("%s: %d tokens", file, len(f.Tokens))
	}
}

// fetched is a verifier with one remote issuer under synctest's clock.
func fetched(t *testing.T, r jwks.Remote) *jwks.Verifier {
	t.Helper()
	i := issuer()
	i.Keys = jwks.Keys{Remote: &r}
	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{i}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func current(s *signer) string {
	return s.token(header(s), claims("iat", "", "exp", jsonNumber(time.Now().Add(24*time.Hour))))
}

func jsonNumber(at time.Time) string { b, _ := json.Marshal(at.Unix()); return string(b) }

func TestUnknownKeysFetchOncePerTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		v := fetched(t, jwks.Remote{RefreshInterval: time.Hour, MaxStale: time.Hour, Fetch: func(context.Context) ([]byte, http.Header, error) {
			n.Add(1)
			time.Sleep(time.Second)
			return allKeys(), nil, nil
		}})
		defer v.Close()
		token := current(keys()["foreign"])
		for range 4 {
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					if _, err := v.Verify(t.Context(), token); !errors.Is(err, jwks.ErrUnknownKey) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			time.Sleep(4 * time.Second)
		}
		if got := n.Load(); got != 2 { // at 0 s and, by the fourth round at 13 s, once more
			t.Errorf("%d fetches in 17 s, want 2", got)
		}
	})
}

func TestRotationStaleAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Value
		answer.Store(string(set(keys()["ES256"].jwk(""))))
		v := fetched(t, jwks.Remote{RefreshInterval: time.Minute, MaxStale: time.Hour, Fetch: func(context.Context) ([]byte, http.Header, error) {
			if s := answer.Load().(string); s != "" {
				return []byte(s), nil, nil
			}
			return nil, nil, errors.New("dead")
		}})
		defer v.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		old, fresh := current(keys()["ES256"]), current(keys()["EdDSA"])
		check := func(when, token string, want error) {
			t.Helper()
			if _, err := v.Verify(ctx, token); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", when, err, want)
			}
		}
		check("start", old, nil)
		answer.Store(string(set(keys()["EdDSA"].jwk(""))))
		time.Sleep(61 * time.Second)
		check("removed key, although cached", old, jwks.ErrUnknownKey)
		check("new key", fresh, nil)
		answer.Store("")
		time.Sleep(55 * time.Minute)
		check("stale", fresh, nil)
		time.Sleep(10 * time.Minute)
		check("too old, although cached", fresh, jwks.ErrKeysUnavailable)
		answer.Store("<html>junk")
		time.Sleep(time.Minute)
		check("junk", fresh, jwks.ErrKeysUnavailable)
		answer.Store(string(set(keys()["EdDSA"].jwk(""))))
		time.Sleep(11 * time.Second)
		check("back", fresh, nil)
		cancel()
		<-done
	})
}

// TestHangingServer: a caller waits no longer than its own context, and the fetch no longer than its time.
func TestHangingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := fetched(t, jwks.Remote{RefreshInterval: time.Minute, Fetch: func(ctx context.Context) ([]byte, http.Header, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}})
		defer v.Close()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, current(keys()["ES256"])); !errors.Is(err, jwks.ErrKeysUnavailable) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if _, err := v.Verify(t.Context(), current(keys()["ES256"])); !errors.Is(err, jwks.ErrKeysUnavailable) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestAllocations(t *testing.T) {
	v := verifier(t, issuer())
	token := keys()["RS256"].token(header(keys()["RS256"]), claims())
	ctx := t.Context()
	if _, err := v.Verify(ctx, token); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = v.Verify(ctx, token) }); n > 2 {
		t.Errorf("%v allocations for a cached token, want at most 2", n)
	}
}

func benchmark(b *testing.B, cache int) {
	i := issuer()
	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{i}, Now: clock, Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	token := keys()["RS256"].token(header(keys()["RS256"]), claims("scope", `"`+strings.Repeat("scope ", 60)+`"`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyCached(b *testing.B) { benchmark(b, 0) }
func BenchmarkVerifyRS256(b *testing.B)  { benchmark(b, -1) }

// TestWycheproof judges the JWS vectors by all that Verify does with header, key and signature: their payloads are no claims.
func TestWycheproof(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(wycheproof(t), "testvectors_v1/json_web_signature_test.json"))
	if len(files) != 1 {
		t.Fatal("the module has no vectors of JWS")
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		TestGroups []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []struct {
				TcID                 int
				Comment, Result, Jws string
			}
		}
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	valid, refused, accepted := 0, 0, 0
	for _, g := range f.TestGroups {
		key := g.Public
		if key == nil {
			key = g.Private
		}
		for _, tt := range g.Tests {
			err := jwks.VerifySignature(tt.Jws, []byte(`{"keys":[`+string(key)+`]}`))
			switch {
			case tt.Result == "valid" && err == nil:
				valid++
			case err != nil && tt.Result == "invalid":
				refused++
			case err == nil:
				accepted++
				t.Errorf("%s %d %s: accepted, is %s", g.Comment, tt.TcID, tt.Comment, tt.Result)
			default:
				t.Logf("%s %d %s: %s refused: %v", g.Comment, tt.TcID, tt.Comment, tt.Result, err)
			}
		}
	}
	// Of 46 valid ones, 8 are HMAC, 2 have odd characters, 6 have no payload, and 4 are of a key whose alg is another.
	if valid < 26 {
		t.Errorf("%d valid vectors accepted, want 26", valid)
	}
	t.Logf("%d valid accepted, %d invalid refused, %d invalid accepted", valid, refused, accepted)
}

// FuzzVerify: what is accepted, jwx accepts too, with the same claims.
func FuzzVerify(f *testing.F) {
	es := keys()["ES256"]
	f.Add(header(es), claims())
	f.Add(`{"alg":"ES256"}`, claims("aud", `["bank"]`, "act", `{"sub":"x"}`))
	f.Add(`{"alg":"none"}`, claims("exp", "1e9"))
	i := issuer()
	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{i}, Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	defer v.Close()
	f.Fuzz(func(t *testing.T, h, c string) {
		token := es.token(h, c)
		got, err := v.Verify(t.Context(), token)
		if (got == nil) != (err != nil) {
			t.Fatalf("%v and %v", got, err)
		}
		if err != nil {
			return
		}
		payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.ES256(), es.private.Public()))
		if err != nil || string(payload) != c {
			t.Fatalf("jwx: %v", err)
		}
		var want struct{ Iss, Sub string }
		if err := json.Unmarshal([]byte(c), &want); err != nil || want.Iss != got.Issuer || want.Sub != got.Subject {
			t.Fatalf("%+v, want %+v: %v", got, want, err)
		}
	})
}

// wycheproof is the directory of the vectors, which are a Go module that nothing of ours depends on.
func wycheproof(t *testing.T) string {
	t.Helper()
	const version = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", version)
	cmd.Dir = t.TempDir() // outside of any module
	out, err := cmd.Output()
	var m struct {
		Dir string `json:"Dir"`
	}
	if json.Unmarshal(out, &m) != nil || m.Dir == "" {
		t.Skipf("%s cannot be had: %v", version, err)
	}
	return m.Dir
}
