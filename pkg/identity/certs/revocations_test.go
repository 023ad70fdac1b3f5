package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

func chainOf(t *testing.T, m *certs.Material) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, der := range m.Certificate.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

func TestRevocations(t *testing.T) {
	root, other := certstest.NewCA(td), certstest.NewCA(td)
	east, west := root.Intermediate("east"), root.Intermediate("west")
	leaf, sibling := chainOf(t, east.Issue(clientID)), chainOf(t, east.Issue(clientID))
	cousin := chainOf(t, west.Issue(clientID))
	elsewhere := func(c *certstest.CA, serial *big.Int) []*x509.Certificate { // another issuer's certificate of that number
		return chainOf(t, c.Issue(clientID, certstest.WithTemplate(func(t *x509.Certificate) { t.SerialNumber = serial })))
	}
	lists := slices.Concat(
		east.Revoke(nil, leaf[0]),
		[]byte("Certificate Revocation List of west, as openssl prints it\n"),
		west.Revoke(func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Second) }, cousin[0]),
		root.Revoke(nil, root.Certificate()),
	)
	r, err := certs.ParseRevocations(lists, root.Certificate(), east.Certificate(), west.Certificate())
	if err != nil || r.Len() != 3 {
		t.Fatalf("got %d revoked, %v", r.Len(), err)
	}
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		want  bool
	}{
		{"revoked", leaf, true},
		{"not revoked", sibling, false},
		{"the same serial number of another issuer", elsewhere(west, leaf[0].SerialNumber), false},
		{"the same serial number of an issuer of no list", elsewhere(other.Intermediate("north"), leaf[0].SerialNumber), false},
		{"revoked by an expired list", cousin, true},
		{"a root takes itself back", []*x509.Certificate{root.Certificate()}, false},
		{"the leaf alone", leaf[:1], true},
		{"not first", slices.Concat(sibling, cousin[:1]), true},
		{"nothing", nil, false},
	} {
		if err := r.Check(tt.chain); errors.Is(err, certs.ErrRevoked) != tt.want || (err == nil) == tt.want {
			t.Errorf("%s: %v, want revoked: %v", tt.name, err, tt.want)
		}
	}
	want := fmt.Sprintf("certs: certificate is revoked: serial %x of issuer \"CN=east\", since ", leaf[0].SerialNumber)
	if err := r.Check(leaf); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
	if got := r.Expired(time.Now()); !slices.Equal(got, []string{"CN=west"}) {
		t.Errorf("expired: %q", got)
	}
	if got := r.Unverified([]*x509.Certificate{root.Certificate(), east.Certificate()}); !slices.Equal(got, []string{"CN=west"}) {
		t.Errorf("unverified: %q", got)
	}
	var none *certs.Revocations
	if err := none.Check(leaf); err != nil || none.Len() != 0 || none.Expired(time.Now()) != nil {
		t.Errorf("no revocations: %v, %d", err, none.Len())
	}
}

// A revoked intermediate takes everything with it that it issued, and an authority that issues to its own name is no root.
func TestRevokedIntermediate(t *testing.T) {
	root := certstest.NewCA(td)
	east := root.Intermediate("east")
	rollover := root.Intermediate("east").Intermediate("east") // issuer and subject are the same, the signature is not its own
	for name, tt := range map[string]struct {
		list  []byte
		chain []*x509.Certificate
	}{
		"intermediate": {root.Revoke(nil, east.Certificate()), chainOf(t, east.Issue(clientID))},
		"rollover":     {east.Revoke(nil, rollover.Certificate()), chainOf(t, rollover.Issue(clientID))},
	} {
		r, err := certs.ParseRevocations(tt.list)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(tt.chain); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevocationsThatCannotBeUsed(t *testing.T) {
	ca := certstest.NewCA(td)
	leaf := ca.Issue(clientID).Certificate.Leaf
	extended := func(id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
		return ca.Revoke(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: value}}
		}, leaf)
	}
	entry := func(id asn1.ObjectIdentifier, critical bool) []byte {
		return ca.Revoke(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{5, 0}}}
		}, leaf)
	}
	good := ca.Revoke(nil, leaf)
	block, _ := pem.Decode(good)
	forged := slices.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	many := ca.Revoke(func(l *x509.RevocationList) {
		for i := range 100_001 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now(),
			})
		}
	})
	point := func(flag int) []byte { // an issuing distribution point with one flag set
		return []byte{0x30, 3, byte(0x80 | flag), 1, 0xff}
	}
	const begins = "certs: revocations: "
	for _, tt := range []struct {
		name, want string
		text       []byte
	}{
		{"good", "", good},
		{"empty", "no list", nil},
		{"not PEM", "not PEM", []byte("hello")},
		{"a certificate", `unexpected PEM block "CERTIFICATE"`, certstest.PEM(ca.Certificate())},
		{"truncated", "not PEM", good[:len(good)-20]},
		{"the second is truncated", "not PEM", slices.Concat(good, good[:len(good)-20])},
		{"the first is not base64", "1 of 2 PEM blocks are broken", slices.Concat([]byte("-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n"), good)},
		{"not a list", "list 1: x509: malformed crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{1, 2}})},
		{"the second is not a list", "list 2: x509: malformed crl", slices.Concat(good, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{1, 2}}))},
		{"forged", `list of "CN=development root of cluster.local": x509: ECDSA verification failure`, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: forged})},
		{"delta", "list 1: delta lists are not supported", extended(asn1.ObjectIdentifier{2, 5, 29, 27}, true, []byte{2, 1, 1})},
		{"indirect", "list 1: indirect lists are not supported", extended(asn1.ObjectIdentifier{2, 5, 29, 28}, true, point(4))},
		{"a malformed distribution point", "list 1: indirect lists are not supported", extended(asn1.ObjectIdentifier{2, 5, 29, 28}, true, []byte{0x30, 9})},
		{"for workloads only", "", extended(asn1.ObjectIdentifier{2, 5, 29, 28}, true, point(1))},
		{"unknown", "", extended(asn1.ObjectIdentifier{1, 2, 3, 4}, false, []byte{5, 0})},
		{"unknown and critical", "list 1: critical extension 1.2.3.4 is not supported", extended(asn1.ObjectIdentifier{1, 2, 3, 4}, true, []byte{5, 0})},
		{"an entry with something unknown", "", entry(asn1.ObjectIdentifier{1, 2, 3, 4}, false)},
		{"an entry of another issuer", fmt.Sprintf("list 1: serial %x: critical extension 2.5.29.29 is not supported", leaf.SerialNumber), entry(asn1.ObjectIdentifier{2, 5, 29, 29}, true)},
		{"65 lists", "more than 64 lists", bytes.Repeat(good, 65)},
		{"100,001 certificates", "more than 100000 certificates are revoked", many},
	} {
		r, err := certs.ParseRevocations(tt.text, ca.Certificate())
		switch {
		case tt.want == "":
			if err != nil || !errors.Is(r.Check([]*x509.Certificate{leaf}), certs.ErrRevoked) {
				t.Errorf("%s: %v, want it to revoke", tt.name, err)
			}
		case r != nil || err == nil || err.Error() != begins+tt.want:
			t.Errorf("%s: %v\n got %v\nwant %s", tt.name, r != nil, err, begins+tt.want)
		}
	}
}

