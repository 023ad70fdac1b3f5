package istioca_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"istio.io/api/security/v1alpha1"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/identity/certs/istioca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	td    = identity.RequireTrustDomain("cluster.local")
	ours  = identity.RequireID("spiffe://cluster.local/ns/bank/sa/agents")
	other = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
)

const istiod = "istiod.istio-system.svc"

// authority is a CA behind the protocol that istiod speaks: a real gRPC server with real TLS.
type authority struct {
	v1alpha1.UnimplementedIstioCertificateServiceServer

	mu     sync.Mutex
	ca     *certstest.CA // signs leaves
	tls    *certstest.CA // signs the server's own certificate
	roots  []*x509.Certificate
	ttl    time.Duration
	fail   error
	change func(answer []string, request *x509.CertificateRequest) []string
	calls  []call
}

// call is what the authority saw of one.
type call struct {
	at       time.Time
	metadata metadata.MD
	message  *v1alpha1.IstioCertificateRequest
	request  *x509.CertificateRequest
}

func newAuthority(ca *certstest.CA) *authority {
	chain := ca.Chain()
	return &authority{ca: ca, tls: ca, roots: chain[len(chain)-1:], ttl: time.Hour}
}

func (a *authority) CreateCertificate(ctx context.Context, m *v1alpha1.IstioCertificateRequest) (*v1alpha1.IstioCertificateResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	block, _ := pem.Decode([]byte(m.Csr))
	if block == nil {
		return nil, errors.New("the request is not PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	a.calls = append(a.calls, call{time.Now(), md, m, request})
	if a.fail != nil {
		return nil, a.fail
	}
	answer := a.answer(a.leaf(request.PublicKey))
	if a.change != nil {
		answer = a.change(answer, request)
	}
	return &v1alpha1.IstioCertificateResponse{CertChain: answer}, nil
}

// leaf signs as istiod does: with a beginning in the past.
func (a *authority) leaf(public any, options ...certstest.Option) *x509.Certificate {
	now := time.Now()
	all := append([]certstest.Option{certstest.WithValidity(now.Add(-2*time.Minute), now.Add(a.ttl))}, options...)
	return a.ca.Sign(ours, public, all...)
}

// answer is the leaf, then one intermediate per element, then the roots.
func (a *authority) answer(leaf *x509.Certificate) []string {
	answer := []string{string(certstest.PEM(leaf)) + "\n"}
	chain := a.ca.Chain()
	for _, c := range chain[:len(chain)-1] {
		answer = append(answer, string(certstest.PEM(c))+"\n")
	}
	return append(answer, string(certstest.PEM(a.roots...)))
}

// set changes the authority while it serves.
func (a *authority) set(change func(*authority)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *authority) seen() []call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]call(nil), a.calls...)
}

// serve serves until stop is called. The server's certificate is made for each handshake, for the CA may have changed.
func (a *authority) serve(l net.Listener) (stop func()) {
	own := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		m := a.tls.Issue(identity.ID{}, certstest.WithTemplate(func(c *x509.Certificate) { c.DNSNames = []string{istiod} }))
		return &m.Certificate, nil
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{GetCertificate: own, MinVersion: tls.VersionTLS12})))
	v1alpha1.RegisterIstioCertificateServiceServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	return func() {
		server.Stop()
		<-done
	}
}

// listen serves on loopback for as long as the test runs, and returns the address.
func (a *authority) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.serve(l))
	return l.Addr().String()
}

// rootFile writes a bundle and returns where it is.
func rootFile(t *testing.T, roots ...*x509.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-cert.pem")
	writeRoots(t, path, roots...)
	return path
}

func writeRoots(t *testing.T, path string, roots ...*x509.Certificate) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, certstest.PEM(roots...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// to are options that reach the authority at the address: dialled there, verified by its name in the mesh.
func to(address, roots string) istioca.Options {
	return istioca.Options{
		Address: istiod + ":15012", RootFile: roots, ID: ours, Token: token("secret-1"),
		Dial: func(ctx context.Context, asked string) (net.Conn, error) {
			if asked != istiod+":15012" {
				return nil, errors.New("dialled " + asked)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
}

func token(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// start runs a source for as long as the test runs. What it logs is in the buffer, which is read after stop.
func start(t *testing.T, o istioca.Options) (s *istioca.Source, logged *bytes.Buffer, stop func()) {
	t.Helper()
	logged = new(bytes.Buffer)
	o.Log = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := istioca.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, logged, stop
}

// eventually waits for a condition in real time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}
