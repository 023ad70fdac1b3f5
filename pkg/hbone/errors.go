package hbone

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/identity/certs"
)

var (
	// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close.
	ErrServerClosed = errors.New("hbone: server closed")
	// ErrPoolClosed is returned by [Pool.Dial] after Drain or Close.
	ErrPoolClosed = errors.New("hbone: pool closed")
	// ErrPingTimeout ends a connection whose peer went silent.
	ErrPingTimeout = errors.New("hbone: peer is silent, PING was not answered")
	// ErrAnswered is returned by Accept and Refuse when the request was already answered or has ended.
	ErrAnswered = errors.New("hbone: request was already answered or has ended")
)

var (
	errWriteClosed = fmt.Errorf("hbone: write after CloseWrite: %w", net.ErrClosed)
	errClosed      = fmt.Errorf("hbone: tunnel closed: %w", net.ErrClosed)
	errPeerClosed  = errors.New("hbone: peer closed the connection")
	errDrained     = errors.New("hbone: connection drained")
	errShutdown    = errors.New("hbone: connection closed by us")
	errIdle        = errors.New("hbone: connection closed after being idle")
	errEvicted     = errors.New("hbone: destination evicted")
	errHandlerGone = errors.New("hbone: handler returned")
	errStale       = errors.New("hbone: connection takes no new tunnels")
)

// ResetError says that a tunnel ended abnormally by RST_STREAM.
type ResetError struct {
	Code   http2.ErrCode
	Remote bool // the peer sent it; otherwise we did, because the peer broke the protocol
}

func (e *ResetError) Error() string {
	if e.Remote {
		return fmt.Sprintf("hbone: tunnel reset by peer: %s", e.Code)
	}
	return fmt.Sprintf("hbone: tunnel reset: peer caused %s", e.Code)
}

// connError ends a connection: code is what the peer is told, why is for our log.
type connError struct {
	code http2.ErrCode
	why  string
}

func (e *connError) Error() string {
	return fmt.Sprintf("hbone: connection error %s: %s", e.code, e.why)
}

func protocolError(why string) error { return &connError{http2.ErrCodeProtocol, why} }
func calm(why string) error          { return &connError{http2.ErrCodeEnhanceYourCalm, why} }

// Phase is how far a failed dial got.
type Phase string

// The phases of a dial, in order.
const (
	PhaseTCP      Phase = "tcp"      // no TCP connection
	PhaseTLS      Phase = "tls"      // no TLS session, or the peer refused our certificate
	PhaseIdentity Phase = "identity" // the peer proved an identity that was not expected
	PhaseHTTP2    Phase = "http2"    // no usable HTTP/2 connection
	PhaseRefused  Phase = "refused"  // CONNECT was answered with Status
)

// DialError says why a tunnel could not be opened. Nothing was sent through it.
type DialError struct {
	Phase  Phase
	Status int            // HTTP status when Phase is PhaseRefused
	Addr   netip.AddrPort // the peer that was dialled
	Inner  bool           // it was the tunnel inside the one to Addr that failed, see DialThrough
	Err    error          // nil when Phase is PhaseRefused
}

func (e *DialError) Error() string {
	where := "dial"
	if e.Inner {
		where = "dial through"
	}
	if e.Phase == PhaseRefused {
		return fmt.Sprintf("hbone: %s %s: CONNECT refused with status %d", where, e.Addr, e.Status)
	}
	return fmt.Sprintf("hbone: %s %s: %s: %v%s", where, e.Addr, e.Phase, e.Err, e.hint())
}

func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether the dial ran out of time.
func (e *DialError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// hint names the operator's likely cause.
func (e *DialError) hint() string {
	switch {
	case e.Phase == PhaseTCP && e.Timeout():
		return fmt.Sprintf(" (a NetworkPolicy may be blocking port %d)", e.Addr.Port())
	case e.Phase == PhaseTCP && errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf(" (nothing listens on port %d: the workload may not be in the mesh)", e.Addr.Port())
	case e.Phase == PhaseIdentity && e.Inner:
		return " (the gateway may have passed it to another workload)"
	case e.Phase == PhaseIdentity:
		return " (the address may belong to another workload by now)"
	case e.Phase == PhaseTLS && errors.Is(e.Err, certs.ErrNotReady):
		return " (our own certificate is not there yet)"
	}
	return ""
}

// tlsPhase tells a refused identity from other TLS failures.
func tlsPhase(err error) Phase {
	if errors.Is(err, certs.ErrPeerIdentity) {
		return PhaseIdentity
	}
	return PhaseTLS
}

// isAlert reports whether the peer ended the TLS session with an alert. In TLS 1.3 a server refuses our certificate only
// after our side of the handshake is done, so that the refusal shows up on the first read.
func isAlert(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

var errHeaderSize = errors.New("hbone: header fields exceed 15 KB")

// headerError names a field that HTTP/2 cannot carry; its value is not repeated.
type headerError struct{ name string }

func (e *headerError) Error() string {
	return fmt.Sprintf("hbone: header field %q cannot be sent", e.name)
}
