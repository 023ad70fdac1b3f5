package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// strangerPatience is how long a stranger waits for an answer it must not get.
const strangerPatience = 5 * time.Second

// tlsAlert is the first byte of a TLS record that carries an alert (RFC 8446, section 5.1).
const tlsAlert = 0x15

// stranger is a call of somebody who has proven no identity. The waypoint records calls, and this never becomes one;
// the reason is therefore what the stranger was told.
func (w *world) stranger(caller, label string, dial func(context.Context, string) (seen, error)) step {
	return step{
		caller: caller, call: label, want: refused,
		do: func(ctx context.Context) (seen, error) {
			ctx, cancel := context.WithTimeout(ctx, strangerPatience)
			defer cancel()
			return dial(ctx, w.waypoint.Addr().String())
		},
	}
}

// withoutCertificate speaks TLS and HTTP/2 as a ztunnel does, but has no certificate.
func withoutCertificate(ctx context.Context, addr string) (seen, error) {
	return knock(ctx, addr, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true})
}

// forged presents a certificate which names the teller but was signed by somebody else's CA.
func forged(as identity.ID) func(context.Context, string) (seen, error) {
	return func(ctx context.Context, addr string) (seen, error) {
		m := certstest.NewCA(as.TrustDomain()).Issue(as)
		return knock(ctx, addr, &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true,
			Certificates: []tls.Certificate{m.Certificate},
		})
	}
}

// knock completes whatever handshake the waypoint allows and waits for its first byte of HTTP/2. In TLS 1.3 a client
// has finished before the server has looked at its certificate, so the refusal arrives as an alert on the first read.
func knock(ctx context.Context, addr string, config *tls.Config) (seen, error) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return asAlert(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		return asAlert(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return asAlert(err)
	}
	return seen{verdict: allowed, text: "the waypoint speaks HTTP/2 with a stranger"}, nil
}

// asAlert accepts a TLS alert of the peer as a refusal; silence or a broken network is not one.
func asAlert(err error) (seen, error) {
	var alert tls.AlertError
	var op *net.OpError
	if errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error" {
		_, text, _ := strings.Cut(err.Error(), "remote error: ")
		return seen{verdict: refused, text: text}, nil
	}
	return seen{}, err
}

// plaintext speaks HTTP/1.1 to the tunnel port.
func plaintext(ctx context.Context, addr string) (seen, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return seen{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: company-mcp:3000\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return seen{}, err
	}
	answer := make([]byte, 512)
	n, err := io.ReadFull(conn, answer)
	switch answer := answer[:n]; {
	case n > 0 && answer[0] == tlsAlert:
		return seen{verdict: refused, text: "plaintext HTTP is answered with a TLS alert and a close"}, nil
	case n > 0:
		return seen{}, fmt.Errorf("the waypoint answers plaintext with %q", answer)
	case errors.Is(err, io.EOF):
		return seen{verdict: refused, text: "plaintext HTTP is answered with a close"}, nil
	}
	return seen{}, err
}
