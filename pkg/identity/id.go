package identity

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// MaxIDLength is the longest SPIFFE ID we accept, in bytes (SPIFFE-ID specification, section 2.3: implementations must
// support 2048 bytes and must not generate more).
const MaxIDLength = 2048

// maxTrustDomainLength is the longest trust domain name, in bytes (SPIFFE-ID specification, section 2.1).
const maxTrustDomainLength = 255

const scheme = "spiffe://"

// Where a URI name stands in a certificate (RFC 5280, section 4.2.1.6).
const generalNameURI = 6

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// Errors a caller may branch on. Parse errors wrap one of them.
var (
	ErrEmpty         = errors.New("identity: cannot be empty")
	ErrTooLong       = errors.New("identity: longer than 2048 bytes")
	ErrScheme        = errors.New("identity: scheme is not \"spiffe\"")
	ErrTrustDomain   = errors.New("identity: trust domain must be 1 to 255 of [a-z0-9.-_]")
	ErrPath          = errors.New("identity: path segments must be non-empty, not \".\" or \"..\", and of [a-zA-Z0-9.-_]")
	ErrNoURISAN      = errors.New("identity: certificate has no URI subject alternative name")
	ErrManyURISANs   = errors.New("identity: certificate has more than one URI subject alternative name")
	ErrSANEncoding   = errors.New("identity: subject alternative name extension is not valid DER")
	ErrCACertificate = errors.New("identity: certificate is a CA certificate, not a workload's")
)

// TrustDomain names one issuer of identities, for example "cluster.local". The zero value is no trust domain.
type TrustDomain struct{ name string }

// ParseTrustDomain parses a bare trust domain name (no scheme).
func ParseTrustDomain(s string) (TrustDomain, error) {
	if s == "" || len(s) > maxTrustDomainLength {
		return TrustDomain{}, fmt.Errorf("%w: %q", ErrTrustDomain, clip(s))
	}
	for i := range len(s) {
		if !trustDomainByte(s[i]) {
			return TrustDomain{}, fmt.Errorf("%w: %q", ErrTrustDomain, clip(s))
		}
	}
	return TrustDomain{s}, nil
}

// RequireTrustDomain is ParseTrustDomain for constants and tests; it panics on an error.
func RequireTrustDomain(s string) TrustDomain {
	td, err := ParseTrustDomain(s)
	if err != nil {
		panic(err)
	}
	return td
}

func (td TrustDomain) String() string { return td.name }

// IsZero reports whether td is the zero value.
func (td TrustDomain) IsZero() bool { return td.name == "" }

// ID is a SPIFFE ID. It is comparable; two IDs are equal exactly if their spellings are byte-equal. The zero value is no
// identity.
type ID struct {
	td   TrustDomain
	path string // empty, or "/a/b"
}

// ParseID parses a SPIFFE ID in its one canonical spelling (SPIFFE-ID specification, section 2). Nothing is normalised:
// what is not canonical is refused.
func ParseID(s string) (ID, error) {
	switch {
	case s == "":
		return ID{}, ErrEmpty
	case len(s) > MaxIDLength:
		return ID{}, ErrTooLong
	case !strings.HasPrefix(s, scheme):
		return ID{}, fmt.Errorf("%w: %q", ErrScheme, clip(s))
	}
	rest := s[len(scheme):]
	name, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		name, path = rest[:i], rest[i:]
	}
	td, err := ParseTrustDomain(name)
	if err != nil {
		return ID{}, err
	}
	if err := checkPath(path); err != nil {
		return ID{}, fmt.Errorf("%w: %q", err, clip(s))
	}
	return ID{td, path}, nil
}

// RequireID is ParseID for constants and tests; it panics on an error.
func RequireID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// ForServiceAccount builds the ID Istio gives a workload: spiffe://<td>/ns/<namespace>/sa/<account>.
func ForServiceAccount(td TrustDomain, namespace, account string) (ID, error) {
	return ParseID(scheme + td.name + "/ns/" + namespace + "/sa/" + account)
}

// FromCertificate returns the identity of a workload certificate: its only URI subject alternative name. The certificate
// must already have been verified to a trusted root; this function does not verify it (X.509-SVID specification,
// sections 2 and 5.2).
func FromCertificate(c *x509.Certificate) (ID, error) {
	if c.IsCA {
		return ID{}, ErrCACertificate
	}
	uris, err := uriSANs(c)
	if err != nil {
		return ID{}, err
	}
	switch len(uris) {
	case 0:
		return ID{}, ErrNoURISAN
	case 1:
		return ParseID(uris[0])
	}
	return ID{}, ErrManyURISANs
}

// uriSANs reads the URI names from the raw extension. net/url's parsed form in c.URIs is not used: it lowers the scheme
// and drops an empty fragment, so that two different names in the certificate would look the same to us.
func uriSANs(c *x509.Certificate) ([]string, error) {
	var uris []string
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) != 0 || names.Tag != asn1.TagSequence {
			return nil, ErrSANEncoding
		}
		for rest := names.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, ErrSANEncoding
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == generalNameURI {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}

func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return scheme + id.td.name + id.path
}

// IsZero reports whether id is the zero value, which is nobody.
func (id ID) IsZero() bool { return id.td.IsZero() }

// TrustDomain returns the trust domain.
func (id ID) TrustDomain() TrustDomain { return id.td }

// Path returns the path with its leading slash, or "".
func (id ID) Path() string { return id.path }

// Namespace returns the Kubernetes namespace of an ID of the form /ns/<ns>/sa/<sa>, and whether it has that form.
func (id ID) Namespace() (string, bool) { ns, _, ok := id.kubernetes(); return ns, ok }

// ServiceAccount returns the service account of an ID of the form /ns/<ns>/sa/<sa>, and whether it has that form.
func (id ID) ServiceAccount() (string, bool) { _, sa, ok := id.kubernetes(); return sa, ok }

func (id ID) kubernetes() (ns, sa string, ok bool) {
	rest, ok := strings.CutPrefix(id.path, "/ns/")
	if !ok {
		return "", "", false
	}
	ns, rest, ok = strings.Cut(rest, "/sa/")
	if !ok || ns == "" || rest == "" || strings.Contains(ns, "/") || strings.Contains(rest, "/") {
		return "", "", false
	}
	return ns, rest, true
}

// MarshalText spells the ID; it makes IDs readable in logs and audit records.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func checkPath(p string) error {
	if p == "" {
		return nil
	}
	for seg := range strings.SplitSeq(p[1:], "/") {
		if seg == "" || seg == "." || seg == ".." {
			return ErrPath
		}
		for i := range len(seg) {
			if !pathByte(seg[i]) {
				return ErrPath
			}
		}
	}
	return nil
}

func trustDomainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

func pathByte(c byte) bool { return trustDomainByte(c) || c >= 'A' && c <= 'Z' }

// clip bounds attacker text inside error messages; %q at the use escapes it.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}
