package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waymark.dev/waypoint/pkg/identity/jwks"
)

// Ten thousand keys that nobody has make one fetch in ten seconds, not ten thousand.
func TestManyUnknownKeysFetchOncePerTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		v := fetched(t, jwks.Remote{RefreshInterval: time.Hour, MaxStale: time.Hour, Fetch: func(context.Context) ([]byte, http.Header, error) {
			n.Add(1)
			return allKeys(), nil, nil
		}})
		defer v.Close()
		body := b64([]byte(claims("iat", "", "exp", jsonNumber(time.Now().Add(time.Hour))))) + "." + strings.Repeat("A", 86)
		began := time.Now()
		for i := range 10_000 {
			token := b64(fmt.Appendf(nil, `{"alg":"ES256","kid":"key-%d","typ":"JWT"}`, i)) + "." + body
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, jwks.ErrUnknownKey) {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		if got, limit := int(n.Load()), int(time.Since(began)/(10*time.Second))+1; got > limit || got < 2 {
			t.Errorf("%d fetches in %s, want at most %d", got, time.Since(began), limit)
		}
	})
}

// Tokens that begin and end alike are told apart: what is remembered of one is never said of another (CVE-2026-35030 is a cache that
// looks at the first characters only). Each of ten thousand users has ten tokens, with the signatures of the first ten users.
func TestManyTokensAlike(t *testing.T) {
	total := 100_000
	if raced {
		total = 5_000
	}
	s := keys()["EdDSA"]
	i := issuer()
	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{i}, Now: clock, Cache: total})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	user := func(n int) string { return fmt.Sprintf("user-%06d", n) }
	payload := func(n int) string {
		return b64([]byte(header(s))) + "." + b64([]byte(claims("sub", `"`+user(n)+`"`, "pad", `"`+strings.Repeat("x", 200)+`"`)))
	}
	var signatures []string
	for n := range 10 {
		signed := payload(n)
		signatures = append(signatures, b64(s.sign(signed)))
		if c, err := v.Verify(t.Context(), signed+"."+signatures[n]); err != nil || c.Subject != user(n) {
			t.Fatal(c, err)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= total {
					return
				}
				whose, by := n/10, n%10 // the claims of one, and the signature of another
				c, err := v.Verify(t.Context(), payload(whose)+"."+signatures[by])
				switch {
				case whose == by && (err != nil || c.Subject != user(whose)):
					t.Errorf("the good token of %s: %v, %v", user(whose), c, err)
				case whose != by && !errors.Is(err, jwks.ErrInvalid):
					t.Errorf("%s by the signature of %s: %v, %v", user(whose), user(by), c, err)
				}
			}
		})
	}
	wg.Wait()
}
