package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

// ErrNotReady is wrapped by [Source.Current] while there is no valid material. An endpoint then refuses every handshake.
var ErrNotReady = errors.New("certs: not ready")

// Material is one consistent state of a workload's credentials. It is never modified after it was published.
type Material struct {
	ID          identity.ID     // the one URI name of the leaf
	Certificate tls.Certificate // chain and key; Leaf is set
	Roots       *x509.CertPool  // whom we trust to vouch for a peer

	// Federated are the roots of other trust domains, each of which vouches for its own identities and for nobody else's.
	// An identity of any trust domain that is not named here is vouched for by Roots: under Istio's CA, which issues no
	// federated bundles, a trust domain and its aliases have the same roots.
	Federated map[identity.TrustDomain]*x509.CertPool

	// Authorities are the certificates of all these roots, as far as the source knows them: a pool does not tell. They
	// verify revocation lists.
	Authorities []*x509.Certificate

	// Revocations are checked against every chain that a peer sends; nil revokes nothing.
	Revocations *Revocations
}

// Source yields the newest material. It is asked once per handshake and must answer from memory.
type Source interface {
	// Current returns the newest valid material, or an error that wraps [ErrNotReady]. The caller must not modify it.
	Current() (*Material, error)
}

// NewMaterial checks that the parts belong together: a parsed leaf that carries one SPIFFE ID, and at least one root.
func NewMaterial(certificate tls.Certificate, roots []*x509.Certificate) (*Material, error) {
	if len(certificate.Certificate) == 0 || certificate.PrivateKey == nil {
		return nil, errors.New("certs: certificate chain or key is empty")
	}
	if len(roots) == 0 {
		return nil, errors.New("certs: no trusted roots")
	}
	if certificate.Leaf == nil {
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("certs: leaf: %w", err)
		}
		certificate.Leaf = leaf
	}
	id, err := identity.FromCertificate(certificate.Leaf)
	if err != nil {
		return nil, fmt.Errorf("certs: leaf: %w", err)
	}
	return &Material{ID: id, Certificate: certificate, Roots: poolOf(roots), Authorities: roots}, nil
}

// Federate lets the roots of another trust domain vouch for its identities. It is for sources, before they publish m.
func (m *Material) Federate(td identity.TrustDomain, roots []*x509.Certificate) {
	if m.Federated == nil {
		m.Federated = map[identity.TrustDomain]*x509.CertPool{}
	}
	m.Federated[td] = poolOf(roots)
	m.Authorities = slices.Concat(m.Authorities, roots)
}

// rootsFor returns who may vouch for a peer with this leaf. What it claims to be decides; that claim is proven, or not, by
// these very roots.
func (m *Material) rootsFor(leaf *x509.Certificate) *x509.CertPool {
	if len(m.Federated) > 0 {
		if id, err := identity.FromCertificate(leaf); err == nil && id.TrustDomain() != m.ID.TrustDomain() {
			if pool, ok := m.Federated[id.TrustDomain()]; ok {
				return pool
			}
		}
	}
	return m.Roots
}

func poolOf(certificates []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool
}

// Valid reports why m cannot be used at the given time. An expired leaf is not presented: every peer would refuse it,
// and the reason would only be visible there.
func (m *Material) Valid(now time.Time) error {
	leaf := m.Certificate.Leaf
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%w: our certificate expired at %s", ErrNotReady, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%w: our certificate is not valid before %s", ErrNotReady,
			leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Static returns a Source that always yields m; a nil m is never ready.
func Static(m *Material) Source { return static{m} }

type static struct{ m *Material }

func (s static) Current() (*Material, error) {
	if s.m == nil {
		return nil, ErrNotReady
	}
	return s.m, nil
}
