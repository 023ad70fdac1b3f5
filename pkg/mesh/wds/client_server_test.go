package wds_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

const (
	addressType       = "type.googleapis.com/istio.workload.Address"
	authorizationType = "type.googleapis.com/istio.security.Authorization"
)

// istiod is a server of delta ADS that says what a test makes it say. It serves TLS under istiod's name, or in the clear
// where the test brings a listener of its own.
type istiod struct {
	address string
	ca      *certstest.CA
	leaf    tls.Certificate // istiod's own
	streams chan *adsStream
	server  *grpc.Server
	done    chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

// adsStream is one stream, as the server sees it.
type adsStream struct {
	tb       testing.TB
	headers  metadata.MD
	requests chan *discovery.DeltaDiscoveryRequest
	stream   discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	end      chan error
	gone     <-chan struct{}
	nonce    int
}

var testCA = sync.OnceValue(func() *certstest.CA { return certstest.NewCA(identity.RequireTrustDomain("cluster.local")) })

func startIstiod(tb testing.TB, opts ...grpc.ServerOption) *istiod {
	tb.Helper()
	leaf := testCA().Issue(identity.RequireID("spiffe://cluster.local/ns/istio-system/sa/istiod"),
		certstest.WithTemplate(func(c *x509.Certificate) { c.DNSNames = []string{"istiod.istio-system.svc"} }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{leaf.Certificate}, MinVersion: tls.VersionTLS13})
	i := serveIstiod(tb, l, append(opts, grpc.Creds(creds))...)
	i.ca, i.leaf = testCA(), leaf.Certificate
	return i
}

func serveIstiod(tb testing.TB, l net.Listener, opts ...grpc.ServerOption) *istiod {
	i := &istiod{address: l.Addr().String(), streams: make(chan *adsStream, 64), done: make(chan struct{})}
	i.server = grpc.NewServer(append(opts, grpc.MaxSendMsgSize(1<<30))...)
	discovery.RegisterAggregatedDiscoveryServiceServer(i.server, &ads{tb: tb, i: i})
	served := make(chan error, 1)
	go func() { served <- i.server.Serve(&recorder{Listener: l, i: i}) }()
	tb.Cleanup(func() {
		close(i.done)
		i.server.Stop()
		if err := <-served; err != nil {
			tb.Errorf("Serve returned %v", err)
		}
	})
	return i
}

// recorder remembers connections, so that a test can cut them.
type recorder struct {
	net.Listener
	i *istiod
}

func (r *recorder) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err == nil {
		r.i.mu.Lock()
		r.i.conns = append(r.i.conns, c)
		r.i.mu.Unlock()
	}
	return c, err
}

// cut ends every connection without a word.
func (i *istiod) cut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
	i.conns = nil
}

type ads struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	tb testing.TB
	i  *istiod
}

func (a *ads) DeltaAggregatedResources(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	headers, _ := metadata.FromIncomingContext(stream.Context())
	s := &adsStream{
		tb: a.tb, headers: headers, stream: stream, gone: stream.Context().Done(),
		requests: make(chan *discovery.DeltaDiscoveryRequest, 64), end: make(chan error, 1),
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			req, err := stream.Recv()
			if err != nil {
				close(s.requests)
				return
			}
			s.requests <- req
		}
	}()
	a.i.streams <- s
	select {
	case err := <-s.end:
		return err
	case <-s.gone:
		<-read
		return nil
	case <-a.i.done:
		return nil
	}
}

const patience = 20 * time.Second

// next returns the next stream that a client opens.
func (i *istiod) next(tb testing.TB) *adsStream {
	tb.Helper()
	select {
	case s := <-i.streams:
		return s
	case <-time.After(patience):
		tb.Fatal("no stream was opened")
		return nil
	}
}

