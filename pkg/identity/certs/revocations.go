package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Bounds on what is revoked. An operator who reaches one of them revokes the intermediate instead.
const (
	maxLists   = 64      // revocation lists in one file: one per issuer
	maxRevoked = 100_000 // certificates in all of them
)

// ErrRevoked is wrapped by handshake errors which say that a certificate of the peer's chain was revoked.
var ErrRevoked = errors.New("certs: certificate is revoked")

// Revocations are the certificates that issuers took back. It is immutable; nil revokes nothing. What a list does not name
// is not revoked, and what has no list neither (as for ztunnel).
type Revocations struct {
	lists  []*revocationList
	byName map[string][]*revocationList // by the issuer's name, DER
	byKey  map[string][]*revocationList // by the issuer's key identifier
}

// revocationList is one issuer's list.
type revocationList struct {
	*x509.RevocationList
	revoked map[string]time.Time // by serialKey
}

// ParseRevocations reads concatenated PEM revocation lists (RFC 5280, section 5), strictly: one broken list, or one that
// cannot be understood, makes the whole text unusable.
//
// A list whose issuer is among the given authorities must carry that issuer's signature. A list whose issuer is not among
// them counts all the same: [Revocations.Unverified] names it.
func ParseRevocations(text []byte, authorities ...*x509.Certificate) (*Revocations, error) {
	r := &Revocations{byName: map[string][]*revocationList{}, byKey: map[string][]*revocationList{}}
	total := 0
	err := eachBlock(text, "X509 CRL", func(der []byte) error {
		if len(r.lists) == maxLists {
			return fmt.Errorf("more than %d lists", maxLists)
		}
		l, err := parseList(der)
		if err != nil {
			return fmt.Errorf("list %d: %w", len(r.lists)+1, err)
		}
		if total += len(l.revoked); total > maxRevoked {
			return fmt.Errorf("more than %d certificates are revoked", maxRevoked)
		}
		r.lists = append(r.lists, l)
		r.byName[string(l.RawIssuer)] = append(r.byName[string(l.RawIssuer)], l)
		if id := string(l.AuthorityKeyId); id != "" {
			r.byKey[id] = append(r.byKey[id], l)
		}
		return nil
	})
	if err == nil && len(r.lists) == 0 {
		err = errors.New("no list")
	}
	if err == nil {
		err = r.verify(authorities)
	}
	if err != nil {
		return nil, fmt.Errorf("certs: revocations: %w", err)
	}
	return r, nil
}

// What may be in a list besides what crypto/x509 reads (RFC 5280, sections 5.2 and 5.3).
var (
	oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28} // issuingDistributionPoint
	oidDeltaList         = asn1.ObjectIdentifier{2, 5, 29, 27} // deltaCRLIndicator
)

const indirectList = 4 // the tag of issuingDistributionPoint that says so

// parseList reads one list. What a list might say beyond "these serial numbers of mine" is refused: an indirect list speaks
// of other issuers' certificates, a delta list makes sense together with another one only, and what is marked critical
// and not known here could mean anything.
func parseList(der []byte) (*revocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaList):
			return nil, errors.New("delta lists are not supported")
		case e.Id.Equal(oidDistributionPoint):
			if indirect, err := isIndirect(e.Value); err != nil || indirect {
				return nil, errors.New("indirect lists are not supported")
			}
		case e.Critical:
			return nil, fmt.Errorf("critical extension %s is not supported", e.Id)
		}
	}
	l := &revocationList{RevocationList: list, revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries))}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return nil, fmt.Errorf("serial %x: critical extension %s is not supported", entry.SerialNumber, e.Id)
			}
		}
		l.revoked[serialKey(entry.SerialNumber)] = entry.RevocationTime
	}
	// Only the serial numbers are looked at from here on; the rest is several times as large.
	list.RevokedCertificateEntries = nil
	//lint:ignore SA1019 the parser fills it all the same
	list.RevokedCertificates = nil
	return l, nil
}

