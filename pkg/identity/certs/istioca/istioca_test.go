package istioca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/identity/certs/istioca"
)

func ready(t *testing.T, s certs.Source) *certs.Material {
	t.Helper()
	eventually(t, "the first certificate", func() bool { _, err := s.Current(); return err == nil })
	m, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One certificate, from the request to a handshake with it.
func TestIssue(t *testing.T) {
	root := certstest.NewCA(td)
	mounted := certstest.NewCA(td) // trusted by the file only
	a := newAuthority(root.Intermediate("istiod-1").Intermediate("istiod-2"))
	a.tls = mounted
	o := to(a.listen(t), rootFile(t, mounted.Certificate(), root.Certificate()))
	o.Headers = map[string]string{"ClusterID": "Kubernetes", "x-more": "yes"}
	o.Signer = "signers.example/mesh"
	s, logged, stop := start(t, o)
	m := ready(t, s)
	stop()

	seen := a.seen()
	if len(seen) != 1 {
		t.Fatalf("%d calls, want one", len(seen))
	}
	c := seen[0]
	for name, want := range map[string]string{"authorization": "Bearer secret-1", "clusterid": "Kubernetes", "x-more": "yes"} {
		if got := c.metadata.Get(name); !slices.Equal(got, []string{want}) {
			t.Errorf("metadata %s: got %q, want %q", name, got, want)
		}
	}
	if got := c.message.ValidityDuration; got != 0 {
		t.Errorf("asked for %d seconds, want none: the CA decides", got)
	}
	if got := c.message.Metadata.GetFields()["CertSigner"].GetStringValue(); got != o.Signer {
		t.Errorf("asked signer %q, want %q", got, o.Signer)
	}
	key, _ := c.request.PublicKey.(*ecdsa.PublicKey)
	if len(c.request.Subject.Names) != 0 || len(c.request.URIs) != 1 || c.request.URIs[0].String() != ours.String() ||
		key == nil || key.Curve != elliptic.P256() || c.request.CheckSignature() != nil {
		t.Errorf("request: subject %q, names %v, key %T, signature %v", c.request.Subject, c.request.URIs, c.request.PublicKey, c.request.CheckSignature())
	}

	if m.ID != ours || len(m.Certificate.Certificate) != 3 {
		t.Errorf("got %s with %d certificates, want %s with leaf and two intermediates", m.ID, len(m.Certificate.Certificate), ours)
	}
	for i, der := range m.Certificate.Certificate {
		if c, err := x509.ParseCertificate(der); err != nil || slices.Equal(c.RawIssuer, c.RawSubject) {
			t.Errorf("certificate %d that we serve: a root, or %v", i, err)
		}
	}
	if !m.Roots.Equal(root.Roots(mounted)) || len(m.Authorities) != 2 {
		t.Errorf("trusted are %d roots, want what the CA sent and what is mounted", len(m.Authorities))
	}
	for name, peer := range map[string]*certs.Material{
		"a peer of the same CA":     root.Issue(other),
		"a peer of the mounted one": mounted.Issue(other, certstest.WithRoots(root.Roots())),
	} {
		if err := handshake(t, certs.Static(m), certs.Static(peer)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	st := s.Status()
	if half := time.Until(st.Next); st.ID != ours || st.Err != nil || st.Roots != 2 || half < 29*time.Minute || half > 34*time.Minute || !s.Next().Equal(st.Next) {
		t.Errorf("status %+v, renewal in %s, want half an hour and a little", st, half)
	}
	silent(t, logged.String(), m, "secret-1")
}

// silent asserts that a log has neither the key nor the token.
func silent(t *testing.T, logged string, m *certs.Material, token string) {
	t.Helper()
	if logged == "" {
		t.Error("nothing was logged at all")
	}
	key, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, "PRIVATE", base64.StdEncoding.EncodeToString(key)[40:80]} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log has %q in it:\n%s", secret, logged)
		}
	}
}

// handshake is one between a server with our material and a client.
func handshake(t *testing.T, server, client certs.Source) error {
	t.Helper()
	trust := identity.MatchTrustDomains(td)
	a, b := net.Pipe()
	s, c := tls.Server(a, certs.ServerConfig(server, trust)), tls.Client(b, certs.ClientConfig(client, trust))
	failed := make(chan error, 1)
	go func() {
		err := c.Handshake()
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // the server says whether it accepts us
		}
		b.Close()
		failed <- err
	}()
	err := s.Handshake()
	if err == nil {
		_, err = s.Write([]byte("x"))
	}
	a.Close()
	return errors.Join(err, <-failed)
}

