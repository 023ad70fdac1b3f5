package hbone

import (
	"crypto/x509"
	"fmt"
	"log/slog"
)

// checkPeer judges a peer by the chain of certificates it proved itself with, leaf first.
type checkPeer func(chain []*x509.Certificate) error

// untrustedError ends a connection whose peer was trusted once.
type untrustedError struct{ err error }

func (e *untrustedError) Error() string {
	return fmt.Sprintf("hbone: the peer is not trusted any more: %v", e.err)
}

func (e *untrustedError) Unwrap() error { return e.err }

// Recheck judges the peers of all connections again, for example because certificates were revoked. Where check returns
// an error the connection ends: GOAWAY, then close; its tunnels see the error. A connection whose handshake is under way is
// judged by the same check once it is complete. The check stays until the next Recheck; nil takes it back.
func (p *Pool) Recheck(check func(chain []*x509.Certificate) error) {
	p.mu.Lock()
	p.check = check
	all := p.list()
	p.mu.Unlock()
	recheck(all, check, p.config.Log)
}

// register counts a connection among the live ones, and only then judges its peer once more: a Recheck in between finds
// it, and an earlier one has left its check here.
func (p *Pool) register(s *session) error {
	p.mu.Lock()
	p.live[s] = struct{}{}
	check := p.check
	p.mu.Unlock()
	return check.judge(s)
}

// Recheck does for the connections of a server what [Pool.Recheck] does for those of a pool.
func (s *Server) Recheck(check func(chain []*x509.Certificate) error) {
	s.mu.Lock()
	s.check = check
	all := s.list()
	s.mu.Unlock()
	recheck(all, check, s.config.Log)
}

// register counts a connection among the live ones, and judges its peer as [Pool.register] does. An error ends the
// connection.
func (s *Server) register(ss *session) error {
	s.mu.Lock()
	s.sessions[ss] = struct{}{}
	check, leaving, cutting := s.check, s.closed, s.cutting
	s.mu.Unlock()
	if cutting {
		return errShutdown
	}
	if leaving {
		ss.drain()
	}
	return check.judge(ss)
}

func (check checkPeer) judge(s *session) error {
	if check == nil {
		return nil
	}
	if err := check(s.chain); err != nil {
		return &untrustedError{err}
	}
	return nil
}

func recheck(all []*session, check checkPeer, log *slog.Logger) {
	for _, s := range all {
		if err := check.judge(s); err != nil {
			log.Warn("connection ended", "remote", s.remote.String(), "peer", s.peer, "cause", err)
			s.fail(err)
		}
	}
}
