package jwks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
)

// MaxSkew is the most that an issuer's clock may be off.
const MaxSkew = 30 * time.Second

const (
	defaultCache = 10_000
	maxIssuers   = 64
	// badFor is how long a signature that does not fit is remembered.
	badFor = 10 * time.Second
)

// Options say whose tokens are believed.
type Options struct {
	Issuers []Issuer
	Cache   int              // verified tokens that are remembered; 0 is 10,000, negative is none
	Now     func() time.Time // nil is time.Now
}

// Issuer is one issuer, and what is asked of its tokens.
type Issuer struct {
	Issuer      string        // the claim iss, byte for byte
	Audiences   []string      // of which a token has to have one, byte for byte
	AnyAudience string        // why no audience is asked for; instead of Audiences
	Algorithms  []string      // of RS, PS and ES with 256, 384 and 512, and EdDSA
	Types       []string      // values of the header typ, in any case; empty is any, or none
	ClockSkew   time.Duration // 0 to MaxSkew
	MaxLifetime time.Duration // from iat to exp; 0 is any, otherwise a token without iat is refused

	RequiredClaims []RequiredClaim // that a token has to have, each of them
	Keys           Keys
}

// RequiredClaim is a claim that a token has to have. Of a list, one member has to match.
type RequiredClaim struct {
	Path  []string
	Match func(string) bool // of a string as it is, of a number or boolean as it is written
}

// Keys say where an issuer's keys are: exactly one of the two.
type Keys struct {
	Inline []byte // the key set itself
	Remote *Remote
}

var algorithms = map[string]jwa.SignatureAlgorithm{
	"RS256": jwa.RS256(), "RS384": jwa.RS384(), "RS512": jwa.RS512(),
	"PS256": jwa.PS256(), "PS384": jwa.PS384(), "PS512": jwa.PS512(),
	"ES256": jwa.ES256(), "ES384": jwa.ES384(), "ES512": jwa.ES512(),
	"EdDSA": jwa.EdDSA(),
}

func (i *Issuer) validate() error {
	switch {
	case i.Issuer == "":
		return errors.New("no issuer")
	case (len(i.Audiences) == 0) == (i.AnyAudience == ""):
		return errors.New("exactly one of audiences and a reason to ask for none is needed")
	case slices.Contains(i.Audiences, ""):
		return errors.New("empty audience")
	case len(i.Algorithms) == 0:
		return errors.New("no algorithms")
	case i.ClockSkew < 0 || i.ClockSkew > MaxSkew:
		return fmt.Errorf("clock skew of %s, want 0 to %s", i.ClockSkew, MaxSkew)
	case i.MaxLifetime < 0:
		return fmt.Errorf("negative lifetime %s", i.MaxLifetime)
	case (i.Keys.Inline == nil) == (i.Keys.Remote == nil):
		return errors.New("exactly one of inline and remote keys is needed")
	}
	for _, alg := range i.Algorithms {
		if _, ok := algorithms[alg]; !ok {
			return fmt.Errorf("algorithm %q does not exist here", alg)
		}
	}
	return nil
}

// source is where an issuer's keys come from.
type source interface {
	// current returns the keys that may be used now, nil if there are none. It does not wait.
	current() *keySet
	// renew fetches the keys anew unless that was done a short time ago, and waits for the fetch that is under way.
	renew(ctx context.Context)
}

type inline struct{ set *keySet }

func (s inline) current() *keySet      { return s.set }
func (s inline) renew(context.Context) {}

type issuer struct {
	Issuer
	keys source
}

// Verifier verifies tokens. It is safe for use by many.
type Verifier struct {
	issuers map[string]*issuer
	remotes []*remote
	good    *cache
	bad     *cache
	now     func() time.Time

	stop    context.CancelFunc
	fetches sync.WaitGroup
}

// New returns a verifier. Remote keys are fetched by Run, or by the first token that needs them.
func New(o Options) (*Verifier, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cache == 0 {
		o.Cache = defaultCache
	}
	if len(o.Issuers) == 0 || len(o.Issuers) > maxIssuers {
		return nil, fmt.Errorf("%d issuers, want 1 to %d", len(o.Issuers), maxIssuers)
	}
	v := &Verifier{issuers: map[string]*issuer{}, now: o.Now, good: newCache(o.Cache), bad: newCache(o.Cache / 4)}
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	for n, i := range o.Issuers {
		if err := v.add(ctx, i); err != nil {
			stop()
			return nil, fmt.Errorf("issuers[%d]: %w", n, err)
		}
	}
	return v, nil
}

func (v *Verifier) add(ctx context.Context, i Issuer) error {
	if err := i.validate(); err != nil {
		return err
	}
	if v.issuers[i.Issuer] != nil {
		return fmt.Errorf("issuer %q is there twice", i.Issuer)
	}
	i.Audiences, i.Algorithms, i.Types = slices.Clone(i.Audiences), slices.Clone(i.Algorithms), slices.Clone(i.Types)
	if i.Keys.Remote != nil {
		r, err := newRemote(ctx, *i.Keys.Remote, v.now, &v.fetches)
		if err != nil {
			return err
		}
		v.remotes = append(v.remotes, r)
		v.issuers[i.Issuer] = &issuer{i, r}
		return nil
	}
	set, err := parseSet(i.Keys.Inline)
	if err != nil {
		return err
	}
	if len(set.keys) == 0 || len(set.problems) > 0 {
		return fmt.Errorf("key set: %d usable keys; %s", len(set.keys), strings.Join(set.problems, "; "))
	}
	v.issuers[i.Issuer] = &issuer{i, inline{set}}
	return nil
}

// Knows reports whether an issuer is one of ours.
func (v *Verifier) Knows(issuer string) bool { return v.issuers[issuer] != nil }