// A root that was replaced by one of the same name: the list of the old key is not held against the new one.
func TestRevocationsOfAReplacedRoot(t *testing.T) {
	old, next := certstest.NewCA(td), certstest.NewCA(td)
	leaf := chainOf(t, old.Issue(clientID))
	r, err := certs.ParseRevocations(old.Revoke(nil, leaf[0]), next.Certificate())
	if err != nil || !errors.Is(r.Check(leaf), certs.ErrRevoked) {
		t.Errorf("got %v, %v", err, r.Check(leaf))
	}
	if got := r.Unverified([]*x509.Certificate{next.Certificate()}); len(got) != 1 {
		t.Errorf("unverified: %q, want the old root", got)
	}
}

// An issuer whose name is spelt differently in its list and in what it issued is known by its key.
func TestRevocationsByKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte{1, 2, 3}, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign,
			BasicConstraintsValid: true, IsCA: true,
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(5), NotAfter: time.Now().Add(time.Hour)},
		issuer("Mesh CA"), &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mesh ca", "Mesh CA"} {
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: leaf.SerialNumber, RevocationTime: time.Now()}},
		}, issuer(name), key)
		if err != nil {
			t.Fatal(err)
		}
		r, err := certs.ParseRevocations(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list}))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check([]*x509.Certificate{leaf}); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("list of %q: %v", name, err)
		}
	}
}

// Both roles, in real handshakes: the peer that was revoked and one that was not.
func TestHandshakeWithRevokedPeers(t *testing.T) {
	ca := certstest.NewCA(td)
	client, server := ca.Issue(clientID), ca.Issue(serverID)
	knowing := func(m *certs.Material, revoked ...*x509.Certificate) certs.Source {
		r, err := certs.ParseRevocations(ca.Revoke(nil, revoked...), ca.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		known := *m
		known.Revocations = r
		return certs.Static(&known)
	}
	other := ca.Issue(clientID)
	for _, tt := range []struct {
		name               string
		server, client     certs.Source
		byServer, byClient bool
	}{
		{"nobody", knowing(server), knowing(client), false, false},
		{"somebody else", knowing(server, other.Certificate.Leaf), knowing(client, other.Certificate.Leaf), false, false},
		{"the client", knowing(server, client.Certificate.Leaf), knowing(client), true, false},
		{"the server", knowing(server), knowing(client, server.Certificate.Leaf), false, true},
	} {
		serverErr, clientErr := shake(t, certs.ServerConfig(tt.server, trust), certs.ClientConfig(tt.client, trust))
		if errors.Is(serverErr, certs.ErrRevoked) != tt.byServer || errors.Is(clientErr, certs.ErrRevoked) != tt.byClient {
			t.Errorf("%s: server says %v, client says %v", tt.name, serverErr, clientErr)
		}
		if failed := tt.byServer || tt.byClient; (serverErr != nil) != failed || (clientErr != nil) != failed {
			t.Errorf("%s: server says %v, client says %v", tt.name, serverErr, clientErr)
		}
	}
}

func FuzzParseRevocations(f *testing.F) {
	ca := certstest.NewCA(td)
	good := ca.Revoke(nil, ca.Issue(clientID).Certificate.Leaf)
	f.Add(good)
	f.Add(slices.Concat(good, good))
	f.Add([]byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := certs.ParseRevocations(text, ca.Certificate())
		if (r == nil) != (err != nil) {
			t.Errorf("got %v and %v", r, err)
		}
		if err == nil && r.Len() > 100_000 {
			t.Errorf("%d revoked", r.Len())
		}
	})
}
