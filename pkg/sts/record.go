package sts

import "time"

// Record is one exchange for the audit. There is no token in it.
type Record struct {
	Time      time.Time `json:"time"`
	Outcome   string    `json:"outcome"`             // "issued" or "refused"
	Error     string    `json:"error,omitempty"`     // the code that the client got
	Cause     string    `json:"cause,omitempty"`     // for the operator
	Client    string    `json:"client,omitempty"`    // who asked
	Method    string    `json:"method,omitempty"`    // how it proved that
	Actor     string    `json:"actor,omitempty"`     // who acts, if that is another one
	Issuer    string    `json:"issuer,omitempty"`    // of the subject token
	Subject   string    `json:"subject,omitempty"`   // the user
	SubjectID string    `json:"subjectId,omitempty"` // jti of the subject token
	Grant     string    `json:"grant,omitempty"`
	Audiences []string  `json:"audiences,omitempty"`
	Scope     []string  `json:"scope,omitempty"` // of the new token
	Chain     []string  `json:"chain,omitempty"` // of the new token, user first
	ID        string    `json:"id,omitempty"`    // jti of the new token
	Expiry    time.Time `json:"expiry,omitzero"`
}
