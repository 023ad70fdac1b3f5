package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

var (
	td       = identity.RequireTrustDomain("cluster.local")
	clientID = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
	serverID = identity.RequireID("spiffe://cluster.local/ns/bank/sa/waypoint")
	trust    = identity.MatchTrustDomains(td)
)

// shake does one handshake over a pipe and returns how each side saw it.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // in TLS 1.3 the client learns of a refusal when it reads
		}
		a.Close()
		done <- err
	}()
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	b.Close()
	return <-done, clientErr
}

func TestHandshake(t *testing.T) {
	ca := certstest.NewCA(td)
	server := certs.ServerConfig(certs.Static(ca.Issue(serverID)), trust)
	client := certs.ClientConfig(certs.Static(ca.Issue(clientID)), identity.MatchID(serverID))
	if serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
		t.Errorf("server says %v, client says %v", serverErr, clientErr)
	}
}

// What a listener says about peers that must not get in.
func TestServerRefuses(t *testing.T) {
	ca, foreign := certstest.NewCA(td), certstest.NewCA(td)
	elsewhere := identity.RequireID("spiffe://elsewhere.org/ns/bank/sa/teller")
	hour := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Hour) }
	uris := func(all ...string) certstest.Option {
		return certstest.WithTemplate(func(c *x509.Certificate) {
			c.URIs = nil
			for _, s := range all {
				u, err := url.Parse(s)
				if err != nil {
					t.Fatal(err)
				}
				c.URIs = append(c.URIs, u)
			}
		})
	}
	template := certstest.WithTemplate
	tests := []struct {
		name string
		peer *certs.Material
		want string // part of the server's reason
	}{
		{"other CA", foreign.Issue(clientID), "certificate signed by unknown authority"},
		{"expired", ca.Issue(clientID, certstest.WithValidity(hour(-2), hour(-1))), "certificate has expired or is not yet valid"},
		{"not yet valid", ca.Issue(clientID, certstest.WithValidity(hour(1), hour(2))), "certificate has expired or is not yet valid"},
		{"foreign trust domain", ca.Issue(elsewhere), `trust domain "elsewhere.org" is not trusted`},
		{"no URI", ca.Issue(clientID, uris()), "no URI subject alternative name"},
		{"two URIs", ca.Issue(clientID, uris(clientID.String(), serverID.String())), "more than one URI"},
		{"URL", ca.Issue(clientID, uris("https://cluster.local/ns/bank/sa/teller")), `scheme is not "spiffe"`},
		{"upper case", ca.Issue(clientID, uris("spiffe://Cluster.local/ns/bank/sa/teller")), "trust domain must be"},
		{"port", ca.Issue(clientID, uris("spiffe://cluster.local:1/a")), "trust domain must be"},
		{"trailing slash", ca.Issue(clientID, uris("spiffe://cluster.local/a/")), "path segments must be"},
		{"dots", ca.Issue(clientID, uris("spiffe://cluster.local/a/../b")), "path segments must be"},
		{"CA certificate", ca.Issue(clientID, template(func(c *x509.Certificate) { c.IsCA = true })), "is a CA certificate"},
		{"signing key usage", ca.Issue(clientID, template(func(c *x509.Certificate) {
			c.KeyUsage |= x509.KeyUsageCertSign
		})), "key usage allows signing certificates"},
		{"server only", ca.Issue(clientID, template(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})), "incompatible key usage"},
		{"10,000 names", ca.Issue(clientID, template(func(c *x509.Certificate) {
			for i := range 10_000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("n%d.example", i))
			}
		})), "names, more than 64"},
		{"large", ca.Issue(clientID, template(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: make([]byte, 40<<10)}}
		})), "bytes, more than 32768"},
		{"50 intermediates", withChain(ca.Issue(clientID), 50), "certificates, more than 8"},
		{"1,000 constraints", constrained(t, ca), "name constraints, more than 64"},
	}
	server := certs.ServerConfig(certs.Static(ca.Issue(serverID)), trust)
	for _, tt := range tests {
		client := certs.ClientConfig(certs.Static(tt.peer), trust)
		client.VerifyConnection = nil // the peer does not care who we are
		serverErr, clientErr := shake(t, server, client)
		if serverErr == nil || !strings.Contains(serverErr.Error(), tt.want) {
			t.Errorf("%s: server says %v, want %q", tt.name, serverErr, tt.want)
		}
		if clientErr == nil {
			t.Errorf("%s: the client got through", tt.name)
		}
	}
}

func withChain(m *certs.Material, n int) *certs.Material {
	chain := m.Certificate
	for len(chain.Certificate) < n {
		chain.Certificate = append(chain.Certificate, chain.Certificate[1])
	}
	return &certs.Material{ID: m.ID, Certificate: chain, Roots: m.Roots}
}

// constrained adds an intermediate with a thousand name constraints to the chain.
func constrained(t *testing.T, ca *certstest.CA) *certs.Material {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
		PermittedDNSDomainsCritical: true,
	}
	for i := range 1000 {
		template.ExcludedDNSDomains = append(template.ExcludedDNSDomains, fmt.Sprintf("n%d.example", i))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	m := ca.Issue(clientID)
	m.Certificate.Certificate = append(m.Certificate.Certificate, der)
	return m
}

