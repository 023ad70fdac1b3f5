package hbone

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/identity"
)

// Request is one CONNECT that waits for an answer. Its handler must call Accept or Refuse.
type Request struct{ conn *Conn }

// Peer returns the verified identity of the client.
func (r *Request) Peer() identity.ID { return r.conn.Peer() }

// PeerCertificate returns the client's verified leaf certificate.
func (r *Request) PeerCertificate() *x509.Certificate { return r.conn.PeerCertificate() }

// Authority returns the destination the client asks for; [ParseAuthority] accepts it.
func (r *Request) Authority() string { return r.conn.authority }

// Header returns the CONNECT header fields, for example baggage and traceparent. They are the client's claims and no
// identity. The caller must not modify the result.
func (r *Request) Header() http.Header { return r.conn.Header() }

// RemoteAddr returns the client's end of the TCP connection: in ambient mode the address of the client's pod.
func (r *Request) RemoteAddr() netip.AddrPort { return addrPort(r.conn.s.remote) }

// LocalAddr returns our end of the TCP connection.
func (r *Request) LocalAddr() netip.AddrPort { return addrPort(r.conn.s.local) }

// Context ends when the tunnel is over in both directions, is reset, or loses its connection.
func (r *Request) Context() context.Context {
	c := r.conn
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.cancel = context.WithCancelCause(context.Background())
		if !c.open {
			c.cancel(c.rerr)
		}
	}
	return c.ctx
}

// Accept answers 200 with the given header fields, which may be nil, and returns the tunnel. The tunnel lives until the
// handler returns; it is then closed.
func (r *Request) Accept(h http.Header) (*Conn, error) {
	fields := make([]hpack.HeaderField, 0, 4)
	fields, err := appendFields(append(fields, statusField(http.StatusOK)), h)
	if err != nil {
		return nil, err
	}
	c := r.conn
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err := c.answer(); err != nil {
		return nil, err
	}
	c.s.appendHeaders(c.id, false, fields)
	c.s.kick()
	return c, nil
}

// Refuse answers with status and ends the tunnel. The status must be 400 to 599; anything else becomes 500.
func (r *Request) Refuse(status int) error {
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	c := r.conn
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err := c.answer(); err != nil {
		return err
	}
	c.s.refuse(c.id, status, c.recvEnd, c.recvWindow)
	c.sentEnd, c.werr = true, errWriteClosed
	if c.rerr == nil {
		c.rerr = errClosed
	}
	c.discardInput()
	c.detach(nil)
	return nil
}

// answer marks the request as answered; it can be done once, and only while the stream is there.
func (c *Conn) answer() error {
	if c.answered {
		return ErrAnswered
	}
	c.answered = true
	if !c.open {
		return ErrAnswered
	}
	return nil
}

// refuse sends a final status with END_STREAM. A request that has not ended is told not to go on: RST_STREAM with
// NO_ERROR after a complete response (RFC 9113, section 8.1). No tunnel was opened, so nothing can look truncated.
func (s *session) refuse(id uint32, status int, ended bool, window int64) {
	s.appendHeaders(id, true, []hpack.HeaderField{statusField(status)})
	if !ended {
		s.frame().WriteRSTStream(id, http2.ErrCodeNo)
		s.remember(id, window)
	}
	s.kick()
}

func statusField(status int) hpack.HeaderField {
	if status == http.StatusOK {
		return hpack.HeaderField{Name: ":status", Value: "200"}
	}
	return hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)}
}

// checkConnect returns the authority of a classic CONNECT, or the status that refuses the request (RFC 9113, section
// 8.5; extended CONNECT is not offered).
func checkConnect(h *headerBlock) (authority string, status int) {
	if h.over {
		return "", http.StatusRequestHeaderFieldsTooLarge
	}
	method := ""
	for _, f := range h.fields[:h.pseudo] {
		switch f.Name {
		case ":method":
			method = f.Value
		case ":authority":
			authority = f.Value
		default:
			return "", http.StatusBadRequest
		}
	}
	if method != http.MethodConnect {
		return "", http.StatusBadRequest
	}
	if _, _, _, err := ParseAuthority(authority); err != nil {
		return "", http.StatusBadRequest
	}
	for _, f := range h.fields[h.pseudo:] {
		if f.Name == "host" && f.Value != authority {
			return "", http.StatusBadRequest // two destinations in one request
		}
	}
	return authority, http.StatusOK
}
