package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
}

// Source yields the newest material. It is asked once per handshake and must answer from memory.
type Source interface {
	// Current returns the newest valid material, or an error that wraps [ErrNotReady]. The caller must not modify it.
	Current() (*Material, error)
}

// NewMaterial checks that the parts belong together: a parsed leaf that carries one SPIFFE ID, and at least one root.
func NewMaterial(certificate tls.Certificate, roots *x509.CertPool) (*Material, error) {
	if len(certificate.Certificate) == 0 || certificate.PrivateKey == nil {
		return nil, errors.New("certs: certificate chain or key is empty")
	}
	if roots == nil || roots.Equal(x509.NewCertPool()) {
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
	return &Material{ID: id, Certificate: certificate, Roots: roots}, nil
}

// valid reports why m cannot be used at the given time. An expired leaf is not presented: every peer would refuse it,
// and the reason would only be visible there.
func (m *Material) valid(now time.Time) error {
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
