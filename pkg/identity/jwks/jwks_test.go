package jwks_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/identity/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	idp   = "https://idp.example.com"
	other = "https://other.example.com"
	now   = 1_800_000_000
)

func clock() time.Time { return time.Unix(now, 0) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signer is a private key, and what a token of it says.
type signer struct {
	alg, kid string
	private  crypto.Signer
}

// keys are made once: RSA keys take their time.
var keys = sync.OnceValue(func() map[string]*signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		return must(k, err)
	}
	rs := func(bits int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		return must(k, err)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	r := rs(2048)
	m := map[string]*signer{}
	for _, s := range []*signer{
		{"RS256", "rsa", r}, {"RS384", "rsa", r}, {"RS512", "rsa", r}, {"PS256", "rsa", r}, {"PS384", "rsa", r}, {"PS512", "rsa", r},
		{"ES256", "p256", ec(elliptic.P256())}, {"ES384", "p384", ec(elliptic.P384())}, {"ES512", "p521", ec(elliptic.P521())},
		{"EdDSA", "ed", ed},
	} {
		m[s.alg] = s
	}
	m["stranger"] = &signer{"ES256", "p256", ec(elliptic.P256())}
	m["foreign"] = &signer{"ES256", "foreign", ec(elliptic.P256())}
	return m
})

var algs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (s *signer) sign(signed string) []byte {
	if k, ok := s.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(k, []byte(signed))
	}
	h := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[s.alg[2:]]
	d := h.New()
	d.Write([]byte(signed))
	switch k := s.private.(type) {
	case *ecdsa.PrivateKey:
		r, q, err := ecdsa.Sign(rand.Reader, k, d.Sum(nil))
		if err != nil {
			panic(err)
		}
		n := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), q.FillBytes(make([]byte, n))...)
	case *rsa.PrivateKey:
		var sig []byte
		var err error
		if s.alg[0] == 'P' {
			sig, err = rsa.SignPSS(rand.Reader, k, h, d.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, h, d.Sum(nil))
		}
		if err != nil {
			panic(err)
		}
		return sig
	}
	panic("no such key")
}

// token signs header and claims as they are written.
func (s *signer) token(header, claims string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(s.sign(signed))
}

func (s *signer) jwk(more string) string {
	kid := ""
	if s.kid != "" {
		kid = fmt.Sprintf(`"kid":%q,`, s.kid)
	}
	switch k := s.private.Public().(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf(`{%s"kty":"RSA","n":%q,"e":%q%s}`, kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes()), more)
	case *ecdsa.PublicKey:
		b, _ := k.Bytes()
		n := len(b) / 2
		return fmt.Sprintf(`{%s"kty":"EC","crv":%q,"x":%q,"y":%q%s}`, kid, k.Curve.Params().Name, b64(b[1:n+1]), b64(b[n+1:]), more)
	case ed25519.PublicKey:
		return fmt.Sprintf(`{%s"kty":"OKP","crv":"Ed25519","x":%q%s}`, kid, b64(k), more)
	}
	panic("no such key")
}

func set(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func allKeys() []byte {
	k := keys()
	return set(k["RS256"].jwk(""), k["ES256"].jwk(""), k["ES384"].jwk(""), k["ES512"].jwk(""), k["EdDSA"].jwk(""))
}

func header(s *signer) string { return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, s.alg, s.kid) }

// claims are good ones with members replaced: name, raw value, and so on. An empty value leaves the member out.
func claims(replace ...string) string {
	list := [][2]string{
		{"iss", `"` + idp + `"`}, {"sub", `"alice"`}, {"aud", `"bank"`}, {"iat", fmt.Sprint(now - 60)}, {"exp", fmt.Sprint(now + 300)},
	}
next:
	for i := 0; i < len(replace); i += 2 {
		for j := range list {
			if list[j][0] == replace[i] {
				list[j][1] = replace[i+1]
				continue next
			}
		}
		list = append(list, [2]string{replace[i], replace[i+1]})
	}
	var out []string
	for _, m := range list {
		if m[1] != "" {
			out = append(out, fmt.Sprintf("%q:%s", m[0], m[1]))
		}
	}
	return "{" + strings.Join(out, ",") + "}"
}

