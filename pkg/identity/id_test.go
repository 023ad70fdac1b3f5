package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"waymark.dev/waypoint/pkg/identity"
)

func TestParseID(t *testing.T) {
	tests := []struct{ in, td, path, ns, sa string }{
		{"spiffe://cluster.local/ns/bank/sa/teller", "cluster.local", "/ns/bank/sa/teller", "bank", "teller"},
		{"spiffe://td", "td", "", "", ""},
		{"spiffe://1.2.3.4/a", "1.2.3.4", "/a", "", ""},
		{"spiffe://a_b-c.d/X.Y-Z_9", "a_b-c.d", "/X.Y-Z_9", "", ""},
		{"spiffe://td/...", "td", "/...", "", ""},
		{"spiffe://td/ns/a/sa/b/c", "td", "/ns/a/sa/b/c", "", ""},
		{"spiffe://td/ns/a/b/sa/c", "td", "/ns/a/b/sa/c", "", ""},
		{"spiffe://td/ns/sa/sa/ns", "td", "/ns/sa/sa/ns", "sa", "ns"},
		{"spiffe://td/NS/a/SA/b", "td", "/NS/a/SA/b", "", ""},
	}
	for _, tt := range tests {
		id, err := identity.ParseID(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		ns, isNS := id.Namespace()
		sa, isSA := id.ServiceAccount()
		if id.String() != tt.in || id.TrustDomain().String() != tt.td || id.Path() != tt.path || ns != tt.ns || sa != tt.sa ||
			isNS != (tt.ns != "") || isSA != (tt.sa != "") {
			t.Errorf("%q: got %q = %q %q, namespace %q, account %q", tt.in, id, id.TrustDomain(), id.Path(), ns, sa)
		}
		if text, err := id.MarshalText(); err != nil || string(text) != tt.in {
			t.Errorf("%q: marshals to %q, %v", tt.in, text, err)
		}
	}
}

// hostile is every spelling that some reader somewhere takes for an identity, with the error that says why it is none.
var hostile = []struct {
	in   string
	want error
}{
	{"", identity.ErrEmpty},
	{"spiffe://cluster.local/" + strings.Repeat("a", 2049-23), identity.ErrTooLong},
	{"spiffe:/cluster.local/a", identity.ErrScheme},
	{"spiffe:cluster.local/a", identity.ErrScheme},
	{"Spiffe://cluster.local/a", identity.ErrScheme},
	{"SPIFFE://cluster.local/a", identity.ErrScheme},
	{" spiffe://cluster.local/a", identity.ErrScheme},
	{"\tspiffe://cluster.local/a", identity.ErrScheme},
	{"\x00spiffe://cluster.local/a", identity.ErrScheme},
	{"\ufeffspiffe://cluster.local/a", identity.ErrScheme},
	{"https://cluster.local/a", identity.ErrScheme},
	{"spiffe", identity.ErrScheme},
	{"spiffe:", identity.ErrScheme},
	{"://cluster.local/a", identity.ErrScheme},
	{"//cluster.local/a", identity.ErrScheme},
	{"cluster.local/ns/bank/sa/teller", identity.ErrScheme},
	{"spiffe+x://cluster.local/a", identity.ErrScheme},
	{"xspiffe://cluster.local/a", identity.ErrScheme},
	{"spiffe\x00://cluster.local/a", identity.ErrScheme},
	{"ſpiffe://cluster.local/a", identity.ErrScheme},
	{"spiffe%3A//cluster.local/a", identity.ErrScheme},
	{"spiffe:\\\\cluster.local\\a", identity.ErrScheme},
	{"spiffe://", identity.ErrTrustDomain},
	{"spiffe:///a", identity.ErrTrustDomain},
	{"spiffe:////a", identity.ErrTrustDomain},
	{"spiffe://Cluster.local/a", identity.ErrTrustDomain},
	{"spiffe://cluster.LOCAL", identity.ErrTrustDomain},
	{"spiffe://cluster.local:8080/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local:/a", identity.ErrTrustDomain},
	{"spiffe://user@cluster.local/a", identity.ErrTrustDomain},
	{"spiffe://user:pw@cluster.local/a", identity.ErrTrustDomain},
	{"spiffe://@cluster.local/a", identity.ErrTrustDomain},
	{"spiffe://cluster%2elocal/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local%00/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local\x00/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local\x00.evil.org/a", identity.ErrTrustDomain},
	{"spiffe://cluster local/a", identity.ErrTrustDomain},
	{"spiffe://clüster.local/a", identity.ErrTrustDomain},
	{"spiffe://cluster。local/a", identity.ErrTrustDomain},
	{"spiffe://[fd00::1]/a", identity.ErrTrustDomain},
	{"spiffe://[fe80::1%eth0]/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local?x", identity.ErrTrustDomain},
	{"spiffe://cluster.local#x", identity.ErrTrustDomain},
	{"spiffe://cluster.local\\a", identity.ErrTrustDomain},
	{"spiffe://cluster.local\n/a", identity.ErrTrustDomain},
	{"spiffe://*.local/a", identity.ErrTrustDomain},
	{"spiffe://" + strings.Repeat("a", 256) + "/a", identity.ErrTrustDomain},
	{"spiffe://cluster.local/", identity.ErrPath},
	{"spiffe://cluster.local//", identity.ErrPath},
	{"spiffe://cluster.local/a/", identity.ErrPath},
	{"spiffe://cluster.local//a", identity.ErrPath},
	{"spiffe://cluster.local/a//b", identity.ErrPath},
	{"spiffe://cluster.local/.", identity.ErrPath},
	{"spiffe://cluster.local/..", identity.ErrPath},
	{"spiffe://cluster.local/./a", identity.ErrPath},
	{"spiffe://cluster.local/ns/bank/sa/../../other/sa/admin", identity.ErrPath},
	{"spiffe://cluster.local/%2e%2e/a", identity.ErrPath},
	{"spiffe://cluster.local/a%2fb", identity.ErrPath},
	{"spiffe://cluster.local/a%00", identity.ErrPath},
	{"spiffe://cluster.local/a\x00", identity.ErrPath},
	{"spiffe://cluster.local/ns/bank/sa/teller\x00.evil", identity.ErrPath},
	{"spiffe://cluster.local/a?b", identity.ErrPath},
	{"spiffe://cluster.local/a?", identity.ErrPath},
	{"spiffe://cluster.local/a#b", identity.ErrPath},
	{"spiffe://cluster.local/a#", identity.ErrPath},
	{"spiffe://cluster.local/a;b", identity.ErrPath},
	{"spiffe://cluster.local/a b", identity.ErrPath},
	{"spiffe://cluster.local/a ", identity.ErrPath},
	{"spiffe://cluster.local/a\n", identity.ErrPath},
	{"spiffe://cluster.local/a\r\n", identity.ErrPath},
	{"spiffe://cluster.local/a\\b", identity.ErrPath},
	{"spiffe://cluster.local/ä", identity.ErrPath},
	{"spiffe://cluster.local/\xff", identity.ErrPath},
	{"spiffe://cluster.local/a@b", identity.ErrPath},
	{"spiffe://cluster.local/a:b", identity.ErrPath},
	{"spiffe://cluster.local/*", identity.ErrPath},
	{"spiffe://cluster.local/a,spiffe://cluster.local/b", identity.ErrPath},
	{"spiffe://cluster.local/\u202eteller", identity.ErrPath},
	{"spiffe://cluster.local/\x1b[31m", identity.ErrPath},
}

func TestParseIDRefuses(t *testing.T) {
	for _, tt := range hostile {
		id, err := identity.ParseID(tt.in)
		if !errors.Is(err, tt.want) || !id.IsZero() {
			t.Errorf("%.60q: got %q, %v, want %v", tt.in, id, err, tt.want)
		}
		if err != nil && (len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x00\n\r\x1b\u202e")) {
			t.Errorf("%.60q: error text is unbounded or not escaped: %q", tt.in, err)
		}
	}
}

var sanOID = asn1.ObjectIdentifier{2, 5, 29, 17}

// certificate makes a leaf with the given raw subject alternative name extensions.
func certificate(t *testing.T, isCA bool, extensions ...[]byte) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: isCA,
	}
	for _, e := range extensions {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: sanOID, Value: e})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil // crypto/x509 refuses it first, as it would in a handshake
	}
	return c
}