// What a CA may answer that must not be used, each with one thing wrong: before there is a certificate, the source is not
// ready and says why; afterwards the one in use stays.
func TestAnswersThatAreRefused(t *testing.T) {
	root := certstest.NewCA(td)
	a := newAuthority(root.Intermediate("istiod"))
	address := a.listen(t)
	roots := rootFile(t, root.Certificate())
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(options ...certstest.Option) func([]string, *x509.CertificateRequest) []string {
		return func(_ []string, r *x509.CertificateRequest) []string {
			return a.answer(a.leaf(r.PublicKey, options...))
		}
	}
	template := func(change func(*x509.Certificate)) func([]string, *x509.CertificateRequest) []string {
		return signed(certstest.WithTemplate(change))
	}
	named := func(id string) *url.URL {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	const at = istiod + ":15012: "
	for _, tt := range []struct {
		name, want string
		change     func(answer []string, r *x509.CertificateRequest) []string
	}{
		{"nothing", at + "the answer has 0 elements, and not at least a certificate and its root", func([]string, *x509.CertificateRequest) []string { return nil }},
		{"the leaf alone", at + "the answer has 1 elements, and not at least a certificate and its root", func(s []string, _ *x509.CertificateRequest) []string { return s[:1] }},
		{"no intermediate", at + "the certificate: x509: certificate signed by unknown authority", func(s []string, _ *x509.CertificateRequest) []string { return []string{s[0], s[2]} }},
		{"the root first", at + "the certificate is for another key", func(s []string, _ *x509.CertificateRequest) []string { return []string{s[2], s[1], s[0]} }},
		{"two leaves", at + "element 0 of the answer: 2 certificates, and not one", func(s []string, _ *x509.CertificateRequest) []string { return []string{s[0] + s[0], s[1], s[2]} }},
		{"an empty leaf", at + "element 0 of the answer: no certificate", func(s []string, _ *x509.CertificateRequest) []string { return []string{"", s[1], s[2]} }},
		{"an intermediate that is not PEM", at + "element 1 of the answer: not PEM", func(s []string, _ *x509.CertificateRequest) []string { return []string{s[0], "hello", s[2]} }},
		{"truncated roots", at + "element 2 of the answer: not PEM", func(s []string, _ *x509.CertificateRequest) []string {
			return []string{s[0], s[1], s[2][:len(s[2])-30]}
		}},
		{"empty roots", at + "element 2 of the answer: no certificate", func(s []string, _ *x509.CertificateRequest) []string { return []string{s[0], s[1], "\n"} }},
		{"a key among the roots", at + `element 2 of the answer: unexpected PEM block "PRIVATE KEY"`, func(s []string, _ *x509.CertificateRequest) []string {
			return []string{s[0], s[1], s[2] + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}
		}},
		{"nine certificates", at + "the chain has 9 certificates, more than 8", func(s []string, _ *x509.CertificateRequest) []string {
			return slices.Concat(s[:1], slices.Repeat(s[1:2], 8), s[2:])
		}},
		{"another key", at + "the certificate is for another key", func([]string, *x509.CertificateRequest) []string { return a.answer(a.leaf(&stranger.PublicKey)) }},
		{"another identity", at + `the certificate is for "spiffe://cluster.local/ns/bank/sa/teller", and not for "spiffe://cluster.local/ns/bank/sa/agents"`,
			template(func(c *x509.Certificate) { c.URIs = []*url.URL{named(other.String())} })},
		{"two identities", at + "the certificate: identity: certificate has more than one URI subject alternative name",
			template(func(c *x509.Certificate) { c.URIs = append(c.URIs, named(other.String())) })},
		{"no identity", at + "the certificate: identity: certificate has no URI subject alternative name", template(func(c *x509.Certificate) { c.URIs = nil })},
		{"a CA certificate", at + "the certificate: identity: certificate is a CA certificate, not a workload's", template(func(c *x509.Certificate) { c.IsCA = true })},
		{"for clients only", at + "the certificate: x509: certificate specifies an incompatible key usage",
			template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
		{"for servers only", at + "the certificate: x509: certificate specifies an incompatible key usage",
			template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"expired", at + "the certificate: x509: certificate has expired or is not yet valid",
			signed(certstest.WithValidity(time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)))},
		{"of an unknown root", at + "the certificate: x509: certificate signed by unknown authority", func(_ []string, r *x509.CertificateRequest) []string {
			return []string{string(certstest.PEM(certstest.NewCA(td).Sign(ours, r.PublicKey))), string(certstest.PEM(root.Certificate()))}
		}},
	} {
		a.set(func(a *authority) { a.change = tt.change })
		s, logged, stop := start(t, to(address, roots))
		eventually(t, tt.name, func() bool { return s.Status().Err != nil })
		m, err := s.Current()
		stop()
		want := certs.ErrNotReady.Error() + ": istioca: " + tt.want
		if m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v\n got %v\nwant %s", tt.name, m, err, want)
		}
		if !strings.Contains(logged.String(), "level=ERROR msg=\"certificate not issued\"") {
			t.Errorf("%s: not logged:\n%s", tt.name, logged)
		}
	}
}

