// Package certstest is an in-memory certificate authority for tests, the in-process mesh and the demo. The production
// binary must not import it: its keys live in memory and its checks are none.
//
//	ca := certstest.NewCA(identity.RequireTrustDomain("cluster.local"))
//	material := ca.Issue(identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller"))
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// CA is one development certificate authority: a self-signed root that issues leaves directly. Its methods panic when
// the machine cannot make keys; there is nothing a test could do about it.
type CA struct {
	td     identity.TrustDomain
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	parent *CA // nil for a root
}

// NewCA makes a root for the trust domain, valid for one day.
func NewCA(td identity.TrustDomain) *CA {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "development root of " + td.String()},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		URIs:                  []*url.URL{mustURL("spiffe://" + td.String())},
	}
	return &CA{td: td, cert: sign(template, template, &key.PublicKey, key), key: key}
}

// Intermediate makes an authority that this one vouches for.
func (ca *CA) Intermediate(name string) *CA {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return &CA{td: ca.td, cert: sign(template, ca.cert, &key.PublicKey, ca.key), key: key, parent: ca}
}

// Chain returns the authority's own certificate and those above it, the root last.
func (ca *CA) Chain() []*x509.Certificate {
	if ca.parent == nil {
		return []*x509.Certificate{ca.cert}
	}
	return append([]*x509.Certificate{ca.cert}, ca.parent.Chain()...)
}

func (ca *CA) root() *CA {
	for ca.parent != nil {
		ca = ca.parent
	}
	return ca
}

// TrustDomain returns the trust domain the CA was made for.
func (ca *CA) TrustDomain() identity.TrustDomain { return ca.td }

// Certificate returns the authority's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Roots returns a pool with the roots of this authority and of the others.
func (ca *CA) Roots(others ...*CA) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, o := range append([]*CA{ca}, others...) {
		pool.AddCert(o.root().cert)
	}
	return pool
}

// Option changes what is about to be issued; tests use it to break exactly one thing.
type Option func(*request)

type request struct {
	template *x509.Certificate
	roots    *x509.CertPool
}

// WithTemplate hands the certificate template to change before it is signed.
func WithTemplate(change func(*x509.Certificate)) Option {
	return func(r *request) { change(r.template) }
}

// WithRoots makes the material trust these roots in place of the issuing CA's.
func WithRoots(roots *x509.CertPool) Option {
	return func(r *request) { r.roots = roots }
}

// WithValidity sets the validity period of the leaf.
func WithValidity(notBefore, notAfter time.Time) Option {
	return WithTemplate(func(t *x509.Certificate) { t.NotBefore, t.NotAfter = notBefore, notAfter })
}

// Issue makes a leaf for id, as istiod would: one URI name, both extended key usages, valid for one hour. The ID of the
// result is id even where an option gave the certificate other names.
func (ca *CA) Issue(id identity.ID, opts ...Option) *certs.Material {
	key := newKey()
	r := &request{roots: ca.Roots()}
	leaf := ca.leaf(r, id, &key.PublicKey, opts)
	chain := [][]byte{leaf.Raw}
	for _, c := range ca.Chain() {
		chain = append(chain, c.Raw)
	}
	return &certs.Material{
		ID:          id,
		Certificate: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf},
		Roots:       r.roots,
	}
}

// Sign makes the certificate that Issue makes, for somebody else's key.
func (ca *CA) Sign(id identity.ID, public any, opts ...Option) *x509.Certificate {
	return ca.leaf(&request{}, id, public, opts)
}

func (ca *CA) leaf(r *request, id identity.ID, public any, opts []Option) *x509.Certificate {
	r.template = &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if !id.IsZero() {
		r.template.URIs = []*url.URL{mustURL(id.String())}
	}
	for _, o := range opts {
		o(r)
	}
	return sign(r.template, ca.cert, public, ca.key)
}

// WriteFiles issues a leaf for id and writes chain, key and root into dir. The key is readable by its owner only.
func (ca *CA) WriteFiles(dir string, id identity.ID, opts ...Option) error {
	m := ca.Issue(id, opts...)
	key, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		return fmt.Errorf("certstest: %w", err)
	}
	var chain []byte
	for _, der := range m.Certificate.Certificate {
		chain = append(chain, encode("CERTIFICATE", der)...)
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{certs.ChainFile, chain},
		{certs.KeyFile, encode("PRIVATE KEY", key)},
		{certs.RootsFile, encode("CERTIFICATE", ca.root().cert.Raw)},
	} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			return fmt.Errorf("certstest: %w", err)
		}
	}
	return nil
}

// Rotating is a [certs.Source] whose material a test replaces at will. The zero value is not ready.
type Rotating struct {
	current atomic.Pointer[certs.Material]
}

// Set publishes m; nil makes the source not ready.
func (r *Rotating) Set(m *certs.Material) { r.current.Store(m) }

// Current implements [certs.Source].
func (r *Rotating) Current() (*certs.Material, error) {
	if m := r.current.Load(); m != nil {
		return m, nil
	}
	return nil, certs.ErrNotReady
}

func sign(template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		panic("certstest: " + err.Error())
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic("certstest: " + err.Error())
	}
	return cert
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("certstest: " + err.Error())
	}
	return key
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("certstest: " + err.Error())
	}
	return n
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic("certstest: " + err.Error())
	}
	return u
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
