package delivery_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// What a proof is for. Two things of different kinds never have the same proof.
const (
	ofSession = "session" // how a server names a session
	ofHello   = "hello"   // in the answer to a handshake
	ofCall    = "call"
	ofAnswer  = "answer"
	ofStep    = "step"  // progress of a call
	ofEvent   = "event" // on a stream that stands beside the calls
	ofAsk     = "ask"   // a server's request
	ofReply   = "reply" // a client's answer to it
	ofState   = "state" // what a modern client has to bring back
	ofCancel  = "cancel"
)

// prover makes proofs: both ends know its key, the waypoint does not.
type prover struct{ key []byte }

// of binds something to a principal, a session and a number.
func (p prover) of(kind, who, session string, n int) string {
	h := hmac.New(sha256.New, p.key)
	fmt.Fprintf(h, "%s|%s|%s|%d", kind, who, session, n)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
