package chain

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/jsontext"
	"strconv"

	"waymark.dev/waypoint/pkg/identity"
)

// Hops is the chain of a verified token: the user first, then the actors in the order in which they acted. The issuer of the
// token vouches for all that it says is its own; an actor that another issuer is named for was not verified with that one.
func Hops(c *identity.Claims) []identity.Hop {
	hops := make([]identity.Hop, 0, 1+len(c.Actors))
	hops = append(hops, identity.Hop{Subject: c.Subject, Issuer: c.Issuer, Verified: true})
	for i := len(c.Actors) - 1; i >= 0; i-- {
		a := &c.Actors[i]
		h := identity.Hop{Subject: a.Subject, Issuer: c.Issuer, Verified: true}
		if a.Issuer != "" && a.Issuer != c.Issuer {
			h.Issuer, h.Verified = a.Issuer, false
		}
		hops = append(hops, h)
	}
	return hops
}

// Digest names the whole chain: the SHA-256 of every party in its order, base64url. A token service signs it into the token, so
// that an actor which is lost, added or moved on the way is noticed even by who builds a token from parts of another one.
func Digest(c *identity.Claims) string {
	h := sha256.New()
	write := func(s string) {
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	write(c.Issuer)
	write(c.Subject)
	for i := range c.Actors {
		write(c.Actors[i].Issuer)
		write(c.Actors[i].Subject)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Append returns the act claim of a token for which actor acts next: what was there is nested in it and stays as it was signed.
func Append(actor identity.Actor, before jsontext.Value) jsontext.Value {
	out := jsontext.Value(`{"sub":`)
	out, _ = jsontext.AppendQuote(out, actor.Subject)
	if actor.Issuer != "" {
		out = append(out, `,"iss":`...)
		out, _ = jsontext.AppendQuote(out, actor.Issuer)
	}
	if before != nil {
		out = append(append(out, `,"act":`...), before...)
	}
	return append(out, '}')
}
