package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"waymark.dev/waypoint/pkg/identity"
)

// Bounds on a peer's certificates, checked before any signature is. Building chains and applying name constraints cost
// more than linear time in what the peer sends (CVE-2025-58187, CVE-2026-27137); a mesh CA issues none of this.
const (
	maxChain       = 8  // certificates, leaf included; istiod sends two or three
	maxNames       = 64 // subject alternative names of the leaf, all kinds together
	maxConstraints = 64 // name constraints of one intermediate, all kinds together
	maxCertificate = 32 << 10
)

// ErrPeerIdentity is wrapped by handshake errors which say that the peer proved an identity we do not accept, in
// contrast to one that could not prove any.
var ErrPeerIdentity = errors.New("certs: peer identity refused")

type usage struct {
	name string
	x509 x509.ExtKeyUsage
}

var (
	clientOfOurs = usage{"client", x509.ExtKeyUsageClientAuth}
	serverOfOurs = usage{"server", x509.ExtKeyUsageServerAuth}
)

// verifyPeer is the whole check of a peer, the same for both roles (X.509-SVID specification, section 5).
func verifyPeer(cs tls.ConnectionState, m *Material, as usage, accept identity.Matcher) error {
	switch {
	case cs.DidResume:
		return errResume
	case cs.NegotiatedProtocol != protocol:
		return errALPN
	case len(cs.PeerCertificates) == 0:
		return fmt.Errorf("certs: %s sent no certificate", as.name)
	}
	if err := checkCost(cs.PeerCertificates); err != nil {
		return err
	}
	leaf := cs.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         m.rootsFor(leaf),
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{as.x509},
	})
	if err != nil {
		return fmt.Errorf("certs: %s certificate: %w", as.name, err)
	}
	if err := m.Revocations.Check(cs.PeerCertificates); err != nil {
		return err
	}
	return checkIdentity(leaf, accept)
}

func checkIdentity(leaf *x509.Certificate, accept identity.Matcher) error {
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPeerIdentity, err)
	}
	if leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return fmt.Errorf("%w: key usage allows signing certificates", ErrPeerIdentity)
	}
	if accept == nil {
		return fmt.Errorf("%w: nobody is trusted", ErrPeerIdentity)
	}
	if err := accept(id); err != nil {
		return fmt.Errorf("%w: %w", ErrPeerIdentity, err)
	}
	return nil
}

func checkCost(chain []*x509.Certificate) error {
	if len(chain) > maxChain {
		return fmt.Errorf("certs: peer sent %d certificates, more than %d", len(chain), maxChain)
	}
	leaf := chain[0]
	names := len(leaf.DNSNames) + len(leaf.EmailAddresses) + len(leaf.IPAddresses) + len(leaf.URIs)
	if names > maxNames {
		return fmt.Errorf("certs: peer certificate has %d names, more than %d", names, maxNames)
	}
	for _, c := range chain {
		if len(c.Raw) > maxCertificate {
			return fmt.Errorf("certs: peer sent a certificate of %d bytes, more than %d", len(c.Raw), maxCertificate)
		}
		if n := constraints(c); n > maxConstraints {
			return fmt.Errorf("certs: peer sent a certificate with %d name constraints, more than %d", n, maxConstraints)
		}
	}
	return nil
}

func constraints(c *x509.Certificate) int {
	return len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) + len(c.PermittedIPRanges) + len(c.ExcludedIPRanges) +
		len(c.PermittedEmailAddresses) + len(c.ExcludedEmailAddresses) + len(c.PermittedURIDomains) +
		len(c.ExcludedURIDomains)
}
