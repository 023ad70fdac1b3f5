package chain_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/identity/jwks"
)

const (
	sts   = "https://sts.example.com"
	other = "https://other.example.com"
)

// signer signs tokens of an issuer.
type signer struct {
	issuer string
	key    ed25519.PrivateKey
}

func newSigner(issuer string, seed byte) signer {
	s := make([]byte, ed25519.SeedSize)
	s[0] = seed
	return signer{issuer, ed25519.NewKeyFromSeed(s)}
}

func (s signer) set() []byte {
	x := base64.RawURLEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
	return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","x":"` + x + `"}]}`)
}

func (s signer) sign(claims map[string]any) string {
	b, _ := json.Marshal(claims, json.Deterministic(true))
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(b)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key, []byte(signed)))
}

// nest makes the claim act of actors, the first one that acted first.
func nest(actors []identity.Actor) jsontext.Value {
	var act jsontext.Value
	for _, a := range actors {
		act = chain.Append(a, act)
	}
	return act
}

// Random chains that were really signed pass. Not one of their mutations does, be it of what was signed or of who signs.
func TestMutations(t *testing.T) {
	const chains = 10_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	d := rand.New(rand.NewPCG(seed, 7))
	ours, theirs, forger := newSigner(sts, 1), newSigner(other, 2), newSigner(sts, 3)
	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{
		{Issuer: sts, Audiences: []string{"mcp"}, Algorithms: []string{"EdDSA"}, Keys: jwks.Keys{Inline: ours.set()}},
		{Issuer: other, Audiences: []string{"mcp"}, Algorithms: []string{"EdDSA"}, Keys: jwks.Keys{Inline: theirs.set()}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	accepts := func(token string, spec *v1alpha1.DelegationChain, who identity.ID) bool {
		claims, err := v.Verify(context.Background(), token)
		if err != nil {
			return false
		}
		r, problems := chain.New(chain.Options{Spec: spec, TrustDomains: []identity.TrustDomain{who.TrustDomain()}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return r.Check(chain.Presenter{ID: who}, claims, time.Now()) == nil
	}
	tried := map[string]int{}
	for n := range chains {
		depth := 1 + d.IntN(8)
		actors := make([]identity.Actor, depth)
		limit := int32(depth)
		spec := &v1alpha1.DelegationChain{MaxDepth: &limit, User: &v1alpha1.ChainUser{RequiredClaims: []v1alpha1.ClaimMatch{{Claim: "iss", Values: []v1alpha1.StringMatch{sts}}}}}
		for i := range actors {
			actors[i].Subject = fmt.Sprintf("spiffe://cluster.local/ns/n%d/sa/%d-%d", d.IntN(3), n, i)
			spec.Actors = append(spec.Actors, v1alpha1.ActorStep{AnyOf: []v1alpha1.StringMatch{v1alpha1.StringMatch(actors[i].Subject)}})
		}
		caller := identity.RequireID(actors[depth-1].Subject)
		good := map[string]any{"iss": sts, "sub": "alice", "aud": "mcp", "exp": time.Now().Add(time.Hour).Unix(), "act": nest(actors)}
		c := &identity.Claims{Issuer: sts, Subject: "alice", Raw: jsontext.Value("{}")}
		for _, a := range slices.Backward(actors) {
			c.Actors = append(c.Actors, a)
		}
		good[chain.DigestClaim] = chain.Digest(c)
		if !accepts(ours.sign(good), spec, caller) {
			t.Fatalf("seed %d: chain %d of depth %d is refused", seed, n, depth)
		}
		kind, token, who := mutate(d, good, actors, caller, ours, theirs, forger)
		tried[kind]++
		if accepts(token, spec, who) {
			t.Fatalf("seed %d: chain %d: %s was accepted: %s", seed, n, kind, token)
		}
	}
	t.Logf("mutations: %v", tried)
	if len(tried) < 9 {
		t.Errorf("only these mutations: %v", tried)
	}
}

// mutate changes one thing. Each second time the digest of the chain is left out, so that the rest has to notice.
func mutate(d *rand.Rand, good map[string]any, actors []identity.Actor, caller identity.ID, ours, theirs, forger signer) (string, string, identity.ID) {
	claims := map[string]any{}
	for k, v := range good {
		if k != chain.DigestClaim || d.IntN(2) == 0 {
			claims[k] = v
		}
	}
	list := slices.Clone(actors)
	at := d.IntN(len(list))
	switch d.IntN(10) {
	case 0:
		claims["act"] = nest(slices.Delete(list, at, at+1))
		if len(list) == 1 {
			delete(claims, "act")
		}
		return "truncated", ours.sign(claims), caller
	case 1:
		if len(list) > 1 {
			k := (at + 1) % len(list)
			list[at], list[k] = list[k], list[at]
			claims["act"] = nest(list)
			return "reordered", ours.sign(claims), caller
		}
		fallthrough
	case 2:
		list[at].Subject += "x"
		claims["act"] = nest(list)
		return "forged actor", ours.sign(claims), caller
	case 3:
		list[at].Issuer = other
		claims["act"] = nest(list)
		return "foreign actor", ours.sign(claims), caller
	case 4:
		claims["act"] = nest(slices.Insert(list, at, identity.Actor{Subject: "more"}))
		return "deeper", ours.sign(claims), caller
	case 5:
		claims["act"] = nest(slices.Insert(list, at, list[at]))
		return "doubled", ours.sign(claims), caller
	case 6:
		return "forged signature", forger.sign(claims), caller
	case 7:
		claims["iss"] = other
		return "another issuer", theirs.sign(claims), caller
	case 8:
		token := []byte(ours.sign(claims))
		i := 24 + d.IntN(len(token)-24-2)
		for token[i] == '.' {
			i++
		}
		token[i] ^= 1
		return "a bit", string(token), caller
	}
	return "stolen", ours.sign(claims), identity.RequireID("spiffe://cluster.local/ns/dark/sa/thief")
}
