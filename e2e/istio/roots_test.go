package istio_test

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
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// lifetime of the certificates of workloads while roots change: after it, no certificate is older than the last change.
const lifetime = 12 * time.Second

// TestRoots replaces the mesh's root under load, as Istio's operators do it: the new one is trusted, then signs, then is alone.
func TestRoots(t *testing.T) {
	before, after := newRoot(t, "before"), newRoot(t, "after")
	plugged := t.TempDir()
	before.plug(t, plugged, before.root)
	w := newWorld(t, testbed.IstiodOptions{Env: []string{
		"ROOT_CA_DIR=" + plugged, "ISTIO_MULTIROOT_MESH=true",
		"DEFAULT_WORKLOAD_CERT_TTL=" + lifetime.String(), "MAX_WORKLOAD_CERT_TTL=" + lifetime.String(),
	}})
	p := w.newPlace(t, "roots", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, web)
	stray := before.caller(t, p, way) // has a certificate of the old root that outlives it
	if got, err := stray.get(t, web, "/"); got != http.StatusOK {
		t.Fatalf("a certificate of the root in force: %d, %v", got, err)
	}

	l := teller.start(t, web, 10, 20*time.Millisecond)
	fresh := newTally()
	handshakes := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			again := p.caller(t, "intern", way)
			_, err := again.get(t, web, "/")
			fresh.add(err)
			again.pool.Close()
		}
	}
	for _, step := range []struct {
		what   string
		signer *root
		trust  []*x509.Certificate
	}{
		{"both are trusted, the old one signs", before, []*x509.Certificate{before.root, after.root}},
		{"both are trusted, the new one signs", after, []*x509.Certificate{before.root, after.root}},
		{"the new one is alone", after, []*x509.Certificate{after.root}},
	} {
		step.signer.plug(t, plugged, step.trust...)
		w.followRoots(t, step.trust)
		handshakes(lifetime + lifetime/2)
		if got := presented(t, teller, way); !got.Equal(step.signer.intermediate) {
			t.Errorf("%s: the waypoint's certificate is signed by %s, want %s", step.what, got.Subject, step.signer.intermediate.Subject)
		}
		t.Logf("%s: so far %s; on new connections: %s", step.what, l, fresh)
	}
	l.stop()
	t.Logf("figures: the mesh's root replaced: %s; on new connections: %s", l, fresh)
	if l.failed.Load()+fresh.failed.Load() > 0 || l.sent.Load() < 1000 {
		t.Error("requests failed, or fewer than 1,000 were sent")
	}
	if got, err := after.caller(t, p, way).get(t, web, "/"); got != http.StatusOK {
		t.Errorf("a certificate of the new root: %d, %v", got, err)
	}
	if got, err := before.caller(t, p, way).get(t, web, "/"); err == nil {
		t.Errorf("a certificate of the root that was taken out is accepted: status %d", got)
	}
}

// followRoots mounts the roots anew, as kubelets do, once istiod has published these.
func (w *world) followRoots(t *testing.T, want []*x509.Certificate) {
	t.Helper()
	w.await(t, "istiod publishes the roots", func() error {
		w.i.RefreshRoot(t)
		bundle, err := os.ReadFile(w.i.RootFile)
		if err != nil {
			return err
		}
		var got []string
		for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
			got = append(got, string(block.Bytes))
		}
		for _, c := range want {
			if len(got) != len(want) || !slices.Contains(got, string(c.Raw)) {
				return fmt.Errorf("the ConfigMap has %d certificates, want %d", len(got), len(want))
			}
		}
		return nil
	})
}

// presented is who signed the certificate of a waypoint, as a new connection sees it.
func presented(t *testing.T, c *caller, w *waypoint) *x509.Certificate {
	t.Helper()
	config := certs.ClientConfig(c.source, trust)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", w.addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) < 2 {
		t.Fatalf("the waypoint presents %d certificates: no intermediate", len(chain))
	}
	return chain[1]
}

// root is a certificate authority as operators plug it into istiod: an intermediate signs.
type root struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // of the intermediate
}

func newRoot(t *testing.T, name string) *root {
	t.Helper()
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	}
	rootKey := newKey(t)
	r := &root{key: newKey(t)}
	own := authority("root " + name)
	r.root = sign(t, own, own, &rootKey.PublicKey, rootKey)
	r.intermediate = sign(t, authority("intermediate "+name), r.root, &r.key.PublicKey, rootKey)
	return r
}

// plug writes the files that istiod follows. They replace one another within the tenth of a second that it waits.
func (r *root) plug(t *testing.T, dir string, trusted ...*x509.Certificate) {
	t.Helper()
	key, err := x509.MarshalECPrivateKey(r.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"root-cert.pem":  encode(trusted...),
		"ca-cert.pem":    encode(r.intermediate),
		"cert-chain.pem": encode(r.intermediate),
		"ca-key.pem":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file+".next", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
	}
}

// caller is one whose certificate istiod did not issue and does not renew. It trusts what the others trust.
func (r *root) caller(t *testing.T, p *place, w *waypoint) *caller {
	t.Helper()
	key := newKey(t)
	name, err := url.Parse(id(p.ns, "intern").String())
	if err != nil {
		t.Fatal(err)
	}
	leaf := sign(t, &x509.Certificate{
		URIs: []*url.URL{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, r.intermediate, &key.PublicKey, r.key)
	bundle, err := os.ReadFile(p.i.RootFile)
	if err != nil {
		t.Fatal(err)
	}
	var roots []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, c)
	}
	material, err := certs.NewMaterial(tls.Certificate{
		Certificate: [][]byte{leaf.Raw, r.intermediate.Raw}, PrivateKey: key, Leaf: leaf,
	}, roots)
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{ns: p.ns, source: certs.Static(material), replicas: []*waypoint{w}}
	c.pool = hbone.NewPool(hbone.PoolConfig{Certificates: c.source, Trust: identity.MatchTrustDomains(trustDomain)})
	t.Cleanup(func() { c.pool.Close() })
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, c, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = serial, true
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func encode(all ...*x509.Certificate) (text []byte) {
	for _, c := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}
