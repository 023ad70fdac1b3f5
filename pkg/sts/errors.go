package sts

import (
	"errors"
	"fmt"
	"net/http"

	"waymark.dev/waypoint/pkg/identity/jwks"
)

// Error codes of RFC 6749 section 5.2 and RFC 8693 section 2.2.2.
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidGrant         = "invalid_grant"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrantType = "unsupported_grant_type"
	invalidScope         = "invalid_scope"
	invalidTarget        = "invalid_target"
	invalidDetails       = "invalid_authorization_details" // RFC 9396 section 5
	unavailable          = "temporarily_unavailable"
	slowDown             = "slow_down"
)

// fault is why there is no token: the code is for the client, the cause for the operator.
type fault struct{ code, cause string }

func (f *fault) Error() string { return f.code + ": " + f.cause }

func refuse(code, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

func (f *fault) status() int {
	switch f.code {
	case invalidClient:
		return http.StatusUnauthorized
	case slowDown:
		return http.StatusTooManyRequests
	case unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// isInvalid reports whether a token was refused for what it is, and not because nothing is known of it.
func isInvalid(err error) bool {
	return errors.Is(err, jwks.ErrInvalid) || errors.Is(err, jwks.ErrNoToken)
}
