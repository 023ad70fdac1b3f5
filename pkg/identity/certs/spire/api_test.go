package spire_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/identity/certs/spire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	td      = identity.RequireTrustDomain("cluster.local")
	friends = identity.RequireTrustDomain("friends.example")
	ours    = identity.RequireID("spiffe://cluster.local/ns/bank/sa/agents")
	other   = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
)

// api is a Workload API: a real server on a real socket, which sends its answer to everybody who asks, and again whenever
// the answer changes.
type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	path string

	mu      sync.Mutex
	answer  *workload.X509SVIDResponse
	fail    error
	changed chan struct{} // closed when answer or fail changes
	asked   int
}

func newAPI(t *testing.T) *api {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &api{path: filepath.Join(dir, "agent.sock"), changed: make(chan struct{})}
}

// send changes the answer.
func (a *api) send(fail error, answer *workload.X509SVIDResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.fail = answer, fail
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *api) state() (*workload.X509SVIDResponse, chan struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answer, a.changed, a.fail
}

func (a *api) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	if md, _ := metadata.FromIncomingContext(stream.Context()); len(md.Get("workload.spiffe.io")) != 1 {
		return status.Error(codes.InvalidArgument, "the security header is missing")
	}
	a.mu.Lock()
	a.asked++
	a.mu.Unlock()
	for {
		answer, changed, fail := a.state()
		if fail != nil {
			return fail
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
		}
	}
}

// serve serves until stop is called.
func (a *api) serve(t *testing.T) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	stop = sync.OnceFunc(func() {
		server.Stop()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// svid is one identity of an answer, of that CA.
func svid(t *testing.T, ca *certstest.CA, id identity.ID, hint string, options ...certstest.Option) *workload.X509SVID {
	t.Helper()
	m := ca.Issue(id, options...)
	key, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := m.Certificate.Certificate
	return &workload.X509SVID{
		SpiffeId: id.String(), Hint: hint, X509SvidKey: key,
		X509Svid: bytes.Join(chain[:len(chain)-1], nil), Bundle: chain[len(chain)-1],
	}
}

func answer(svids ...*workload.X509SVID) *workload.X509SVIDResponse {
	return &workload.X509SVIDResponse{Svids: svids, FederatedBundles: map[string][]byte{}}
}

// start runs a source for as long as the test runs. What it logs is in the buffer, which is read after stop.
func start(t *testing.T, a *api, o spire.Options) (s *spire.Source, logged *bytes.Buffer, stop func()) {
	t.Helper()
	logged = new(bytes.Buffer)
	o.Socket, o.Log = "unix://"+a.path, slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := spire.New(o)
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
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func ready(t *testing.T, s certs.Source) *certs.Material {
	t.Helper()
	eventually(t, "the first update", func() bool { _, err := s.Current(); return err == nil })
	m, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
