package wds_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// maxAge are istiod's options about how long a connection may last, and how often a client may ask whether it still does.
func maxAge(d time.Duration) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionAge: d, MaxConnectionAgeGrace: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 15 * time.Second}),
	}
}

// However a stream ends, what was known stays, and the next stream begins with it. Only ends that are none of istiod's ways
// are worth a warning.
func TestEnds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		end   func(*istiod, *adsStream)
		warns bool
	}{
		{"half-closed", func(_ *istiod, s *adsStream) { s.end <- nil }, false},
		{"unknown", func(_ *istiod, s *adsStream) { s.end <- errors.New("anything") }, false},
		{"canceled", func(_ *istiod, s *adsStream) { s.end <- status.Error(codes.Canceled, "") }, false},
		{"unavailable", func(_ *istiod, s *adsStream) { s.end <- status.Error(codes.Unavailable, "going down") }, true},
		{"denied", func(_ *istiod, s *adsStream) { s.end <- status.Error(codes.PermissionDenied, "not you") }, true},
		{"cut", func(i *istiod, _ *adsStream) { i.cut() }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkLeaks(t)
			i, sink, logs := startIstiod(t), &recording{}, &logbook{}
			o := i.options()
			o.Log = logs.logger()
			c, stop := run(t, o, sink)
			s := i.next(t)
			s.subscribed()
			s.accepted(addressType, []*discovery.Resource{address("a", "1")})
			s.accepted(authorizationType, []*discovery.Resource{authorization("p")})
			tc.end(i, s)
			s = i.next(t)
			if addresses, policies := sink.state(); len(addresses) != 1 || len(policies) != 1 {
				t.Errorf("the sink holds %v and %v", addresses, policies)
			}
			if err := c.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
			if c.Status().Connected {
				t.Error("connected before the new stream is answered")
			}
			addresses, _ := s.subscribed()
			if !maps.Equal(addresses.InitialResourceVersions, map[string]string{"a": "1"}) {
				t.Errorf("known addresses %v", addresses.InitialResourceVersions)
			}
			s.accepted(addressType, nil)
			if !c.Status().Connected {
				t.Error("not connected")
			}
			stop()
			if got := strings.Contains(logs.String(), "level=WARN"); got != tc.warns {
				t.Errorf("warned: %v, want %v\n%s", got, tc.warns, logs)
			}
			if strings.Contains(logs.String(), "secret-token") {
				t.Errorf("the token is in the log:\n%s", logs)
			}
		})
	}
}