func issuer() jwks.Issuer {
	return jwks.Issuer{
		Issuer: idp, Audiences: []string{"bank", "coach"}, Algorithms: algs, ClockSkew: 10 * time.Second, Keys: jwks.Keys{Inline: allKeys()},
	}
}

func verifier(t testing.TB, issuers ...jwks.Issuer) *jwks.Verifier {
	t.Helper()
	v, err := jwks.New(jwks.Options{Issuers: issuers, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestGoodTokens(t *testing.T) {
	v := verifier(t, issuer())
	for _, alg := range algs {
		s := keys()[alg]
		for range 2 { // the second is from the cache
			c, err := v.Verify(t.Context(), s.token(header(s), claims("scope", `"a b"`)))
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if c.Issuer != idp || c.Subject != "alice" || len(c.Audience) != 1 || c.Expiry.Unix() != now+300 || string(c.Raw) != claims("scope", `"a b"`) {
				t.Errorf("%s: %+v", alg, c)
			}
		}
	}
}

// TestTokens: one good token, and one defect (or one harmless difference) each.
func TestTokens(t *testing.T) {
	es, rs := keys()["ES256"], keys()["RS256"]
	h, good := header(es), es.token(header(es), claims())
	parts := strings.Split(good, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	with := func(replace ...string) string { return es.token(h, claims(replace...)) }
	head := func(more string) string {
		return es.token(`{"alg":"ES256","kid":"p256"`+more+`}`, claims())
	}
	at := func(d int) string { return fmt.Sprint(now + d) }
	mac := func(alg string, key []byte) string {
		signed := b64([]byte(`{"alg":"`+alg+`","kid":"rsa"}`)) + "." + parts[1]
		m := hmac.New(sha256.New, key)
		m.Write([]byte(signed))
		return signed + "." + b64(m.Sum(nil))
	}
	flip := func(i int) string {
		b := bytes.Clone(sig)
		b[i] ^= 1
		return parts[0] + "." + parts[1] + "." + b64(b)
	}
	type test struct {
		name, token string
		want        error
	}
	tests := []test{
		{"good", good, nil},
		{"no typ", head(""), nil},
		{"unknown header member", head(`,"foo":{"a":[1,2]}`), nil},
		{"x5t is a hint only", head(`,"x5t":"abc"`), nil},
		{"spaces in header", es.token(`{ "alg" : "ES256" , "kid" : "p256" }`, claims()), nil},
		{"escaped claims name, one only", es.token(h, strings.Replace(claims(), `"sub"`, `"s\u0075b"`, 1)), nil},
		{"aud list", with("aud", `["x","bank"]`), nil},
		{"second audience", with("aud", `"coach"`), nil},
		{"no sub", with("sub", ""), nil},
		{"no iat", with("iat", ""), nil},
		{"fractional exp", with("exp", at(5)+".75"), nil},
		{"nbf now", with("nbf", at(0)), nil},
		{"nbf within skew", with("nbf", at(10)), nil},
		{"iat within skew", with("iat", at(10)), nil},
		{"expired within skew", with("exp", at(-9)), nil},
		{"nested act", with("act", `{"sub":"coach","act":{"sub":"butler"}}`), nil},
		{"large integer in an unknown claim", with("n", "12345678901234567890"), nil},
		{"escaped backslash before u0000", with("x", `"\\u0000"`), nil},
		{"depth 30", with("x", strings.Repeat("[", 30)+strings.Repeat("]", 30)), nil},
		{"no kid, one key fits", es.token(`{"alg":"ES256"}`, claims()), nil},

		{"empty", "", jwks.ErrNoToken},
		{"too large", good + strings.Repeat("A", jwks.MaxTokenBytes), jwks.ErrTooLarge},
		{"mebibyte of dots", strings.Repeat(".", 1<<20), jwks.ErrTooLarge},
		{"one dot", ".", jwks.ErrMalformed},
		{"two dots", "..", jwks.ErrMalformed},
		{"16 KiB of dots", strings.Repeat(".", jwks.MaxTokenBytes), jwks.ErrMalformed},
		{"word", "opaque", jwks.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], jwks.ErrMalformed},
		{"four parts", good + ".AA", jwks.ErrMalformed},
		{"JWE", good + ".AA.AA", jwks.ErrHeader},
		{"six parts", good + ".AA.AA.AA", jwks.ErrMalformed},
		{"empty header", "." + parts[1] + "." + parts[2], jwks.ErrMalformed},
		{"empty payload", parts[0] + ".." + parts[2], jwks.ErrMalformed},
		{"empty signature", parts[0] + "." + parts[1] + ".", jwks.ErrMalformed},
		{"padding", good + "=", jwks.ErrMalformed},
		{"padding in header", parts[0] + "=." + parts[1] + "." + parts[2], jwks.ErrMalformed},
		{"standard alphabet +", parts[0] + "." + parts[1] + ".+" + parts[2][1:], jwks.ErrMalformed},
		{"standard alphabet /", parts[0] + "." + parts[1] + "./" + parts[2][1:], jwks.ErrMalformed},
		{"line end", good + "\n", jwks.ErrMalformed},
		{"carriage return inside", parts[0] + "\r." + parts[1] + "." + parts[2], jwks.ErrMalformed},
		{"space before", " " + good, jwks.ErrMalformed},
		{"space after", good + " ", jwks.ErrMalformed},
		{"tab inside", parts[0] + ".\t" + parts[1] + "." + parts[2], jwks.ErrMalformed},
		{"NUL after", good + "\x00", jwks.ErrMalformed},
		{"Bearer before", "Bearer " + good, jwks.ErrMalformed},
		{"two tokens", good + "," + good, jwks.ErrHeader},
		{"letter outside ASCII", parts[0] + ".é" + parts[1] + "." + parts[2], jwks.ErrMalformed},
		{"length 1 mod 4", parts[0] + "." + parts[1] + "." + parts[2] + "AAA", jwks.ErrMalformed},
		{"JSON serialization", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, jwks.ErrMalformed},

		{"header is a list", es.token(`["ES256"]`, claims()), jwks.ErrMalformed},
		{"header is a string", es.token(`"ES256"`, claims()), jwks.ErrMalformed},
		{"header is null", es.token(`null`, claims()), jwks.ErrMalformed},
		{"header is empty object", es.token(`{}`, claims()), jwks.ErrMalformed},
		{"header ends early", es.token(`{"alg":"ES256"`, claims()), jwks.ErrMalformed},
		{"header and more", es.token(h+"{}", claims()), jwks.ErrMalformed},
		{"header with BOM", es.token("\ufeff"+h, claims()), jwks.ErrMalformed},
		{"header with a comment", es.token(`{/**/"alg":"ES256"}`, claims()), jwks.ErrMalformed},
		{"header with invalid UTF-8", head(",\"a\":\"\xff\""), jwks.ErrMalformed},
		{"alg twice", es.token(`{"alg":"ES256","kid":"p256","alg":"ES256"}`, claims()), jwks.ErrAmbiguous},
		{"alg twice, once escaped", es.token(`{"alg":"ES256","kid":"p256","\u0061lg":"none"}`, claims()), jwks.ErrAmbiguous},
		{"kid twice", head(`,"kid":"p256"`), jwks.ErrAmbiguous},
		{"Alg", head(`,"Alg":"none"`), jwks.ErrAmbiguous},
		{"KID with a Kelvin sign", head(",\"\u212aid\":\"x\""), jwks.ErrAmbiguous},
		{"CRIT", head(`,"CRIT":["x"]`), jwks.ErrAmbiguous},
		{"alg with NUL in its name", head(`,"alg\u0000":"none"`), jwks.ErrAmbiguous},
		{"NUL in kid", es.token(`{"alg":"ES256","kid":"p256\u0000"}`, claims()), jwks.ErrMalformed},
		{"crit", head(`,"crit":["exp"],"exp":1`), jwks.ErrHeader},
		{"crit empty", head(`,"crit":[]`), jwks.ErrHeader},
		{"crit null", head(`,"crit":null`), jwks.ErrHeader},
		{"zip", head(`,"zip":"DEF"`), jwks.ErrHeader},
		{"b64 false", head(`,"b64":false`), jwks.ErrHeader},
		{"b64 false and crit", head(`,"b64":false,"crit":["b64"]`), jwks.ErrHeader},
		{"b64 true", head(`,"b64":true`), jwks.ErrHeader},
		{"jku", head(`,"jku":"https://evil.example/keys"`), jwks.ErrHeader},
		{"x5u", head(`,"x5u":"https://evil.example/cert"`), jwks.ErrHeader},
		{"jwk", keys()["stranger"].token(`{"alg":"ES256","jwk":`+keys()["stranger"].jwk("")+`}`, claims()), jwks.ErrHeader},
		{"x5c", head(`,"x5c":["AA=="]`), jwks.ErrHeader},
		{"enc", head(`,"enc":"A128GCM"`), jwks.ErrHeader},
		{"cty JWT", head(`,"cty":"JWT"`), jwks.ErrHeader},
		{"alg null", es.token(`{"alg":null,"kid":"p256"}`, claims()), jwks.ErrClaims},
		{"alg number", es.token(`{"alg":256,"kid":"p256"}`, claims()), jwks.ErrClaims},
		{"alg list", es.token(`{"alg":["ES256"],"kid":"p256"}`, claims()), jwks.ErrClaims},
		{"alg empty", es.token(`{"alg":"","kid":"p256"}`, claims()), jwks.ErrClaims},
		{"no alg", es.token(`{"kid":"p256"}`, claims()), jwks.ErrMalformed},
		{"kid number", es.token(`{"alg":"ES256","kid":1}`, claims()), jwks.ErrClaims},
		{"kid empty", es.token(`{"alg":"ES256","kid":""}`, claims()), jwks.ErrClaims},
		{"kid null", es.token(`{"alg":"ES256","kid":null}`, claims()), jwks.ErrClaims},
		{"kid too long", es.token(`{"alg":"ES256","kid":"`+strings.Repeat("a", 513)+`"}`, claims()), jwks.ErrTooLarge},
		{"typ number", head(`,"typ":1`), jwks.ErrClaims},
		{"none", es.token(`{"alg":"none"}`, claims()), jwks.ErrAlgorithm},
		{"None", es.token(`{"alg":"None"}`, claims()), jwks.ErrAlgorithm},
		{"nOnE", es.token(`{"alg":"nOnE"}`, claims()), jwks.ErrAlgorithm},
		{"none without signature", b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", jwks.ErrMalformed},
		{"HS256 with the public RSA key", mac("HS256", rs.private.Public().(*rsa.PublicKey).N.Bytes()), jwks.ErrAlgorithm},
		{"HS256 with the key set", mac("HS256", allKeys()), jwks.ErrAlgorithm},
		{"HS512 with an empty key", mac("HS512", nil), jwks.ErrAlgorithm},
		{"es256", es.token(`{"alg":"es256","kid":"p256"}`, claims()), jwks.ErrAlgorithm},
		{"ES256K", es.token(`{"alg":"ES256K","kid":"p256"}`, claims()), jwks.ErrAlgorithm},
		{"RSA1_5", rs.token(`{"alg":"RSA1_5","kid":"rsa"}`, claims()), jwks.ErrAlgorithm},
		{"dir", es.token(`{"alg":"dir","kid":"p256"}`, claims()), jwks.ErrAlgorithm},
		{"Ed25519 as alg", keys()["EdDSA"].token(`{"alg":"Ed25519","kid":"ed"}`, claims()), jwks.ErrAlgorithm},

		{"kid of another algorithm", es.token(`{"alg":"ES256","kid":"rsa"}`, claims()), jwks.ErrUnknownKey},
		{"kid of another curve", es.token(`{"alg":"ES256","kid":"p384"}`, claims()), jwks.ErrUnknownKey},
		{"RS256 for an EC key", es.token(`{"alg":"RS256","kid":"p256"}`, claims()), jwks.ErrUnknownKey},
		{"unknown kid", es.token(`{"alg":"ES256","kid":"p257"}`, claims()), jwks.ErrUnknownKey},
		{"kid in another case", es.token(`{"alg":"ES256","kid":"P256"}`, claims()), jwks.ErrUnknownKey},
		{"kid is a path", es.token(`{"alg":"ES256","kid":"../../dev/null"}`, claims()), jwks.ErrUnknownKey},
		{"kid is SQL", es.token(`{"alg":"ES256","kid":"' OR 1=1 --"}`, claims()), jwks.ErrUnknownKey},
		{"kid of another issuer", keys()["foreign"].token(header(keys()["foreign"]), claims()), jwks.ErrUnknownKey},
		{"stranger's key", keys()["stranger"].token(h, claims()), jwks.ErrSignature},
		{"stranger's key without kid", keys()["stranger"].token(`{"alg":"ES256"}`, claims()), jwks.ErrSignature},
		{"first bit of the signature", flip(0), jwks.ErrSignature},
		{"last bit of the signature", flip(63), jwks.ErrSignature},
		{"signature cut", parts[0] + "." + parts[1] + "." + b64(sig[:63]), jwks.ErrSignature},
		{"signature longer", parts[0] + "." + parts[1] + "." + b64(append(bytes.Clone(sig), 0)), jwks.ErrSignature},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), jwks.ErrSignature},
		{"signature in ASN.1", parts[0] + "." + parts[1] + "." + b64(asn1(es, parts[0]+"."+parts[1])), jwks.ErrSignature},
		{"other claims", parts[0] + "." + b64([]byte(claims("sub", `"bob"`))) + "." + parts[2], jwks.ErrSignature},
		{"other header", b64([]byte(`{"alg":"ES256","kid":"p256"}`)) + "." + parts[1] + "." + parts[2], jwks.ErrSignature},
		{"PS256 signature as RS256", keys()["PS256"].token(`{"alg":"RS256","kid":"rsa"}`, claims()), jwks.ErrSignature},
		{"RS256 signature as PS256", rs.token(`{"alg":"PS256","kid":"rsa"}`, claims()), jwks.ErrSignature},
		{"RS256 signature as RS512", rs.token(`{"alg":"RS512","kid":"rsa"}`, claims()), jwks.ErrSignature},

		{"claims are a list", es.token(h, `[]`), jwks.ErrMalformed},
		{"claims are a string", es.token(h, `"x"`), jwks.ErrMalformed},
		{"claims are null", es.token(h, `null`), jwks.ErrMalformed},
		{"claims are no JSON", es.token(h, `hello`), jwks.ErrMalformed},
		{"claims end early", es.token(h, claims()[:20]), jwks.ErrMalformed},
		{"claims and more", es.token(h, claims()+" {}"), jwks.ErrMalformed},
		{"claims are a token", es.token(h, good), jwks.ErrMalformed},
		{"claims with a trailing comma", es.token(h, strings.Replace(claims(), "}", ",}", 1)), jwks.ErrMalformed},
		{"claims with NaN", with("x", "NaN"), jwks.ErrMalformed},
		{"claims with invalid UTF-8", with("x", "\"\xff\""), jwks.ErrMalformed},
		{"claims with half a surrogate", with("x", `"\ud800"`), jwks.ErrMalformed},
		{"NUL in sub", with("sub", `"alice\u0000"`), jwks.ErrMalformed},
		{"NUL in a nested claim", with("x", `{"y":["\u0000"]}`), jwks.ErrMalformed},
		{"raw NUL", with("x", "\"\x00\""), jwks.ErrMalformed},
		{"depth 33", with("x", strings.Repeat("[", 33)+strings.Repeat("]", 33)), jwks.ErrTooLarge},
		{"depth 5000", with("x", strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), jwks.ErrTooLarge},
		{"257 members", with("x", "{"+strings.Repeat(`"a":1,`, 0)+many(257)+"}"), jwks.ErrTooLarge},
		{"sub twice", es.token(h, `{"sub":"bob",`+claims()[1:]), jwks.ErrAmbiguous},
		{"iss twice", es.token(h, `{"iss":"`+idp+`",`+claims()[1:]), jwks.ErrAmbiguous},
		{"exp twice", es.token(h, `{"exp":1,`+claims()[1:]), jwks.ErrAmbiguous},
		{"duplicate in a nested claim", with("act", `{"sub":"a","sub":"b"}`), jwks.ErrAmbiguous},
		{"duplicate by escape", es.token(h, `{"\u0073ub":"bob",`+claims()[1:]), jwks.ErrAmbiguous},
		{"Sub", with("Sub", `"bob"`), jwks.ErrAmbiguous},
		{"ſub", with("ſub", `"bob"`), jwks.ErrAmbiguous},
		{"EXP only", with("exp", "", "EXP", at(60)), jwks.ErrAmbiguous},
		{"Act", with("Act", `{"sub":"x"}`), jwks.ErrAmbiguous},
		{"iss missing", with("iss", ""), jwks.ErrClaims},
		{"iss null", with("iss", "null"), jwks.ErrClaims},
		{"iss number", with("iss", "1"), jwks.ErrClaims},
		{"iss list", with("iss", `["`+idp+`"]`), jwks.ErrClaims},
		{"iss empty", with("iss", `""`), jwks.ErrClaims},
		{"iss unknown", with("iss", `"https://evil.example"`), jwks.ErrIssuer},
		{"iss with a slash", with("iss", `"`+idp+`/"`), jwks.ErrIssuer},
		{"iss in another case", with("iss", `"https://IDP.example.com"`), jwks.ErrIssuer},
		{"iss with a space", with("iss", `"`+idp+` "`), jwks.ErrIssuer},
		{"iss of the other issuer", with("iss", `"`+other+`"`), jwks.ErrUnknownKey},
		{"sub number", with("sub", "1"), jwks.ErrClaims},
		{"sub null", with("sub", "null"), jwks.ErrClaims},
		{"sub object", with("sub", `{"x":1}`), jwks.ErrClaims},
		{"sub empty", with("sub", `""`), jwks.ErrClaims},
		{"jti number", with("jti", "1"), jwks.ErrClaims},
		{"aud missing", with("aud", ""), jwks.ErrAudience},
		{"aud other", with("aud", `"shop"`), jwks.ErrAudience},
		{"aud others", with("aud", `["shop","x"]`), jwks.ErrAudience},
		{"aud in another case", with("aud", `"Bank"`), jwks.ErrAudience},
		{"aud with more", with("aud", `"bank x"`), jwks.ErrAudience},
		{"aud of a prefix", with("aud", `"ban"`), jwks.ErrAudience},
		{"aud null", with("aud", "null"), jwks.ErrClaims},
		{"aud number", with("aud", "1"), jwks.ErrClaims},
		{"aud object", with("aud", `{"bank":true}`), jwks.ErrClaims},
		{"aud empty", with("aud", `""`), jwks.ErrClaims},
		{"aud empty list", with("aud", `[]`), jwks.ErrClaims},
		{"aud nested list", with("aud", `[["bank"]]`), jwks.ErrClaims},
		{"aud mixed list", with("aud", `["bank",1]`), jwks.ErrClaims},
		{"aud list with null", with("aud", `["bank",null]`), jwks.ErrClaims},
		{"aud of 65", with("aud", `[`+strings.Repeat(`"bank",`, 64)+`"bank"]`), jwks.ErrClaims},
		{"exp missing", with("exp", ""), jwks.ErrClaims},
		{"exp null", with("exp", "null"), jwks.ErrClaims},
		{"exp string", with("exp", `"`+at(60)+`"`), jwks.ErrClaims},
		{"exp true", with("exp", "true"), jwks.ErrClaims},
		{"exp negative", with("exp", "-1"), jwks.ErrClaims},
		{"exp 0", with("exp", "0"), jwks.ErrExpired},
		{"exp with an exponent", with("exp", "1.9e9"), jwks.ErrClaims},
		{"exp 1e400", with("exp", "1e400"), jwks.ErrClaims},
		{"exp of 2^63", with("exp", "9223372036854775808"), jwks.ErrClaims},
		{"exp of 2^64 and more", with("exp", "18446744073709551616"), jwks.ErrClaims},
		{"exp in milliseconds", with("exp", at(60)+"000"), jwks.ErrClaims},
		{"exp of 65 digits", with("exp", strings.Repeat("9", 65)), jwks.ErrTooLarge},
		{"1e400 in an unknown claim", with("x", `{"y":[1e400]}`), jwks.ErrClaims},
		{"expired", with("exp", at(-11), "iat", at(-60)), jwks.ErrExpired},
		{"expired at the end of skew", with("exp", at(-10), "iat", at(-60)), jwks.ErrExpired},
		{"expired an hour ago", with("exp", at(-3600), "iat", at(-7200)), jwks.ErrExpired},
		{"nbf past skew", with("nbf", at(11)), jwks.ErrNotYet},
		{"nbf string", with("nbf", `"1"`), jwks.ErrClaims},
		{"nbf null", with("nbf", `null`), jwks.ErrClaims},
		{"iat past skew", with("iat", at(11)), jwks.ErrNotYet},
		{"iat an hour ahead", with("iat", at(3600), "exp", at(7200)), jwks.ErrNotYet},
		{"iat string", with("iat", `"1"`), jwks.ErrClaims},
		{"iat after exp", with("iat", at(5), "exp", at(4)), jwks.ErrClaims},
	}
	o := issuer()
	o.Issuer, o.Keys.Inline = other, set(keys()["foreign"].jwk(""))
	v := verifier(t, issuer(), o)
	bad := 0
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				c, err := v.Verify(t.Context(), tt.token)
				if !errors.Is(err, tt.want) || (c == nil) != (tt.want != nil) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if tt.want != nil && tt.want != jwks.ErrNoToken && !errors.Is(err, jwks.ErrInvalid) {
					t.Errorf("%v is no ErrInvalid", err)
				}
			}
		})
		if tt.want != nil {
			bad++
		}
	}
	t.Logf("%d tokens, %d of them bad", len(tests), bad)
	if len(tests) < 120 {
		t.Errorf("%d cases, want 120", len(tests))
	}
}

