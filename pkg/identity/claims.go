package identity

import (
	"encoding/json/jsontext"
	"time"
)

// Claims are the contents of a verified token. A nil *Claims means that no token was verified. They are shared by all calls
// with the same token and must not be changed.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	Expiry    time.Time
	IssuedAt  time.Time      // zero if the token does not say
	NotBefore time.Time      // zero if the token does not say
	ID        string         // jti
	Raw       jsontext.Value // the whole claims object, exactly as signed

	Delegation
}

// Delegation is what a token says about who acts for its subject, and how far (RFC 8693 section 4, RFC 9396).
type Delegation struct {
	Scope       []string       // the claim scope as a set, in its order, without copies; nil if there is none
	Actors      []Actor        // the claim act: the actor that acts now first, the one it acts for after it (RFC 8693 section 4.1)
	MayAct      *Actor         // the claim may_act; nil if there is none (RFC 8693 section 4.4)
	Transaction string         // the claim txn
	Thumbprint  string         // the claim cnf, member x5t#S256, base64url as written (RFC 8705 section 3.1); "" if there is none
	Details     jsontext.Value // the claim authorization_details, exactly as signed; nil if there is none (RFC 9396)
}

// Actor is one party that acts, or may act, for the subject of a token.
type Actor struct {
	Subject string
	Issuer  string         // "" means the issuer of the token
	Raw     jsontext.Value // the object as signed, with what is nested in it
}

// Hop is one member of a delegation chain: the user first, the workload that holds the connection last.
type Hop struct {
	Subject  string
	Issuer   string // who vouches for it; "" if nobody does
	Verified bool   // true if a trusted issuer vouches for this hop
}
