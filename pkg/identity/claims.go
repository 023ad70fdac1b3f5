package identity

import (
	"encoding/json/jsontext"
	"time"
)

// Claims are the contents of a verified token. A nil *Claims means that no token was verified.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
	Expiry   time.Time
	Raw      jsontext.Value // the whole claims object, exactly as signed
}

// Hop is one member of a delegation chain: the user first, the workload that holds the connection last.
type Hop struct {
	Subject  string
	Issuer   string
	Verified bool // true if a trusted issuer vouches for this hop
}