// Peek says who a token claims to be from, and whether it has the shape of a JWT at all. Nothing is verified: it is for choosing
// whom to ask.
func Peek(compact string) (issuer string, jwt bool) {
	if strings.Count(compact, ".") != 2 || len(compact) > MaxTokenBytes {
		return "", false
	}
	_, rest, _ := strings.Cut(compact, ".")
	body, _, _ := strings.Cut(rest, ".")
	b, ok := decodeBase64(body)
	if !ok {
		return "", true
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return "", true
	}
	return claims.Issuer, true
}

// Run keeps the remote keys fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, r := range v.remotes {
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
	<-ctx.Done()
	return nil
}

// Close ends the fetches that are under way and waits for them. Afterwards no keys are fetched.
func (v *Verifier) Close() {
	v.stop()
	for _, r := range v.remotes {
		r.close()
	}
	v.fetches.Wait()
}

// Verify returns the claims of a token that an issuer vouches for, now, for one of its audiences. The claims are shared and
// must not be changed.
func (v *Verifier) Verify(ctx context.Context, compact string) (*identity.Claims, error) {
	if compact == "" {
		return nil, ErrNoToken
	}
	if len(compact) > MaxTokenBytes {
		return nil, refuse(ErrTooLarge, "%d bytes, limit %d", len(compact), MaxTokenBytes)
	}
	now := v.now()
	var short [2 << 10]byte // most tokens; the copy of a longer one is allocated
	digest := sha256.Sum256(append(short[:0], compact...))
	if e := v.good.get(digest, now); e != nil {
		if e.set == e.issuer.keys.current() {
			return e.claims, nil
		}
		v.good.remove(digest)
	}
	t, err := parse(compact)
	if err != nil {
		return nil, err
	}
	i := v.issuers[t.claims.Issuer]
	if i == nil {
		return nil, refuse(ErrIssuer, "%q", clip(t.claims.Issuer))
	}
	if err := i.judge(t, now); err != nil {
		return nil, err
	}
	set, k, err := i.key(ctx, t)
	if err != nil {
		return nil, err
	}
	if e := v.bad.get(digest, now); e != nil && e.set == set {
		return nil, ErrSignature
	}
	if err := checkSignature(compact, t, k); err != nil {
		v.bad.put(digest, &entry{issuer: i, set: set, until: now.Add(badFor)})
		return nil, err
	}
	claims := t.claims
	v.good.put(digest, &entry{issuer: i, set: set, claims: &claims, until: claims.Expiry})
	return &claims, nil
}

// judge checks everything that needs no key.
func (i *issuer) judge(t *token, now time.Time) error {
	c := &t.claims
	switch {
	case !slices.Contains(i.Algorithms, t.alg):
		return refuse(ErrAlgorithm, "%q", clip(t.alg))
	case len(i.Types) > 0 && !slices.ContainsFunc(i.Types, func(s string) bool { return equalFoldASCII(s, t.typ) }):
		return refuse(ErrHeader, "header typ %q", clip(t.typ))
	case !now.Before(c.Expiry.Add(i.ClockSkew)):
		return refuse(ErrExpired, "at %s", c.Expiry.UTC().Format(time.RFC3339))
	case t.nbf != nil && t.nbf.After(now.Add(i.ClockSkew)):
		return refuse(ErrNotYet, "nbf is %s", t.nbf.UTC().Format(time.RFC3339))
	case t.iat != nil && t.iat.After(now.Add(i.ClockSkew)):
		return refuse(ErrNotYet, "iat is %s", t.iat.UTC().Format(time.RFC3339))
	case t.iat != nil && !t.iat.Before(c.Expiry):
		return refuse(ErrClaims, "claims: exp is not after iat")
	case i.MaxLifetime > 0 && t.iat == nil:
		return refuse(ErrLifetime, "no iat")
	case i.MaxLifetime > 0 && c.Expiry.Sub(*t.iat) > i.MaxLifetime:
		return refuse(ErrLifetime, "%s, limit %s", c.Expiry.Sub(*t.iat), i.MaxLifetime)
	}
	if i.AnyAudience == "" && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(i.Audiences, a) }) {
		return refuse(ErrAudience, "aud of %d entries", len(c.Audience))
	}
	for n, r := range i.RequiredClaims {
		if !chain.Has(c.Raw, r.Path, r.Match) {
			return refuse(ErrClaims, "claims: requiredClaims[%d] (%s) does not match", n, strings.Join(r.Path, "."))
		}
	}
	return nil
}

// equalFoldASCII compares without Unicode's folding: a media type is ASCII.
func equalFoldASCII(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// key returns the key for a token and the set it is from. If there is none, the keys are fetched anew once.
func (i *issuer) key(ctx context.Context, t *token) (*keySet, *key, error) {
	set := i.keys.current()
	if set != nil {
		if k := set.find(t.kid, t.alg); k != nil {
			return set, k, nil
		}
	}
	i.keys.renew(ctx)
	if set = i.keys.current(); set == nil {
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
		}
		return nil, nil, fmt.Errorf("%w: issuer %q", ErrKeysUnavailable, i.Issuer.Issuer)
	}
	if k := set.find(t.kid, t.alg); k != nil {
		return set, k, nil
	}
	return nil, nil, refuse(ErrUnknownKey, "kid %q for %s", clip(t.kid), t.alg)
}

// checkSignature has jwx verify the whole token, and wants back the payload that was read.
func checkSignature(compact string, t *token, k *key) error {
	payload, err := jws.Verify([]byte(compact), jws.WithKey(algorithms[t.alg], k.public), jws.WithCompact())
	if err != nil || !bytes.Equal(payload, t.claims.Raw) {
		return ErrSignature
	}
	return nil
}