// names encodes a subject alternative name extension: URI names, and others by tag.
func names(t *testing.T, of ...asn1.RawValue) []byte {
	t.Helper()
	der, err := asn1.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func uri(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(s)}
}

func dns(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(s)}
}

func TestFromCertificate(t *testing.T) {
	const good = "spiffe://cluster.local/ns/bank/sa/teller"
	id, err := identity.FromCertificate(certificate(t, false, names(t, dns("a.b"), uri(good))))
	if err != nil || id.String() != good {
		t.Errorf("got %q, %v, want %q", id, err, good)
	}
	tests := []struct {
		name string
		cert *x509.Certificate
		want error
	}{
		{"no extension", certificate(t, false), identity.ErrNoURISAN},
		{"DNS name only", certificate(t, false, names(t, dns("a.b"))), identity.ErrNoURISAN},
		{"identity as DNS name", certificate(t, false, names(t, dns(good))), identity.ErrNoURISAN},
		{"two URIs", certificate(t, false, names(t, uri(good), uri("spiffe://cluster.local/b"))), identity.ErrManyURISANs},
		{"the same URI twice", certificate(t, false, names(t, uri(good), uri(good))), identity.ErrManyURISANs},
		{"a second URI of another kind", certificate(t, false, names(t, uri("https://a"), uri(good))), identity.ErrManyURISANs},
		{"CA", certificate(t, true, names(t, uri(good))), identity.ErrCACertificate},
		{"URL", certificate(t, false, names(t, uri("https://cluster.local/a"))), identity.ErrScheme},
		{"upper case scheme", certificate(t, false, names(t, uri("SPIFFE://cluster.local/a"))), identity.ErrScheme},
		{"empty fragment", certificate(t, false, names(t, uri(good+"#"))), identity.ErrPath},
	}
	for _, tt := range tests {
		if tt.cert == nil {
			t.Errorf("%s: the fixture does not parse", tt.name)
			continue
		}
		if id, err := identity.FromCertificate(tt.cert); !errors.Is(err, tt.want) || !id.IsZero() {
			t.Errorf("%s: got %q, %v, want %v", tt.name, id, err, tt.want)
		}
	}
}