// Chain files often end with the root, and an answer may repeat it: it is not served.
func TestRootsAreNotServed(t *testing.T) {
	root, retired := certstest.NewCA(td), certstest.NewCA(td)
	a := newAuthority(root.Intermediate("istiod"))
	a.change = func(s []string, _ *x509.CertificateRequest) []string {
		return []string{s[0], s[1] + string(certstest.PEM(root.Certificate(), retired.Certificate())), s[2]}
	}
	s, _, _ := start(t, to(a.listen(t), rootFile(t, root.Certificate())))
	m := ready(t, s)
	if len(m.Certificate.Certificate) != 2 || len(m.Authorities) != 1 {
		t.Errorf("%d certificates and %d roots, want leaf, intermediate and one root", len(m.Certificate.Certificate), len(m.Authorities))
	}
}

// Without an expected identity the CA decides who we are, as istiod does by the token.
func TestAnyIdentity(t *testing.T) {
	root := certstest.NewCA(td)
	a := newAuthority(root)
	o := to(a.listen(t), rootFile(t, root.Certificate()))
	o.ID, o.TTL = identity.ID{}, time.Minute
	s, _, _ := start(t, o)
	if m := ready(t, s); m.ID != ours {
		t.Errorf("got %s, want %s", m.ID, ours)
	}
	if c := a.seen()[0]; len(c.request.URIs) != 0 || c.message.ValidityDuration != 60 {
		t.Errorf("asked for %v and %d s", c.request.URIs, c.message.ValidityDuration)
	}
}

// A CA that cannot be verified never sees the token.
func TestUnverifiedCA(t *testing.T) {
	root := certstest.NewCA(td)
	a := newAuthority(root)
	address := a.listen(t)
	roots := rootFile(t, root.Certificate())
	tlsTo := func(config *tls.Config, err error) func(*istioca.Options) {
		return func(o *istioca.Options) { o.TLS = func() (*tls.Config, error) { return config, err } }
	}
	for _, tt := range []struct {
		name, want string
		change     func(*istioca.Options)
	}{
		{"another root", "certificate signed by unknown authority", func(o *istioca.Options) { o.RootFile = rootFile(t, certstest.NewCA(td).Certificate()) }},
		{"another name", "cannot validate certificate for 127.0.0.1", func(o *istioca.Options) { o.Address, o.Dial = address, nil }},
		{"no root file", "istioca: TLS: no roots: open nosuch.pem: no such file or directory", func(o *istioca.Options) { o.RootFile = "nosuch.pem" }},
		{"no verification", "istioca: TLS: the configuration does not verify the CA, which would be given our token", tlsTo(&tls.Config{InsecureSkipVerify: true}, nil)},
		{"no configuration", "istioca: TLS: there is no configuration", tlsTo(nil, nil)},
		{"failing configuration", "istioca: TLS: broken", tlsTo(nil, errors.New("broken"))},
		{"nobody there", "istioca: " + istiod + ":15012: Unavailable: ", func(o *istioca.Options) {
			o.Dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") }
		}},
		{"no token", "istioca: token: not there", func(o *istioca.Options) {
			o.Token = func() (string, error) { return "", errors.New("not there") }
		}},
		{"an empty token", "istioca: token: it is empty", func(o *istioca.Options) { o.Token = token(" \n") }},
		{"a token of two lines", "Internal", func(o *istioca.Options) { o.Token = token("secret-1\nsecret-2") }},
	} {
		o := to(address, roots)
		tt.change(&o)
		s, logged, stop := start(t, o)
		eventually(t, tt.name, func() bool { return s.Status().Err != nil })
		_, err := s.Current()
		stop()
		if !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if n := len(a.seen()); n != 0 {
			t.Fatalf("%s: the CA was called %d times", tt.name, n)
		}
		if strings.Contains(logged.String(), "secret") {
			t.Errorf("%s: the token is in the log:\n%s", tt.name, logged)
		}
	}
}

