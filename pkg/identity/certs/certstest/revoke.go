package certstest

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"time"
)

// Revoke returns the authority's revocation list, PEM, that names the given certificates. change may alter the list before it
// is signed; it may be nil.
func (ca *CA) Revoke(change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	list := &x509.RevocationList{
		Number:     big.NewInt(time.Now().Unix()),
		ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().Add(time.Hour),
	}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute),
		})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca.cert, ca.key)
	if err != nil {
		panic("certstest: " + err.Error())
	}
	return encode("X509 CRL", der)
}

// PEM concatenates certificates, as in a bundle.
func PEM(certificates ...*x509.Certificate) []byte {
	var all []byte
	for _, c := range certificates {
		all = append(all, encode("CERTIFICATE", c.Raw)...)
	}
	return all
}
