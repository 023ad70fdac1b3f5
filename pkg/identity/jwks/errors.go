package jwks

import (
	"errors"
	"fmt"
)

// What Verify answers for, besides the context's error. Each of the reasons below [ErrInvalid] is also an ErrInvalid to
// errors.Is. The texts are for the operator; what a peer wrote is quoted and bounded.
var (
	// ErrNoToken is an empty token: the caller is unauthenticated.
	ErrNoToken = errors.New("no token")
	// ErrKeysUnavailable means that the issuer's keys could not be had, or are too old: nothing is known of the token.
	ErrKeysUnavailable = errors.New("keys unavailable")
	// ErrInvalid is every token that is refused for what it is.
	ErrInvalid = errors.New("invalid token")

	ErrTooLarge   = reason("token too large")
	ErrMalformed  = reason("malformed token")
	ErrAmbiguous  = reason("ambiguous token")       // two parsers could read it differently
	ErrHeader     = reason("unacceptable header")   // JWE, crit, zip, b64, jku, x5u, jwk, x5c, typ
	ErrAlgorithm  = reason("algorithm not allowed") // by the issuer's list
	ErrIssuer     = reason("unknown issuer")
	ErrClaims     = reason("unacceptable claims") // missing exp, odd types, numbers out of range
	ErrAudience   = reason("not for this audience")
	ErrExpired    = reason("token expired")
	ErrNotYet     = reason("token not valid yet") // nbf, or iat in the future
	ErrLifetime   = reason("token lives too long")
	ErrUnknownKey = reason("no such key") // of this issuer, for this algorithm
	ErrSignature  = reason("signature does not fit")
)

// reasonError is a reason that is an ErrInvalid.
type reasonError struct{ text string }

func (e *reasonError) Error() string { return e.text }
func (e *reasonError) Unwrap() error { return ErrInvalid }

func reason(text string) error { return &reasonError{text} }

func refuse(reason error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", reason, fmt.Sprintf(format, args...))
}

// clip bounds what a peer wrote.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
