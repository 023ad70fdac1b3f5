package jwks

import (
	"encoding/base64"
	"encoding/json/jsontext"
	"strconv"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// MaxTokenBytes is the longest token that is read.
const MaxTokenBytes = 16 << 10

const (
	maxKeyID     = 512
	maxAudiences = 64
	maxDate      = 253402300799 // the last second of the year 9999
)

// Members that have a meaning. A name that differs from one of them by case only is refused.
var (
	headerNames = []string{"alg", "kid", "typ", "cty", "crit", "zip", "b64", "jku", "x5u", "jwk", "x5c", "x5t", "x5t#S256", "enc"}
	claimNames  = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "may_act", "scope", "client_id", "azp", "cnf",
		"authorization_details", "groups", "roles"}
	// refusedHeaders bring keys, or ask for processing that does not happen here.
	refusedHeaders = []string{"crit", "zip", "b64", "jku", "x5u", "jwk", "x5c", "enc"}
)

// token is a token of the right shape of which nothing is verified.
type token struct {
	alg, kid, typ string
	signed        string // header and payload as they were signed
	signature     []byte
	claims        identity.Claims
	nbf, iat      *time.Time
}

// parse reads the shape of a token. It touches no key and trusts nothing.
func parse(s string) (*token, error) {
	switch {
	case s == "":
		return nil, ErrNoToken
	case len(s) > MaxTokenBytes:
		return nil, refuse(ErrTooLarge, "%d bytes, limit %d", len(s), MaxTokenBytes)
	}
	switch dots := strings.Count(s, "."); dots {
	case 2:
	case 4:
		return nil, refuse(ErrHeader, "an encrypted token (JWE)")
	default:
		return nil, refuse(ErrMalformed, "%d parts, want 3", dots+1)
	}
	head, rest, _ := strings.Cut(s, ".")
	body, sig, _ := strings.Cut(rest, ".")
	t := &token{signed: s[:len(head)+1+len(body)]}
	header, err := decodePart("header", head)
	if err != nil {
		return nil, err
	}
	payload, err := decodePart("payload", body)
	if err != nil {
		return nil, err
	}
	if t.signature, err = decodePart("signature", sig); err != nil {
		return nil, err
	}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	return t, t.readClaims(payload)
}

var base64url = base64.RawURLEncoding.Strict()

// decodeBase64 decodes base64url in the only spelling that encodes these bytes. The standard decoder skips line ends.
func decodeBase64(s string) ([]byte, bool) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64url.DecodeString(s)
	return b, err == nil
}

func decodePart(name, s string) ([]byte, error) {
	if s == "" {
		return nil, refuse(ErrMalformed, "empty %s", name)
	}
	b, ok := decodeBase64(s)
	if !ok {
		return nil, refuse(ErrMalformed, "%s is not canonical base64url", name)
	}
	return b, nil
}

// tokenLimits bound header and claims.
func tokenLimits() jsonrpc.Limits {
	return jsonrpc.Limits{
		Bytes: MaxTokenBytes, Envelope: 32, Depth: 32, Members: 256, Values: 4096, String: MaxTokenBytes, Number: 64, Name: 256,
	}
}

// object reads one JSON object that has one reading only.
func object(name string, b []byte, l jsonrpc.Limits, known []string) (jsonrpc.Object, error) {
	if err := jsonrpc.Check(b, l); err != nil {
		switch err.Reason {
		case call.Ambiguous:
			return nil, refuse(ErrAmbiguous, "%s: %s", name, err.Cause)
		case call.TooLarge:
			return nil, refuse(ErrTooLarge, "%s: %s", name, err.Cause)
		}
		return nil, refuse(ErrMalformed, "%s: %s", name, err.Cause)
	}
	o, ok := jsonrpc.Members(b)
	if !ok {
		return nil, refuse(ErrMalformed, "%s is no object", name)
	}
	if twin := o.Twin(known...); twin != "" {
		return nil, refuse(ErrAmbiguous, "%s: member %q looks like another", name, clip(twin))
	}
	return o, checkScalars(name, b)
}