// Every hostile spelling inside a certificate: refused by crypto/x509 or by us, and never an identity.
func TestFromCertificateHostileNames(t *testing.T) {
	for _, tt := range hostile {
		c := certificate(t, false, names(t, uri(tt.in)))
		if c == nil {
			continue
		}
		if id, err := identity.FromCertificate(c); err == nil || !id.IsZero() {
			t.Errorf("%.60q: accepted as %q", tt.in, id)
		}
	}
}

// Extensions that are not what they should be; crypto/x509 refuses most of them, so they are handed in directly.
func TestFromCertificateBrokenExtension(t *testing.T) {
	good := names(t, uri("spiffe://cluster.local/a"))
	for name, value := range map[string][]byte{
		"empty":          {},
		"not a sequence": {0x0c, 1, 'a'},
		"trailing bytes": append(append([]byte(nil), good...), 0),
		"truncated":      good[:len(good)-1],
		"broken name":    {0x30, 2, 0x86, 9},
	} {
		c := &x509.Certificate{Extensions: []pkix.Extension{{Id: sanOID, Value: value}}}
		if _, err := identity.FromCertificate(c); !errors.Is(err, identity.ErrSANEncoding) {
			t.Errorf("%s: got %v, want %v", name, err, identity.ErrSANEncoding)
		}
	}
	twice := &x509.Certificate{Extensions: []pkix.Extension{{Id: sanOID, Value: good}, {Id: sanOID, Value: good}}}
	if _, err := identity.FromCertificate(twice); !errors.Is(err, identity.ErrManyURISANs) {
		t.Errorf("extension twice: got %v, want %v", err, identity.ErrManyURISANs)
	}
}