// A stream that ends in the middle of what opens it is no full state of what was not said.
func TestEndBeforeEverything(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	c, _ := run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	s.accepted(authorizationType, []*discovery.Resource{authorization("p")})
	s.end <- nil
	s = i.next(t)
	wantNotReady(t, c, "wds: "+i.address+" has not said its addresses yet: EOF")
	s.subscribed()
	s.accepted(addressType, names("a", 1))
	s.accepted(authorizationType, nil)
	sink.want(t, "policies all +p", "addresses all +a-0@1", "policies all")
	if err := c.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// In the clear there is no token: whoever answers there proved nothing.
func TestPlaintext(t *testing.T) {
	checkLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i, sink := serveIstiod(t, l), &recording{}
	o := i.options()
	o.TLS = nil
	run(t, o, sink)
	s := i.next(t)
	if got := s.headers.Get("authorization"); len(got) > 0 {
		t.Error("the token was sent")
	}
	s.subscribed()
	s.accepted(addressType, names("a", 1))
	sink.want(t, "addresses all +a-0@1")
}

// rawCodec puts on the wire what a test says, whatever it is.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// What is no message at all ends the stream, and nothing else.
func TestMalformedMessage(t *testing.T) {
	checkLeaks(t)
	messages := [][]byte{
		{0xff, 0xff, 0xff},
		{0x12, 0x05, 0x0a},                           // a resource that is longer than the message
		[]byte("\x22\x02\xff\xfe"),                   // a type that is not UTF-8
		[]byte("\x12\x08\x12\x06\x0a\x02ab\x12\x05"), // a body that is longer than its resource
	}
	sent := make(chan int, 64)
	var streams int
	handler := func(_ any, stream grpc.ServerStream) error {
		n := streams
		streams++
		sent <- n
		if n < len(messages) {
			if err := stream.SendMsg(messages[n]); err != nil {
				return err
			}
		}
		<-stream.Context().Done()
		return nil
	}
	i := startIstiod(t) // for its certificate
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(handler), grpc.ForceServerCodecV2(rawCodec{encoding.GetCodecV2("proto")}),
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{i.leaf}})))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { server.Stop(); <-served }()

	o := i.options()
	o.Address = l.Addr().String()
	sink := &recording{}
	c, stop := run(t, o, sink)
	for want := range len(messages) + 1 {
		select {
		case got := <-sent:
			if got != want {
				t.Fatalf("stream %d, want %d", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("stream %d was not opened: %s", want, c.Status().LastError)
		}
		if want > 0 && !strings.Contains(c.Status().LastError, "code = Internal") {
			t.Errorf("after message %d: %s", want-1, c.Status().LastError)
		}
	}
	stop()
	sink.want(t)
	if c.Ready() == nil || c.Status().Streams != 0 {
		t.Errorf("ready after nothing but nonsense: %+v", c.Status())
	}
}

// world is a mesh as an istiod knows it, which answers a new stream as istiod does: with what differs from what the client
// says it knows (pilot/pkg/xds/workload.go), and with every policy.
type world struct {
	rand      *rand.Rand
	addresses map[string]string
	policies  map[string]string
	counter   int
}

func (w *world) changeAddresses() (changed []*discovery.Resource, removed []string) {
	for range 1 + w.rand.IntN(5) {
		name := fmt.Sprintf("a-%d", w.rand.IntN(30))
		if _, there := w.addresses[name]; there && w.rand.IntN(2) == 0 {
			delete(w.addresses, name)
			removed = append(removed, name)
			changed = slices.DeleteFunc(changed, func(r *discovery.Resource) bool { return r.Name == name })
			continue
		}
		w.counter++
		w.addresses[name] = fmt.Sprint(w.counter)
		removed = slices.DeleteFunc(removed, func(s string) bool { return s == name })
		changed = append(changed, address(name, w.addresses[name]))
	}
	return changed, removed
}

func (w *world) answer(req *discovery.DeltaDiscoveryRequest) (changed []*discovery.Resource, removed []string) {
	for name, version := range w.addresses {
		if req.InitialResourceVersions[name] != version {
			changed = append(changed, address(name, version))
		}
	}
	for name := range req.InitialResourceVersions {
		if _, there := w.addresses[name]; !there {
			removed = append(removed, name)
		}
	}
	return changed, removed
}

func (w *world) policy() (changed []*discovery.Resource, removed []string) {
	name := fmt.Sprintf("p-%d", w.rand.IntN(8))
	if _, there := w.policies[name]; there {
		delete(w.policies, name)
		return nil, []string{name}
	}
	w.policies[name] = ""
	return []*discovery.Resource{authorization(name)}, nil
}

func (w *world) allPolicies() (all []*discovery.Resource) {
	for name := range w.policies {
		all = append(all, authorization(name))
	}
	return all
}

// Whatever changes, on a stream and between streams, the sink ends with what istiod has.
func TestConverges(t *testing.T) {
	checkLeaks(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := &world{rand: rand.New(rand.NewPCG(seed, 4)), addresses: map[string]string{}, policies: map[string]string{}}
	i, sink := startIstiod(t), &recording{}
	run(t, i.options(), sink)
	for range 25 {
		s := i.next(t)
		addresses, _ := s.subscribed()
		changed, removed := w.answer(addresses)
		s.accepted(addressType, changed, removed...)
		s.accepted(authorizationType, w.allPolicies())
		for range w.rand.IntN(8) {
			if w.rand.IntN(3) == 0 {
				changed, removed := w.policy()
				s.accepted(authorizationType, changed, removed...)
				continue
			}
			changed, removed := w.changeAddresses()
			s.accepted(addressType, changed, removed...)
		}
		gotAddresses, gotPolicies := sink.state()
		if !maps.Equal(gotAddresses, w.addresses) || !maps.Equal(gotPolicies, w.policies) {
			t.Fatalf("the sink holds %v and %v\nwant %v and %v", gotAddresses, gotPolicies, w.addresses, w.policies)
		}
		s.end <- []error{nil, io.ErrUnexpectedEOF}[w.rand.IntN(2)]
		for range w.rand.IntN(4) { // while nobody listens
			w.changeAddresses()
			w.policy()
		}
	}
}