// checkScalars refuses NULs in strings and numbers that no float64 holds, at any depth. b is a checked text.
func checkScalars(name string, b []byte) error {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			if strings.HasPrefix(string(b[i+1:min(i+6, len(b))]), "u0000") {
				return refuse(ErrMalformed, "%s: NUL in a string", name)
			}
			i++
		case !quoted && (c == '-' || c >= '0' && c <= '9'):
			start := i
			for i+1 < len(b) && strings.IndexByte("0123456789+-.eE", b[i+1]) >= 0 {
				i++
			}
			if _, err := strconv.ParseFloat(string(b[start:i+1]), 64); err != nil {
				return refuse(ErrClaims, "%s: number out of range", name)
			}
		}
	}
	return nil
}

func (t *token) readHeader(b []byte) (err error) {
	o, err := object("header", b, tokenLimits(), headerNames)
	if err != nil {
		return err
	}
	for _, name := range refusedHeaders {
		if o.Find(name) != nil {
			return refuse(ErrHeader, "header %s", name)
		}
	}
	for _, m := range []struct {
		name string
		to   *string
	}{{"alg", &t.alg}, {"kid", &t.kid}, {"typ", &t.typ}} {
		if *m.to, err = text("header", o, m.name); err != nil {
			return err
		}
	}
	cty, err := text("header", o, "cty")
	switch {
	case err != nil:
		return err
	case cty != "":
		return refuse(ErrHeader, "header cty: a nested token")
	case t.alg == "":
		return refuse(ErrMalformed, "header: no alg")
	case len(t.kid) > maxKeyID:
		return refuse(ErrTooLarge, "header: kid of %d bytes", len(t.kid))
	}
	return nil
}

// text reads a string member that may be absent, but not empty.
func text(where string, o jsonrpc.Object, name string) (string, error) {
	m := o.Find(name)
	if m == nil {
		return "", nil
	}
	s, ok := jsonrpc.String(m.Value)
	if !ok || s == "" {
		return "", refuse(ErrClaims, "%s: %s is no string, or empty", where, name)
	}
	return s, nil
}

func (t *token) readClaims(b []byte) (err error) {
	o, err := object("claims", b, tokenLimits(), claimNames)
	if err != nil {
		return err
	}
	c := &t.claims
	c.Raw = b
	if c.Issuer, err = text("claims", o, "iss"); err != nil {
		return err
	}
	if c.Subject, err = text("claims", o, "sub"); err != nil {
		return err
	}
	if c.ID, err = text("claims", o, "jti"); err != nil {
		return err
	}
	if c.Audience, err = audience(o.Get("aud")); err != nil {
		return err
	}
	exp, err := date(o, "exp")
	if err != nil {
		return err
	}
	if t.nbf, err = date(o, "nbf"); err != nil {
		return err
	}
	if t.iat, err = date(o, "iat"); err != nil {
		return err
	}
	switch {
	case exp == nil:
		return refuse(ErrClaims, "claims: no exp")
	case c.Issuer == "":
		return refuse(ErrClaims, "claims: no iss")
	}
	c.Expiry = *exp
	if t.iat != nil {
		c.IssuedAt = *t.iat
	}
	if t.nbf != nil {
		c.NotBefore = *t.nbf
	}
	if err := chain.Read(c); err != nil {
		return refuse(ErrClaims, "%v", err)
	}
	return nil
}

// audience reads aud: a string, or a list of them, without empty ones and without copies.
func audience(v jsontext.Value) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	if s, ok := jsonrpc.String(v); ok && s != "" {
		return []string{s}, nil
	}
	list, ok := jsonrpc.Elements(v)
	if !ok || len(list) == 0 || len(list) > maxAudiences {
		return nil, refuse(ErrClaims, "claims: aud is no string, and no list of 1 to %d", maxAudiences)
	}
	out := make([]string, len(list))
	for i, m := range list {
		if out[i], ok = jsonrpc.String(m.Value); !ok || out[i] == "" {
			return nil, refuse(ErrClaims, "claims: aud has an entry that is no string, or empty")
		}
	}
	return out, nil
}

// date reads a NumericDate (RFC 7519 2): digits, and a fraction that is cut off. Exponents, signs and dates past the year 9999
// are refused.
func date(o jsonrpc.Object, name string) (*time.Time, error) {
	m := o.Find(name)
	if m == nil {
		return nil, nil
	}
	whole, fraction, dot := strings.Cut(string(m.Value), ".")
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || n > maxDate || dot && strings.Trim(fraction, "0123456789") != "" {
		return nil, refuse(ErrClaims, "claims: %s is no date", name)
	}
	d := time.Unix(int64(n), 0)
	return &d, nil
}
