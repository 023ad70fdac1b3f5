package istioca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// maxChain is how many certificates we serve at most: peers bound what they verify, as we do.
const maxChain = 8

// issued is what one call yielded.
type issued struct {
	certificate tls.Certificate // leaf and intermediates
	roots       []*x509.Certificate
}

// newRequest makes a key and a request for it (contract ambient, section 3.1): an empty subject, and our identity as the one
// name. istiod names whom the token belongs to, whatever the request says; other CAs copy the name.
func newRequest(id identity.ID) (*ecdsa.PrivateKey, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.CertificateRequest{}
	if !id.IsZero() {
		name, err := url.Parse(id.String())
		if err != nil {
			return nil, "", err
		}
		template.URIs = []*url.URL{name}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, "", err
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// accept checks the CA's answer: the leaf, intermediates, and last the roots, several in one element.
func accept(answer []string, key *ecdsa.PrivateKey, want identity.ID, mounted []*x509.Certificate) (*issued, error) {
	if len(answer) < 2 {
		return nil, fmt.Errorf("the answer has %d elements, and not at least a certificate and its root", len(answer))
	}
	leaf, chain, roots, err := parse(answer)
	if err != nil {
		return nil, err
	}
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return nil, errors.New("the certificate is for another key")
	}
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	if !want.IsZero() && id != want {
		return nil, fmt.Errorf("the certificate is for %q, and not for %q", id, want)
	}
	chain = slices.DeleteFunc(chain, isRoot)
	if len(chain) >= maxChain {
		return nil, fmt.Errorf("the chain has %d certificates, more than %d", len(chain)+1, maxChain)
	}
	if err := verify(leaf, chain, union(roots, mounted)); err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	certificate := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return &issued{certificate: certificate, roots: roots}, nil
}

func parse(answer []string) (leaf *x509.Certificate, chain, roots []*x509.Certificate, err error) {
	for i, element := range answer {
		bundle, err := certs.ParseBundle([]byte(element))
		switch {
		case err != nil:
			return nil, nil, nil, fmt.Errorf("element %d of the answer: %w", i, err)
		case i == 0 && len(bundle) != 1:
			return nil, nil, nil, fmt.Errorf("element 0 of the answer: %d certificates, and not one", len(bundle))
		case i == 0:
			leaf = bundle[0]
		case i == len(answer)-1:
			roots = bundle
		default:
			chain = append(chain, bundle...)
		}
	}
	return leaf, chain, roots, nil
}

// verify checks what our peers will: in both roles.
func verify(leaf *x509.Certificate, chain, roots []*x509.Certificate) error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for _, c := range roots {
		options.Roots.AddCert(c)
	}
	for _, c := range chain {
		options.Intermediates.AddCert(c)
	}
	for _, role := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options.KeyUsages = []x509.ExtKeyUsage{role}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

// isRoot reports whether c is not to be served: a chain file that ends with the root is a common habit.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil
}

// union returns all certificates once, in order.
func union(bundles ...[]*x509.Certificate) []*x509.Certificate {
	var all []*x509.Certificate
	for _, bundle := range bundles {
		for _, c := range bundle {
			if !slices.ContainsFunc(all, c.Equal) {
				all = append(all, c)
			}
		}
	}
	return all
}
