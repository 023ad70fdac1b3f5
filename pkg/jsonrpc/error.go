package jsonrpc

import (
	"fmt"
	"net/http"

	"waymark.dev/waypoint/pkg/call"
)

// Codes of JSON-RPC 2.0 (section 5.1).
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
)

// Error is a text that is refused: Code and Reason for the peer, Cause for the operator.
type Error struct {
	Code   int       // CodeParse or CodeInvalidRequest
	Reason call.Code // Malformed, Ambiguous or TooLarge
	Cause  string    // bounded; what a peer wrote is quoted
	ID     ID        // of the offending message, nil if it could not be read
}

func (e *Error) Error() string { return fmt.Sprintf("jsonrpc: %d: %s", e.Code, e.Cause) }

// Status is the HTTP status of the refusal (contract mcp-a2a section 7).
func (e *Error) Status() int { return http.StatusBadRequest }

func syntax(format string, args ...any) *Error {
	return &Error{Code: CodeParse, Reason: call.Malformed, Cause: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidRequest, Reason: call.Malformed, Cause: fmt.Sprintf(format, args...)}
}

// ambiguous is a text that two parsers read differently.
func ambiguous(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidRequest, Reason: call.Ambiguous, Cause: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidRequest, Reason: call.TooLarge, Cause: fmt.Sprintf(format, args...)}
}