// receive returns the next request.
func (s *adsStream) receive() *discovery.DeltaDiscoveryRequest {
	s.tb.Helper()
	select {
	case req, ok := <-s.requests:
		if !ok {
			s.tb.Fatal("the client ended the stream")
		}
		return req
	case <-time.After(patience):
		s.tb.Fatal("no request came")
		return nil
	}
}

// subscribed returns the two requests that open a stream.
func (s *adsStream) subscribed() (addresses, policies *discovery.DeltaDiscoveryRequest) {
	s.tb.Helper()
	addresses, policies = s.receive(), s.receive()
	if addresses.TypeUrl != addressType || policies.TypeUrl != authorizationType {
		s.tb.Fatalf("subscribed to %q and %q", addresses.TypeUrl, policies.TypeUrl)
	}
	return addresses, policies
}

// send sends a response under a nonce of its own, which it returns.
func (s *adsStream) send(typeURL string, resources []*discovery.Resource, removed ...string) string {
	s.tb.Helper()
	s.nonce++
	nonce := fmt.Sprintf("nonce-%d", s.nonce)
	err := s.stream.Send(&discovery.DeltaDiscoveryResponse{
		TypeUrl: typeURL, Nonce: nonce, Resources: resources, RemovedResources: removed,
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	return nonce
}

// exchange sends a response and returns what the client answers to it, having checked that it is an answer.
func (s *adsStream) exchange(typeURL string, resources []*discovery.Resource, removed ...string) *discovery.DeltaDiscoveryRequest {
	s.tb.Helper()
	nonce := s.send(typeURL, resources, removed...)
	req := s.receive()
	switch {
	case req.TypeUrl != typeURL || req.ResponseNonce != nonce:
		s.tb.Fatalf("answered %q of %q, want %q of %q", req.ResponseNonce, req.TypeUrl, nonce, typeURL)
	case req.Node != nil || len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe)+len(req.InitialResourceVersions) > 0:
		s.tb.Fatalf("an answer changes the subscription: %v", req)
	}
	return req
}

// accepted is exchange where the client has to accept.
func (s *adsStream) accepted(typeURL string, resources []*discovery.Resource, removed ...string) {
	s.tb.Helper()
	if req := s.exchange(typeURL, resources, removed...); req.ErrorDetail != nil {
		s.tb.Fatalf("refused: %v", req.ErrorDetail)
	}
}

// res is a resource of a type, whose body is a number of bytes that nobody looks at.
func res(typeURL, name, version string) *discovery.Resource {
	return &discovery.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: typeURL, Value: []byte(name + version)}}
}

func address(name, version string) *discovery.Resource { return res(addressType, name, version) }
func authorization(name string) *discovery.Resource    { return res(authorizationType, name, "") }

// options are those of a client of this istiod.
func (i *istiod) options() wds.ClientOptions {
	return wds.ClientOptions{
		Address: i.address,
		TLS: func() (*tls.Config, error) {
			return &tls.Config{RootCAs: i.ca.Roots(), ServerName: "istiod.istio-system.svc", MinVersion: tls.VersionTLS12}, nil
		},
		Token: func() (string, error) { return "secret-token-1", nil },
		Node:  testNode,
		Log:   slog.New(slog.DiscardHandler),
	}
}

var testNode = wds.Node{
	IP: netip.MustParseAddr("127.0.2.1"), Name: "agents-7d9f", Namespace: "bank", ServiceAccount: "agents", Cluster: "Kubernetes",
}

// run runs a client until the test ends, or until the returned function is called, and checks that nothing is left running.
func run(tb testing.TB, o wds.ClientOptions, to wds.Sink) (*wds.Client, func()) {
	tb.Helper()
	c, err := wds.NewClientTo(o, to)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			tb.Error("Run does not return")
		}
	})
	tb.Cleanup(stop)
	return c, stop
}

// checkLeaks is called first in a test, so that its check is the last cleanup.
func checkLeaks(tb testing.TB) {
	before := goleak.IgnoreCurrent()
	tb.Cleanup(func() { goleak.VerifyNone(tb, before) })
}
