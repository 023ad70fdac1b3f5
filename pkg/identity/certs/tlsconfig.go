package certs

import (
	"crypto/tls"
	"errors"
	"sync/atomic"

	"waymark.dev/waypoint/pkg/identity"
)

// protocol is the only ALPN name of HBONE; without an overlap the handshake fails (contract ambient 4.1).
const protocol = "h2"

// ServerConfig returns the TLS configuration of an HBONE listener. Each handshake uses the source's material of that
// moment: TLS 1.3, ALPN h2 only, a client certificate that leads to the current roots and carries one SPIFFE ID which
// trust accepts, no session tickets. While the source is not ready, or with a nil trust, every handshake fails.
func ServerConfig(src Source, trust identity.Matcher) *tls.Config {
	var last atomic.Pointer[pinned]
	base := baseConfig()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m, err := src.Current()
		if err != nil {
			return nil, err
		}
		if p := last.Load(); p != nil && p.material == m {
			return p.config, nil
		}
		p := &pinned{m, serverConfigFor(m, trust)}
		last.Store(p)
		return p.config, nil
	}
	return base
}

// pinned is a configuration built for one material, kept so that only the first handshake after a rotation builds it.
type pinned struct {
	material *Material
	config   *tls.Config
}

func serverConfigFor(m *Material, trust identity.Matcher) *tls.Config {
	c := baseConfig()
	c.Certificates = []tls.Certificate{m.Certificate}
	// The chain is verified by our own function, shared with the client, which bounds its cost before it begins.
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		return verifyPeer(cs, m, clientOfOurs, trust)
	}
	return c
}

// ClientConfig returns the TLS configuration of an HBONE client: our certificate, TLS 1.3, ALPN h2 only, no server name
// on the wire, and a server certificate that leads to the current roots and carries one SPIFFE ID which expect accepts.
func ClientConfig(src Source, expect identity.Matcher) *tls.Config {
	c := baseConfig()
	// Host names mean nothing in the mesh: the peer is known by its SPIFFE ID, which verifyPeer checks together with
	// the chain. crypto/tls skips only its own host name check and chain building here.
	c.InsecureSkipVerify = true
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		m, err := src.Current()
		if err != nil {
			return nil, err
		}
		return &m.Certificate, nil
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		m, err := src.Current()
		if err != nil {
			return err
		}
		return verifyPeer(cs, m, serverOfOurs, expect)
	}
	return c
}

func baseConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		// A ticket would let a peer back in after its root was removed.
		SessionTicketsDisabled: true,
		// Tunnels are long-lived and carry whole frames: begin with full records.
		DynamicRecordSizingDisabled: true,
	}
}

var (
	errALPN   = errors.New("certs: peer did not negotiate ALPN \"h2\"")
	errResume = errors.New("certs: resumed sessions are refused")
)