// The caller's TLS configuration may name the CA otherwise than the address does.
func TestTLSOfTheCaller(t *testing.T) {
	root := certstest.NewCA(td)
	a := newAuthority(root)
	o := to(a.listen(t), "")
	o.TLS = func() (*tls.Config, error) { return &tls.Config{RootCAs: root.Roots(), ServerName: istiod}, nil }
	o.Address, o.Dial = a.listen(t), nil
	s, _, _ := start(t, o)
	if m := ready(t, s); m.ID != ours || !m.Roots.Equal(root.Roots()) {
		t.Errorf("got %v", m)
	}
}

// What a CA says about a refusal reaches the operator, and what we told it in confidence does not.
func TestRefusals(t *testing.T) {
	root := certstest.NewCA(td)
	a := newAuthority(root)
	address, roots := a.listen(t), rootFile(t, root.Certificate())
	for _, tt := range []struct {
		name, want string
		fail       error
	}{
		{"unauthenticated", "Unauthenticated: request authenticate failure (likely: the token has expired or is not for audience istio-ca, or clusterid is not istiod's name of this cluster)", status.Error(codes.Unauthenticated, "request authenticate failure")},
		{"an echo", "InvalidArgument: got Bearer (token) and (token)", status.Error(codes.InvalidArgument, "got Bearer secret-1 and secret-1")},
		{"a novel", "Internal: " + strings.Repeat("x", 512) + "…", status.Error(codes.Internal, strings.Repeat("x", 3000))},
	} {
		a.set(func(a *authority) { a.fail = tt.fail })
		s, logged, stop := start(t, to(address, roots))
		eventually(t, tt.name, func() bool { return s.Status().Err != nil })
		err := s.Status().Err
		stop()
		if want := "istioca: " + istiod + ":15012: " + tt.want; err.Error() != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, err, want)
		}
		if strings.Contains(logged.String(), "secret") {
			t.Errorf("%s: the token is in the log:\n%s", tt.name, logged)
		}
	}
}

func TestOptions(t *testing.T) {
	good := func() istioca.Options {
		return istioca.Options{Address: "istiod:15012", Token: token("x"), RootFile: "roots.pem"}
	}
	header := func(name, value string) func(*istioca.Options) {
		return func(o *istioca.Options) { o.Headers = map[string]string{name: value} }
	}
	for _, tt := range []struct {
		name, want string
		change     func(*istioca.Options)
	}{
		{"good", "", func(*istioca.Options) {}},
		{"no port", "istioca: address: address istiod: missing port in address", func(o *istioca.Options) { o.Address = "istiod" }},
		{"no host", `istioca: address ":15012" lacks a host or a port`, func(o *istioca.Options) { o.Address = ":15012" }},
		{"no token", "istioca: Token is required", func(o *istioca.Options) { o.Token = nil }},
		{"no roots", "istioca: TLS or RootFile is required", func(o *istioca.Options) { o.RootFile = "" }},
		{"negative TTL", "istioca: TTL -1s is not a number of seconds", func(o *istioca.Options) { o.TTL = -time.Second }},
		{"TTL of half a second", "istioca: TTL 500ms is not a number of seconds", func(o *istioca.Options) { o.TTL = time.Second / 2 }},
		{"our token", `istioca: header "Authorization" cannot be set`, header("Authorization", "Bearer x")},
		{"gRPC's", `istioca: header "grpc-timeout" cannot be set`, header("grpc-timeout", "1S")},
		{"a pseudo-header", `istioca: header name ":authority" is not a name of gRPC metadata`, header(":authority", "x")},
		{"no name", `istioca: header name "" is not a name of gRPC metadata`, header("", "x")},
		{"two lines", `istioca: the value of header "x" is not printable ASCII`, header("x", "a\r\nb: c")},
	} {
		o := good()
		tt.change(&o)
		s, err := istioca.New(o)
		if (s == nil) == (tt.want == "") || (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	s, err := istioca.New(good())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Current(); !errors.Is(err, certs.ErrNotReady) || err.Error() != "certs: not ready: istioca: no certificate was asked for yet" {
		t.Errorf("before Run: %v", err)
	}
}