func isIndirect(der []byte) (bool, error) {
	var point asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &point); err != nil || len(rest) != 0 || point.Tag != asn1.TagSequence {
		return false, errors.New("malformed issuing distribution point")
	}
	for rest := point.Bytes; len(rest) > 0; {
		var field asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &field); err != nil {
			return false, err
		}
		if field.Class == asn1.ClassContextSpecific && field.Tag == indirectList && !bytes.Equal(field.Bytes, []byte{0}) {
			return true, nil
		}
	}
	return false, nil
}

// serialKey tells negative serial numbers from positive ones: both occur in the wild.
func serialKey(n *big.Int) string {
	if n.Sign() < 0 {
		return "-" + string(n.Bytes())
	}
	return "+" + string(n.Bytes())
}

// Check returns an error that wraps [ErrRevoked] if a certificate of the chain was revoked. The chain is what a peer sent,
// leaf first; a root in it is passed over, because a root cannot take itself back: whoever holds its key could sign the
// opposite. Roots are removed from the trusted ones instead.
//
// A certificate belongs to a list if the issuer's name or the issuer's key identifier is the same. Two authorities of one
// name, as before and after a root was replaced, thus revoke each other's serial numbers as well; these are random
// numbers of 64 bits and more, and refusing one certificate too many is the lesser mistake.
func (r *Revocations) Check(chain []*x509.Certificate) error {
	if r == nil {
		return nil
	}
	for _, c := range chain {
		since, ok := r.find(c)
		if !ok || isRoot(c) {
			continue
		}
		return fmt.Errorf("%w: serial %x of issuer %q, since %s", ErrRevoked, c.SerialNumber, c.Issuer,
			since.UTC().Format(time.RFC3339))
	}
	return nil
}

func (r *Revocations) find(c *x509.Certificate) (since time.Time, ok bool) {
	serial := serialKey(c.SerialNumber)
	for _, lists := range [][]*revocationList{r.byName[string(c.RawIssuer)], r.byKey[string(c.AuthorityKeyId)]} {
		for _, l := range lists {
			if since, ok = l.revoked[serial]; ok {
				return since, true
			}
		}
	}
	return time.Time{}, false
}

// isRoot reports whether c signed itself. A name alone does not make a root: an authority may issue to its own name.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil
}

// Len returns how many certificates are revoked.
func (r *Revocations) Len() int {
	n := 0
	if r != nil {
		for _, l := range r.lists {
			n += len(l.revoked)
		}
	}
	return n
}

// Expired names the issuers whose lists should have been replaced by now. What these lists say still counts.
func (r *Revocations) Expired(now time.Time) []string {
	return r.issuers(func(l *revocationList) bool { return !l.NextUpdate.IsZero() && now.After(l.NextUpdate) })
}

// Unverified names the issuers that are not among the authorities, so that nobody can check their lists' signatures.
func (r *Revocations) Unverified(authorities []*x509.Certificate) []string {
	return r.issuers(func(l *revocationList) bool { return len(l.candidates(authorities)) == 0 })
}

func (r *Revocations) issuers(which func(*revocationList) bool) []string {
	var names []string
	if r != nil {
		for _, l := range r.lists {
			if which(l) {
				names = append(names, l.Issuer.String())
			}
		}
	}
	return names
}

// verify checks the signature of every list whose issuer is known.
func (r *Revocations) verify(authorities []*x509.Certificate) error {
	if r == nil {
		return nil
	}
	for _, l := range r.lists {
		if err := l.verify(authorities); err != nil {
			return fmt.Errorf("list of %q: %w", l.Issuer, err)
		}
	}
	return nil
}

func (l *revocationList) verify(authorities []*x509.Certificate) (err error) {
	for _, a := range l.candidates(authorities) {
		if err = l.CheckSignatureFrom(a); err == nil {
			return nil
		}
	}
	return err
}

// candidates are the authorities that may have signed the list. Where both name a key, the name alone is not enough: the
// same authority may have had another key.
func (l *revocationList) candidates(authorities []*x509.Certificate) []*x509.Certificate {
	var found []*x509.Certificate
	for _, a := range authorities {
		named := bytes.Equal(a.RawSubject, l.RawIssuer)
		keyed := len(a.SubjectKeyId) > 0 && len(l.AuthorityKeyId) > 0
		if named && (!keyed || bytes.Equal(a.SubjectKeyId, l.AuthorityKeyId)) {
			found = append(found, a)
		}
	}
	return found
}
