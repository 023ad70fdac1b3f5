package sts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/pkg/oauth"
)

// MaxSkew is how far the wall clock may go back before nothing is signed any more.
const MaxSkew = 5 * time.Minute

// key is one that signs.
type key struct {
	id    string
	alg   jwa.SignatureAlgorithm
	key   crypto.Signer
	since time.Time // when it was published
}

// Keys are the keys of a token service. A new one is published for a while before it signs, and an old one stays published as long
// as a token that it has signed can live. It is safe for use by many.
type Keys struct {
	overlap time.Duration
	every   time.Duration // after which a new one is made; 0: they come from a directory
	dir     string
	now     func() time.Time

	mu     sync.Mutex
	keys   []*key // the one that was published first in front
	latest time.Time
}

// GenerateKeys makes keys in memory, a new one every so often. It is for one replica: nobody else has them.
func GenerateKeys(every, overlap time.Duration, now func() time.Time) (*Keys, error) {
	if every <= 2*overlap || overlap <= 0 {
		return nil, errors.New("sts: keys have to live longer than two overlaps")
	}
	k := &Keys{overlap: overlap, every: every, now: now}
	return k, k.Refresh()
}

// LoadKeys reads keys from a directory: files NAME.pem with one private key each (PKCS #8, ECDSA P-256 or Ed25519), NAME is the kid.
// The one with the newest file signs once it has been there for overlap. Call Refresh to look again.
func LoadKeys(dir string, overlap time.Duration, now func() time.Time) (*Keys, error) {
	k := &Keys{dir: dir, overlap: overlap, now: now}
	return k, k.Refresh()
}

// Refresh takes over what has changed in the directory, or makes a new key if it is time. Keys that cannot be read leave those
// that there were.
func (k *Keys) Refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dir == "" {
		return k.rotate()
	}
	keys, err := readKeys(k.dir)
	if err != nil {
		return err
	}
	for _, was := range k.keys { // what was seen first stays so, whatever the file says now
		for _, is := range keys {
			if is.id == was.id && was.since.Before(is.since) {
				is.since = was.since
			}
		}
	}
	slices.SortFunc(keys, func(a, b *key) int { return a.since.Compare(b.since) })
	k.keys = keys
	return nil
}

// rotate makes a new key when the last one is old enough, and drops those that no token can be signed with any more.
func (k *Keys) rotate() error {
	now := k.now()
	if n := len(k.keys); n == 0 || now.Sub(k.keys[n-1].since) >= k.every {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		var id [12]byte
		_, _ = rand.Read(id[:]) // never fails (crypto/rand)
		k.keys = append(k.keys, &key{base64.RawURLEncoding.EncodeToString(id[:]), jwa.ES256(), private, now})
	}
	for len(k.keys) > 1 && now.Sub(k.keys[1].since) > k.overlap+24*time.Hour {
		k.keys = k.keys[1:]
	}
	return nil
}

func readKeys(dir string) ([]*key, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("sts: %s has no file that ends in .pem", dir)
	}
	var keys []*key
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("sts: %w", err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("sts: %w", err)
		}
		private, err := oauth.ParseKey(b)
		if err != nil {
			return nil, fmt.Errorf("sts: %s: %w", name, err)
		}
		one := &key{id: strings.TrimSuffix(filepath.Base(name), ".pem"), since: info.ModTime()}
		switch p := private.(type) {
		case *ecdsa.PrivateKey:
			if p.Curve != elliptic.P256() {
				return nil, fmt.Errorf("sts: %s: is not of P-256", name)
			}
			one.key, one.alg = p, jwa.ES256()
		case ed25519.PrivateKey:
			one.key, one.alg = p, jwa.EdDSA()
		default:
			return nil, fmt.Errorf("sts: %s: is neither ECDSA nor Ed25519", name)
		}
		keys = append(keys, one)
	}
	return keys, nil
}

// signing is the newest key that everybody has had time to fetch, and the oldest one if there is none.
func (k *Keys) signing(now time.Time) (*key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.latest.Add(-MaxSkew)) {
		return nil, fmt.Errorf("the clock went back by %s: nothing is signed", k.latest.Sub(now).Round(time.Second))
	}
	if now.After(k.latest) {
		k.latest = now
	}
	chosen := k.keys[0]
	for _, one := range k.keys {
		if now.Sub(one.since) >= k.overlap {
			chosen = one
		}
	}
	return chosen, nil
}

// sign returns a compact JWS.
func (k *Keys) sign(claims []byte, typ string, now time.Time) (string, error) {
	one, err := k.signing(now)
	if err != nil {
		return "", err
	}
	h := jws.NewHeaders()
	if err := errors.Join(h.Set(jws.KeyIDKey, one.id), h.Set(jws.TypeKey, typ)); err != nil {
		return "", err
	}
	b, err := jws.Sign(claims, jws.WithKey(one.alg, one.key, jws.WithProtectedHeaders(h)))
	return string(b), err
}

// jwk is a public key (RFC 7517, RFC 7518 section 6.2, RFC 8037).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y,omitempty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
}

// JWKS is the key set that is published.
func (k *Keys) JWKS() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	for _, one := range k.keys {
		j := jwk{Kid: one.id, Use: "sig", Alg: one.alg.String()}
		switch p := one.key.Public().(type) {
		case *ecdsa.PublicKey:
			point, err := p.Bytes() // 4, x, y
			if err != nil || len(point) != 65 {
				continue
			}
			j.Kty, j.Crv = "EC", "P-256"
			j.X, j.Y = base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
		case ed25519.PublicKey:
			j.Kty, j.Crv, j.X = "OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(p)
		}
		set.Keys = append(set.Keys, j)
	}
	b, _ := json.Marshal(set) // nothing in it can fail
	return b
}