func asn1(s *signer, signed string) []byte {
	d := sha256.Sum256([]byte(signed))
	b, _ := ecdsa.SignASN1(rand.Reader, s.private.(*ecdsa.PrivateKey), d[:])
	return b
}

func many(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"m%d":1`, i))
	}
	return strings.Join(list, ",")
}

func TestIssuerRules(t *testing.T) {
	es := keys()["ES256"]
	for _, tt := range []struct {
		name   string
		change func(*jwks.Issuer)
		token  string
		want   error
	}{
		{"algorithm of another issuer", func(i *jwks.Issuer) { i.Algorithms = []string{"RS256"} }, es.token(header(es), claims()), jwks.ErrAlgorithm},
		{"type listed", func(i *jwks.Issuer) { i.Types = []string{"at+jwt"} }, es.token(`{"alg":"ES256","kid":"p256","typ":"AT+JWT"}`, claims()), nil},
		{"type not listed", func(i *jwks.Issuer) { i.Types = []string{"at+jwt"} }, es.token(header(es), claims()), jwks.ErrHeader},
		{"type missing", func(i *jwks.Issuer) { i.Types = []string{"at+jwt"} }, es.token(`{"alg":"ES256","kid":"p256"}`, claims()), jwks.ErrHeader},
		{"no audience asked for", func(i *jwks.Issuer) { i.Audiences, i.AnyAudience = nil, "legacy" }, es.token(header(es), claims("aud", "")), nil},
		{"lifetime at the limit", func(i *jwks.Issuer) { i.MaxLifetime = 6 * time.Minute }, es.token(header(es), claims()), nil},
		{"lifetime over the limit", func(i *jwks.Issuer) { i.MaxLifetime = 6*time.Minute - 1 }, es.token(header(es), claims()), jwks.ErrLifetime},
		{"lifetime without iat", func(i *jwks.Issuer) { i.MaxLifetime = time.Hour }, es.token(header(es), claims("iat", "")), jwks.ErrLifetime},
	} {
		i := issuer()
		tt.change(&i)
		if _, err := verifier(t, i).Verify(t.Context(), tt.token); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	fetch := func(context.Context) ([]byte, http.Header, error) { return nil, nil, nil }
	for name, change := range map[string]func(*jwks.Issuer){
		"no audience":    func(i *jwks.Issuer) { i.Audiences = nil },
		"both":           func(i *jwks.Issuer) { i.AnyAudience = "x" },
		"empty audience": func(i *jwks.Issuer) { i.Audiences = []string{""} },
		"none":           func(i *jwks.Issuer) { i.Algorithms = []string{"none"} },
		"HS256":          func(i *jwks.Issuer) { i.Algorithms = []string{"HS256"} },
		"no algorithm":   func(i *jwks.Issuer) { i.Algorithms = nil },
		"31s":            func(i *jwks.Issuer) { i.ClockSkew = 31 * time.Second },
		"negative skew":  func(i *jwks.Issuer) { i.ClockSkew = -1 },
		"no keys":        func(i *jwks.Issuer) { i.Keys.Inline = nil },
		"two keys":       func(i *jwks.Issuer) { i.Keys.Remote = &jwks.Remote{Fetch: fetch, RefreshInterval: time.Minute} },
		"empty set":      func(i *jwks.Issuer) { i.Keys.Inline = set() },
		"short refresh": func(i *jwks.Issuer) {
			i.Keys = jwks.Keys{Remote: &jwks.Remote{Fetch: fetch, RefreshInterval: time.Second}}
		},
		"no fetch":         func(i *jwks.Issuer) { i.Keys = jwks.Keys{Remote: &jwks.Remote{RefreshInterval: time.Minute}} },
		"private key":      func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"d":"AA"`)) },
		"symmetric key":    func(i *jwks.Issuer) { i.Keys.Inline = set(`{"kty":"oct","k":"AAAA"}`) },
		"duplicate member": func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"kty":"EC"`)) },
		"twin":             func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"Use":"sig"`)) },
		"encryption":       func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"use":"enc"`)) },
		"key_ops":          func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"key_ops":["sign"]`)) },
		"alg of no fit":    func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"alg":"ES384"`)) },
		"alg none":         func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(`,"alg":"none"`)) },
		"1024 bits": func(i *jwks.Issuer) {
			i.Keys.Inline = set(`{"kty":"RSA","e":"AQAB","n":"` + b64(bytes.Repeat([]byte{0xff}, 128)) + `"}`)
		},
		"16384 bits": func(i *jwks.Issuer) {
			i.Keys.Inline = set(`{"kty":"RSA","e":"AQAB","n":"` + b64(bytes.Repeat([]byte{0xff}, 2048)) + `"}`)
		},
		"exponent 1": func(i *jwks.Issuer) { i.Keys.Inline = set(strings.Replace(keys()["RS256"].jwk(""), "AQAB", "AQ", 1)) },
		"point off curve": func(i *jwks.Issuer) {
			i.Keys.Inline = set(`{"kty":"EC","crv":"P-256","x":"` + b64(bytes.Repeat([]byte{1}, 32)) + `","y":"` + b64(bytes.Repeat([]byte{1}, 32)) + `"}`)
		},
		"wrong curve": func(i *jwks.Issuer) {
			i.Keys.Inline = set(strings.Replace(keys()["ES256"].jwk(""), "P-256", "P-384", 1))
		},
		"secp256k1": func(i *jwks.Issuer) {
			i.Keys.Inline = set(strings.Replace(keys()["ES256"].jwk(""), "P-256", "secp256k1", 1))
		},
		"Ed448": func(i *jwks.Issuer) {
			i.Keys.Inline = set(strings.Replace(keys()["EdDSA"].jwk(""), "Ed25519", "Ed448", 1))
		},
		"101 keys": func(i *jwks.Issuer) {
			i.Keys.Inline = set(strings.Split(strings.Repeat(keys()["ES256"].jwk("")+"\n", 101), "\n")[:101]...)
		},
		"two of one kid": func(i *jwks.Issuer) { i.Keys.Inline = set(keys()["ES256"].jwk(""), keys()["stranger"].jwk("")) },
		"no set":         func(i *jwks.Issuer) { i.Keys.Inline = []byte(`{}`) },
		"list":           func(i *jwks.Issuer) { i.Keys.Inline = []byte(`[]`) },
	} {
		i := issuer()
		change(&i)
		if v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{i}}); err == nil {
			v.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{issuer(), issuer()}}); err == nil {
		t.Error("one issuer twice: accepted")
	}
}