func TestMatchers(t *testing.T) {
	a, b := identity.RequireID("spiffe://td/a"), identity.RequireID("spiffe://td/b")
	other := identity.RequireID("spiffe://other/a")
	td := identity.RequireTrustDomain("td")
	tests := []struct {
		name  string
		match identity.Matcher
		id    identity.ID
		want  string
	}{
		{"same", identity.MatchID(a), a, ""},
		{"different", identity.MatchID(a), b, `identity: got "spiffe://td/b", expected "spiffe://td/a"`},
		{"nobody", identity.MatchID(identity.ID{}), identity.ID{}, `identity: got "", expected ""`},
		{"one of", identity.MatchOneOf(b, a), a, ""},
		{"none of", identity.MatchOneOf(a, b), other, `identity: "spiffe://other/a" is not among the 2 expected identities`},
		{"one of none", identity.MatchOneOf(), a, `identity: "spiffe://td/a" is not among the 0 expected identities`},
		{"nobody among", identity.MatchOneOf(identity.ID{}), identity.ID{}, `identity: "" is not among the 1 expected identities`},
		{"trust domain", identity.MatchTrustDomains(td), b, ""},
		{"foreign", identity.MatchTrustDomains(td), other, `identity: trust domain "other" is not trusted`},
		{"no trust domains", identity.MatchTrustDomains(), a, `identity: trust domain "td" is not trusted`},
		{"zero trust domain", identity.MatchTrustDomains(identity.TrustDomain{}), identity.ID{}, `identity: trust domain "" is not trusted`},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.match(tt.id); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestForServiceAccount(t *testing.T) {
	td := identity.RequireTrustDomain("cluster.local")
	id, err := identity.ForServiceAccount(td, "bank", "teller")
	if err != nil || id.String() != "spiffe://cluster.local/ns/bank/sa/teller" {
		t.Errorf("got %q, %v", id, err)
	}
	for _, bad := range [][2]string{{"", "a"}, {"a", ""}, {"..", "a"}, {"a b", "c"}} {
		if id, err := identity.ForServiceAccount(td, bad[0], bad[1]); err == nil {
			t.Errorf("%q: got %q", bad, id)
		}
	}
	if id, err := identity.ForServiceAccount(identity.TrustDomain{}, "a", "b"); err == nil {
		t.Errorf("no trust domain: got %q", id)
	}
}

// What parses is spelled back identically, and go-spiffe, the reference implementation, agrees on all of it.
func FuzzParseID(f *testing.F) {
	for _, tt := range hostile {
		f.Add(tt.in)
	}
	f.Add("spiffe://cluster.local/ns/bank/sa/teller")
	f.Add("spiffe://td")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := identity.ParseID(s)
		reference, refErr := spiffeid.FromString(s)
		switch {
		case err != nil && !id.IsZero():
			t.Errorf("%q: an identity beside an error", s)
		case err == nil && id.String() != s:
			t.Errorf("%q: spelled back as %q", s, id)
		case err == nil && refErr != nil:
			t.Errorf("%q: accepted, the reference says %v", s, refErr)
		case err != nil && refErr == nil && len(s) <= identity.MaxIDLength && len(reference.TrustDomain().Name()) <= 255:
			t.Errorf("%q: refused with %v, the reference accepts it", s, err)
		case err == nil && (id.TrustDomain().String() != reference.TrustDomain().Name() || id.Path() != reference.Path()):
			t.Errorf("%q: read as %q %q, the reference reads %q %q", s, id.TrustDomain(), id.Path(), reference.TrustDomain().Name(), reference.Path())
		}
	})
}
