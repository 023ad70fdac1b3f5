package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// Bounds of a key set.
const (
	MaxSetBytes = 256 << 10
	MaxKeys     = 100
	minRSABits  = 2048
	maxRSABits  = 8192
)

var keyNames = []string{"kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// key is one public key that may verify signatures.
type key struct {
	kid, kty string
	alg      string   // the only algorithm it is for, "" for all that fit
	fits     []string // the algorithms that fit its kind
	public   any      // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func (k *key) verifies(alg string) bool {
	return slices.Contains(k.fits, alg) && (k.alg == "" || k.alg == alg)
}

func (k *key) equal(other *key) bool {
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		return p.Equal(other.public)
	case *ecdsa.PublicKey:
		return p.Equal(other.public)
	case ed25519.PublicKey:
		return p.Equal(other.public)
	}
	return false
}

// keySet is the keys of one issuer at one time. It never changes: a new one is another generation.
type keySet struct {
	keys     []*key
	problems []string // of keys that are left out
}

// find returns the key for a token. A token without kid is verified only if exactly one key can be meant.
func (s *keySet) find(kid, alg string) *key {
	var found *key
	for _, k := range s.keys {
		if k.kid != kid && kid != "" || !k.verifies(alg) {
			continue
		}
		if found != nil {
			return nil
		}
		found = k
	}
	return found
}

// parseSet reads a key set. Private and symmetric keys spoil the whole set, since whoever published them has lost them; keys
// that are weak, of an unknown kind, or not for signatures are left out, as are keys that share kid and kind.
func parseSet(b []byte) (*keySet, error) {
	l := jsonrpc.Limits{
		Bytes: MaxSetBytes, Envelope: 8, Depth: 8, Members: 64, Values: 64 << 10, String: 64 << 10, Number: 64, Name: 256,
	}
	o, err := object("key set", b, l, []string{"keys"})
	if err != nil {
		return nil, errors.New(err.Error()) // a bad key set is no bad token
	}
	list, ok := jsonrpc.Elements(o.Get("keys"))
	switch {
	case !ok:
		return nil, errors.New("key set: keys is missing, or no list")
	case len(list) > MaxKeys:
		return nil, fmt.Errorf("key set: %d keys, limit %d", len(list), MaxKeys)
	}
	s := new(keySet)
	twice := map[*key]bool{}
	for i, m := range list {
		members, ok := jsonrpc.Members(m.Value)
		if !ok {
			return nil, fmt.Errorf("key set: keys[%d] is no object", i)
		}
		if twin := members.Twin(keyNames...); twin != "" {
			return nil, fmt.Errorf("key set: keys[%d]: member %q looks like another", i, clip(twin))
		}
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if members.Find(name) != nil {
				return nil, fmt.Errorf("key set: keys[%d] is a private or symmetric key", i)
			}
		}
		k, err := parseKey(members)
		if err != nil {
			s.problems = append(s.problems, fmt.Sprintf("keys[%d]: %s", i, err))
			continue
		}
		s.add(k, twice)
	}
	s.keys = slices.DeleteFunc(s.keys, func(k *key) bool {
		if twice[k] {
			s.problems = append(s.problems, fmt.Sprintf("kid %q names several keys", clip(k.kid)))
		}
		return twice[k]
	})
	return s, nil
}

// add appends a key, unless it is there already, and notes in twice the keys of which a token could mean either.
func (s *keySet) add(k *key, twice map[*key]bool) {
	for _, other := range s.keys {
		if k.kid == "" || other.kid != k.kid || other.kty != k.kty {
			continue
		}
		if k.equal(other) && k.alg == other.alg {
			return
		}
		if k.alg == "" || other.alg == "" || k.alg == other.alg {
			twice[k], twice[other] = true, true
		}
	}
	s.keys = append(s.keys, k)
}

