package hbone

import (
	"context"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// DialThrough opens a tunnel inside a tunnel, which is how another network is reached (contract ambient, section 4.8): the
// outer one, to a gateway, is shared as in Dial; in it a second TLS session and HTTP/2 connection go to the peer that
// inner names, and the gateway passes their bytes on unread. The inner connection carries this one tunnel: if it were
// shared, everything would go to the one peer that the gateway chose for the first. Inner.Addr is not used.
//
// Failures are of type *[DialError], whose Inner says which of the two failed. The returned Conn has the identity of the
// inner peer. When it is over, so are the inner connection and the outer tunnel.
func (p *Pool) DialThrough(ctx context.Context, outer, inner Target) (*Conn, error) {
	inner.Addr = outer.Addr
	fields, err := connectFields(inner)
	if err != nil {
		return nil, &DialError{Phase: PhaseHTTP2, Addr: outer.Addr, Inner: true, Err: err}
	}
	for attempt := 1; ; attempt++ {
		m, expect, err := p.credentials(inner)
		if err != nil {
			err.(*DialError).Inner = true
			return nil, err
		}
		carrier, err := p.Dial(ctx, outer)
		if err != nil {
			return nil, err
		}
		c, retry, err := p.dialInside(ctx, carrier, m, expect, fields)
		if err == nil {
			return c, nil
		}
		if !retry || attempt == dialAttempts {
			return nil, err
		}
	}
}

// dialInside opens a tunnel on a connection of its own, which it makes on carrier. It owns carrier.
func (p *Pool) dialInside(ctx context.Context, carrier *Conn, m *certs.Material, expect identity.Matcher,
	fields connectBlock,
) (c *Conn, retry bool, err error) {
	gateway := addrPort(carrier.RemoteAddr())
	stop := context.AfterFunc(ctx, func() { carrier.Abort(ctx.Err()) })
	defer stop()
	pending := newConnecting()
	s, err := p.connectInside(carrier, pending, m, expect)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, false, &DialError{Phase: pending.reached(), Addr: gateway, Inner: true, Err: err}
	}
	if c = s.openOnly(fields); c == nil { // the peer is leaving
		return nil, true, &DialError{Phase: PhaseHTTP2, Addr: gateway, Inner: true, Err: errStale}
	}
	retry, err = c.await(ctx, gateway)
	if err == nil {
		return c, false, nil
	}
	err.(*DialError).Inner = true
	return nil, retry, err
}

// connectInside makes the inner connection and sees it to its end.
func (p *Pool) connectInside(carrier *Conn, pending *connecting, m *certs.Material, expect identity.Matcher,
) (*session, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		carrier.Close()
		return nil, ErrPoolClosed
	}
	p.wg.Add(1)
	p.mu.Unlock()
	s, ended, err := p.handshake(carrier, pending, m, expect)
	if err != nil {
		p.wg.Done()
		return nil, err
	}
	go p.seeOut(s, ended)
	return s, nil
}

func (p *Pool) seeOut(s *session, ended <-chan error) {
	defer p.wg.Done()
	why := <-ended
	p.config.Log.Debug("inner connection closed", "through", s.remote.String(), "peer", s.peer, "error", why)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, s)
}

// openOnly sends the one CONNECT of a connection, which ends with its tunnel. It returns nil, and ends the connection, if
// the peer takes none.
func (s *session) openOnly(b connectBlock) *Conn {
	c := s.open(b)
	s.drain()
	return c
}