// TLS itself: version, protocol, certificate. (crypto/tls lets a client that only speaks http/1.1 pass where we offer
// only h2, as if neither had named a protocol; the check is ours.)
func TestServerRefusesWeakClients(t *testing.T) {
	ca := certstest.NewCA(td)
	tests := map[string]struct {
		change func(*tls.Config)
		want   string
	}{
		"TLS 1.2":        {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, "unsupported versions"},
		"no ALPN":        {func(c *tls.Config) { c.NextProtos = nil }, `peer did not negotiate ALPN "h2"`},
		"other ALPN":     {func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, `peer did not negotiate ALPN "h2"`},
		"no certificate": {func(c *tls.Config) { c.GetClientCertificate = noCertificate }, "didn't provide a certificate"},
	}
	server := certs.ServerConfig(certs.Static(ca.Issue(serverID)), trust)
	for name, tt := range tests {
		client := certs.ClientConfig(certs.Static(ca.Issue(clientID)), trust)
		client.VerifyConnection = nil
		tt.change(client)
		serverErr, clientErr := shake(t, server, client)
		if serverErr == nil || !strings.Contains(serverErr.Error(), tt.want) || clientErr == nil {
			t.Errorf("%s: server says %v, want %q; client says %v", name, serverErr, tt.want, clientErr)
		}
	}
}

func noCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &tls.Certificate{}, nil
}

func TestClientRefuses(t *testing.T) {
	ca := certstest.NewCA(td)
	client := certs.ClientConfig(certs.Static(ca.Issue(clientID)), identity.MatchID(serverID))
	tests := map[string]struct {
		server   *certs.Material
		identity bool
	}{
		"other CA":       {certstest.NewCA(td).Issue(serverID), false},
		"other identity": {ca.Issue(clientID), true},
	}
	for name, tt := range tests {
		_, err := shake(t, certs.ServerConfig(certs.Static(tt.server), trust), client)
		if err == nil || errors.Is(err, certs.ErrPeerIdentity) != tt.identity {
			t.Errorf("%s: client says %v, want an identity error: %v", name, err, tt.identity)
		}
	}
}

// Without material, without trust: nobody gets in, and the client does not even try.
func TestNotReady(t *testing.T) {
	ca := certstest.NewCA(td)
	client := certs.ClientConfig(certs.Static(ca.Issue(clientID)), trust)
	for name, server := range map[string]*tls.Config{
		"no material": certs.ServerConfig(certs.Static(nil), trust),
		"nil trust":   certs.ServerConfig(certs.Static(ca.Issue(serverID)), nil),
	} {
		if serverErr, clientErr := shake(t, server, client); serverErr == nil || clientErr == nil {
			t.Errorf("%s: server says %v, client says %v", name, serverErr, clientErr)
		}
	}
	server := certs.ServerConfig(certs.Static(ca.Issue(serverID)), trust)
	notReady := certs.ClientConfig(certs.Static(nil), trust)
	if _, err := shake(t, server, notReady); !errors.Is(err, certs.ErrNotReady) {
		t.Errorf("client without material: %v, want %v", err, certs.ErrNotReady)
	}
}

// CVE-2025-68121: a ticket must not outlive a root. There are none, even for a client that asks for them.
func TestNoResumption(t *testing.T) {
	old, next := certstest.NewCA(td), certstest.NewCA(td)
	var source certstest.Rotating
	source.Set(old.Issue(serverID))
	server := certs.ServerConfig(&source, trust)
	client := certs.ClientConfig(certs.Static(old.Issue(clientID)), trust)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	client.ServerName = "waypoint"
	for range 3 {
		if serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Fatalf("server says %v, client says %v", serverErr, clientErr)
		}
	}
	source.Set(next.Issue(serverID))
	client.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.DidResume {
			t.Error("a session was resumed")
		}
		return nil
	}
	for range 100 {
		if serverErr, _ := shake(t, server, client); serverErr == nil {
			t.Fatal("a client of a removed root got in")
		}
	}
}

func TestNewMaterial(t *testing.T) {
	ca := certstest.NewCA(td)
	good := ca.Issue(clientID)
	roots := []*x509.Certificate{ca.Certificate()}
	if m, err := certs.NewMaterial(good.Certificate, roots); err != nil || m.ID != clientID {
		t.Errorf("got %v, %v", m, err)
	}
	noLeaf := good.Certificate
	noLeaf.Leaf = nil
	if m, err := certs.NewMaterial(noLeaf, roots); err != nil || m.Certificate.Leaf == nil {
		t.Errorf("without a parsed leaf: %v, %v", m, err)
	}
	broken := good.Certificate
	broken.Leaf, broken.Certificate = nil, [][]byte{{1, 2, 3}}
	anonymous := ca.Issue(identity.ID{})
	for name, tt := range map[string]struct {
		certificate tls.Certificate
		roots       []*x509.Certificate
		want        string
	}{
		"empty":       {tls.Certificate{}, roots, "certs: certificate chain or key is empty"},
		"no roots":    {good.Certificate, nil, "certs: no trusted roots"},
		"empty roots": {good.Certificate, []*x509.Certificate{}, "certs: no trusted roots"},
		"broken leaf": {broken, roots, "certs: leaf: x509: malformed certificate"},
		"no identity": {anonymous.Certificate, roots, "certs: leaf: identity: certificate has no URI subject alternative name"},
	} {
		if _, err := certs.NewMaterial(tt.certificate, tt.roots); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got error %v, want %q", name, err, tt.want)
		}
	}
}