func parseKey(o jsonrpc.Object) (*key, error) {
	k := new(key)
	var use string
	for _, m := range []struct {
		name string
		to   *string
	}{{"kty", &k.kty}, {"kid", &k.kid}, {"alg", &k.alg}, {"use", &use}} {
		if o.Find(m.name) == nil {
			continue
		}
		var ok bool
		if *m.to, ok = o.String(m.name); !ok || *m.to == "" || len(*m.to) > maxKeyID {
			return nil, fmt.Errorf("%s is no string, empty or too long", m.name)
		}
	}
	if use != "" && use != "sig" {
		return nil, fmt.Errorf("use %q is not for signatures", clip(use))
	}
	if err := checkOperations(o); err != nil {
		return nil, err
	}
	var err error
	switch k.kty {
	case "RSA":
		k.fits = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		k.public, err = rsaKey(o)
	case "EC":
		k.public, k.fits, err = ecKey(o)
	case "OKP":
		k.fits = []string{"EdDSA"}
		k.public, err = edKey(o)
	default:
		return nil, fmt.Errorf("kty %q is unknown", clip(k.kty))
	}
	if err != nil {
		return nil, err
	}
	if k.alg != "" && !slices.Contains(k.fits, k.alg) {
		return nil, fmt.Errorf("alg %q does not fit the key", clip(k.alg))
	}
	return k, nil
}

// checkOperations wants verify among the key's operations, if it lists any.
func checkOperations(o jsonrpc.Object) error {
	if o.Find("key_ops") == nil {
		return nil
	}
	list, ok := jsonrpc.Elements(o.Get("key_ops"))
	if !ok {
		return errors.New("key_ops is no list")
	}
	seen, verify := map[string]bool{}, false
	for _, m := range list {
		op, ok := jsonrpc.String(m.Value)
		if !ok || seen[op] {
			return errors.New("key_ops has an entry that is no string, or twice there")
		}
		seen[op] = true
		verify = verify || op == "verify"
	}
	if !verify {
		return errors.New("key_ops is not for verifying")
	}
	return nil
}

func bytesOf(o jsonrpc.Object, name string) ([]byte, error) {
	s, _ := o.String(name)
	b, ok := decodeBase64(s)
	if !ok {
		return nil, fmt.Errorf("%s is not canonical base64url", name)
	}
	return b, nil
}

func rsaKey(o jsonrpc.Object) (any, error) {
	n, err := bytesOf(o, "n")
	if err != nil {
		return nil, err
	}
	e, err := bytesOf(o, "e")
	if err != nil {
		return nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch bits := modulus.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return nil, fmt.Errorf("RSA key of %d bits, want %d to %d", bits, minRSABits, maxRSABits)
	case modulus.Bit(0) == 0:
		return nil, errors.New("RSA modulus is even")
	case exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3:
		return nil, errors.New("RSA exponent is even, below 3 or above 2^31")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func ecKey(o jsonrpc.Object) (any, []string, error) {
	crv, _ := o.String("crv")
	var curve elliptic.Curve
	var alg string
	switch crv {
	case "P-256":
		curve, alg = elliptic.P256(), "ES256"
	case "P-384":
		curve, alg = elliptic.P384(), "ES384"
	case "P-521":
		curve, alg = elliptic.P521(), "ES512"
	default:
		return nil, nil, fmt.Errorf("curve %q is unknown", clip(crv))
	}
	x, err := bytesOf(o, "x")
	if err != nil {
		return nil, nil, err
	}
	y, err := bytesOf(o, "y")
	if err != nil {
		return nil, nil, err
	}
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, nil, fmt.Errorf("coordinates of %d and %d bytes, want %d", len(x), len(y), size)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	return public, []string{alg}, err
}

func edKey(o jsonrpc.Object) (any, error) {
	if crv, _ := o.String("crv"); crv != "Ed25519" {
		return nil, fmt.Errorf("curve %q is unknown", clip(crv))
	}
	x, err := bytesOf(o, "x")
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key of %d bytes, want %d", len(x), ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}
