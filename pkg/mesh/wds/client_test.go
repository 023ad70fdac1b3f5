package wds_test

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"waymark.dev/waypoint/pkg/mesh/wds"
)

func TestFirstStream(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	o := i.options()
	o.Headers = map[string]string{"X-Extra": "one"}
	c, _ := run(t, o, sink)

	s := i.next(t)
	for name, want := range map[string]string{"authorization": "Bearer secret-token-1", "clusterid": "Kubernetes", "x-extra": "one"} {
		if got := s.headers.Get(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	addresses, policies := s.subscribed()
	if got, want := addresses.GetNode().GetId(), "waypoint~127.0.2.1~agents-7d9f.bank~bank.svc.cluster.local"; got != want {
		t.Errorf("node %q, want %q", got, want)
	}
	for _, req := range []*discovery.DeltaDiscoveryRequest{addresses, policies} {
		if len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe)+len(req.InitialResourceVersions) > 0 || req.ResponseNonce != "" {
			t.Errorf("the first request is no plain subscription to everything: %v", req)
		}
	}
	wantNotReady(t, c, "wds: "+i.address+" has not said its addresses and policies yet")
	if c.Status().Connected {
		t.Error("connected before istiod answered")
	}

	s.accepted(addressType, []*discovery.Resource{address("bank/tools", "v1"), address("Kubernetes//Pod/bank/tools-0", "v1")})
	wantNotReady(t, c, "wds: "+i.address+" has not said its policies yet")
	s.accepted(authorizationType, nil)
	if err := c.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	s.accepted(addressType, []*discovery.Resource{address("bank/tools", "v2")}, "Kubernetes//Pod/bank/tools-0")
	s.accepted(authorizationType, []*discovery.Resource{authorization("bank/deny")})
	s.accepted(authorizationType, nil, "bank/deny")
	sink.want(t,
		"addresses all +bank/tools@v1 +Kubernetes//Pod/bank/tools-0@v1",
		"policies all",
		"addresses +bank/tools@v2 -Kubernetes//Pod/bank/tools-0",
		"policies +bank/deny",
		"policies -bank/deny",
	)
	if st := c.Status(); !st.Connected || st.Streams != 1 || st.LastError != "" || st.LastUpdate.IsZero() || st.Refused != 0 {
		t.Errorf("status %+v", st)
	}
}

func wantNotReady(t *testing.T, c *wds.Client, want string) {
	t.Helper()
	if err := c.Ready(); err == nil || err.Error() != want {
		t.Errorf("ready: %v, want %s", err, want)
	}
}

// What changes while no stream is open is noticed on the next one: istiod is told what is known, and answers what is different.
func TestNextStream(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	var asked atomic.Int32
	o := i.options()
	o.Token = func() (string, error) { return []string{"old", "new"}[min(asked.Add(1), 2)-1], nil }
	c, _ := run(t, o, sink)

	s := i.next(t)
	s.subscribed()
	s.accepted(addressType, []*discovery.Resource{address("a", "1"), address("b", "1"), address("c", "1"), address("d", "1")})
	s.accepted(authorizationType, []*discovery.Resource{authorization("p"), authorization("q")})
	s.accepted(addressType, []*discovery.Resource{address("b", "2"), address("e", "")}, "d")
	sink.said()
	s.end <- nil

	s = i.next(t)
	if got := s.headers.Get("authorization"); len(got) != 1 || got[0] != "Bearer new" {
		t.Errorf("authorization: %q, want the new token", got)
	}
	addresses, policies := s.subscribed()
	if addresses.GetNode().GetId() == "" || policies.GetNode() != nil {
		t.Error("the first request of the stream has to carry the node, and only that one")
	}
	if got, want := addresses.InitialResourceVersions, map[string]string{"a": "1", "b": "2", "c": "1", "e": ""}; !maps.Equal(got, want) {
		t.Errorf("known addresses %v, want %v", got, want)
	}
	if len(policies.InitialResourceVersions) > 0 {
		t.Errorf("known policies %v: they have no versions", policies.InitialResourceVersions)
	}
	s.accepted(addressType, []*discovery.Resource{address("b", "3")}, "c")
	s.accepted(authorizationType, []*discovery.Resource{authorization("q")})
	sink.want(t, "addresses +b@3 -c", "policies all +q")
	if err := c.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if st := c.Status(); st.Streams != 2 || !st.Connected || st.LastError != "EOF" {
		t.Errorf("status %+v", st)
	}
	s.end <- nil

	s = i.next(t)
	addresses, _ = s.subscribed()
	if got, want := addresses.InitialResourceVersions, map[string]string{"a": "1", "b": "3", "e": ""}; !maps.Equal(got, want) {
		t.Errorf("known addresses %v, want %v", got, want)
	}
	s.accepted(addressType, nil)
	sink.want(t) // nothing is different: nothing to apply
}

// While the good resources of a batch are applied, the others are refused by name, and asked for again on the next stream.
func TestRefusedResources(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{refuse: refuseBad}
	c, _ := run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	req := s.exchange(addressType, []*discovery.Resource{
		address("good", "1"), address("bad-1", "1"), address("good-2", "1"), address("bad-2", "1"), address("", "1"),
		{Name: "no-body", Version: "1"},
		{Name: "other-body", Version: "1", Resource: &anypb.Any{TypeUrl: authorizationType}},
		{Name: "empty-any", Version: "1", Resource: &anypb.Any{}},
	})
	const want = `"": it has no name; "no-body": it has no body; "other-body": its body is a "` + authorizationType +
		`"; "empty-any": its body is a ""; "bad-1": bad-1 is of no use; "bad-2": bad-2 is of no use`
	if d := req.GetErrorDetail(); d.GetMessage() != want || d.GetCode() != 3 {
		t.Errorf("refused with %d %s\nwant 3 %s", d.GetCode(), d.GetMessage(), want)
	}
	s.accepted(authorizationType, nil)
	sink.want(t, "addresses all +good@1 +good-2@1", "policies all")
	if err := c.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if st := c.Status(); st.Refused != 6 || st.LastRefused != want || st.LastRefusedAt.IsZero() {
		t.Errorf("status %+v", st)
	}

	// The good version of a resource stays, where the next one is refused.
	s.accepted(addressType, []*discovery.Resource{address("bad-1", "2")}[:0], "bad-2", "other-body")
	sink.mu.Lock()
	sink.refuse = func(name string) error { return errors.New("never") }
	sink.mu.Unlock()
	if req := s.exchange(addressType, []*discovery.Resource{address("good-2", "2")}); req.GetErrorDetail().GetMessage() != `"good-2": never` {
		t.Errorf("refused with %s", req.GetErrorDetail())
	}
	if addresses, _ := sink.state(); !maps.Equal(addresses, map[string]string{"good": "1", "good-2": "1"}) {
		t.Errorf("the sink holds %v", addresses)
	}
	s.end <- nil
	addresses, _ := i.next(t).subscribed()
	if got, want := addresses.InitialResourceVersions, map[string]string{"good": "1", "good-2": "", "bad-1": "", "no-body": "", "empty-any": ""}; !maps.Equal(got, want) {
		t.Errorf("known addresses %v, want %v", got, want)
	}
}

// Ten thousand refusals do not make an answer that istiod would refuse in turn.
func TestManyRefusedResources(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{refuse: func(string) error { return errors.New(strings.Repeat("long ", 500)) }}
	run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	req := s.exchange(addressType, names("bad", 10_000))
	message := req.GetErrorDetail().GetMessage()
	if len(message) < 60<<10 || len(message) > 65<<10 {
		t.Errorf("the answer has %d bytes", len(message))
	}
	if !strings.HasPrefix(message, `"bad-0": long `) || !strings.HasSuffix(message, " more") || !strings.Contains(message, "; and 98") {
		t.Errorf("the answer is %.80s … %s", message, message[len(message)-40:])
	}
}

// A type that nobody asked for is left alone: istiod does not expect a refusal of it.
func TestUnknownType(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	logs := &logbook{}
	o := i.options()
	o.Log = logs.logger()
	run(t, o, sink)
	s := i.next(t)
	s.subscribed()
	s.send("type.googleapis.com/envoy.config.listener.v3.Listener", []*discovery.Resource{res("x", "y", "z")})
	s.send("", nil)
	s.accepted(addressType, nil) // which fails if there was an answer to the others
	sink.want(t, "addresses all")
	if got := strings.Count(logs.String(), "istiod sent what was not asked for"); got != 2 {
		t.Errorf("logged %d times:\n%s", got, logs)
	}
}

// A name that is in both lists is there: what removes it is the past.
func TestChangedAndRemoved(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	s.accepted(addressType, []*discovery.Resource{address("a", "1")}, "a", "b")
	sink.want(t, "addresses all +a@1 -b")
}

// Fifty megabytes in one message are a large mesh, and no reason to end a stream.
func TestLargeResponse(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{}
	c, _ := run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	const count, size = 100, 512 << 10
	var all []*discovery.Resource
	for _, r := range names("large", count) {
		r.Resource.Value = make([]byte, size)
		all = append(all, r)
	}
	s.accepted(addressType, all)
	if sink.bytes != count*size {
		t.Errorf("%d bytes arrived, want %d", sink.bytes, count*size)
	}
	if st := c.Status(); st.Streams != 1 {
		t.Errorf("status %+v", st)
	}
}

// Where the names do not fit into a request that istiod accepts, it is told none, and its answer is everything.
func TestMoreNamesThanFit(t *testing.T) {
	checkLeaks(t)
	i, sink := startIstiod(t), &recording{} // its limit is 4 MiB, as istiod's
	run(t, i.options(), sink)
	s := i.next(t)
	s.subscribed()
	long := strings.Repeat("x", 100)
	s.accepted(addressType, names(long, 40_000))
	s.end <- nil
	s = i.next(t)
	if addresses, _ := s.subscribed(); len(addresses.InitialResourceVersions) > 0 {
		t.Fatalf("%d names are told", len(addresses.InitialResourceVersions))
	}
	sink.said()
	s.accepted(addressType, []*discovery.Resource{address("only", "1")})
	sink.want(t, "addresses all +only@1")
	s.end <- nil
	if addresses, _ := i.next(t).subscribed(); !maps.Equal(addresses.InitialResourceVersions, map[string]string{"only": "1"}) {
		t.Errorf("known addresses: %d, want the one", len(addresses.InitialResourceVersions))
	}
}

func TestNewClientRefuses(t *testing.T) {
	good := wds.ClientOptions{Address: "istiod.istio-system.svc:15012", Node: testNode, Token: func() (string, error) { return "t", nil }}
	for _, tc := range []struct {
		name   string
		change func(*wds.ClientOptions)
		want   string
	}{
		{"address", func(o *wds.ClientOptions) { o.Address = "istiod" }, "wds: ClientOptions.Address: address istiod: missing port in address"},
		{"node", func(o *wds.ClientOptions) { o.Node = wds.Node{Type: "agentgateway", Name: "a~b"} },
			"wds: ClientOptions.Node: type \"agentgateway\" is neither waypoint nor ztunnel\nIP is required\n" +
				"Name: \"a~b\" has a ~, which separates the parts of the node's id\nNamespace is required\nServiceAccount is required"},
		{"node that is not UTF-8", func(o *wds.ClientOptions) { o.Node.NodeName = "\xff" },
			"wds: ClientOptions.Node: proto: invalid UTF-8 in string: \"\\xff\""},
		{"header name", func(o *wds.ClientOptions) { o.Headers = map[string]string{"a b": "c"} },
			`wds: ClientOptions.Headers: "a b" is not a name of gRPC metadata`},
		{"reserved header", func(o *wds.ClientOptions) { o.Headers = map[string]string{"grpc-timeout": "1S"} },
			`wds: ClientOptions.Headers: "grpc-timeout" is not a name of gRPC metadata`},
		{"second authorization", func(o *wds.ClientOptions) { o.Headers = map[string]string{"Authorization": "Basic x"} },
			"wds: ClientOptions.Headers: authorization is what Token is for"},
		{"header value", func(o *wds.ClientOptions) { o.Headers = map[string]string{"a": "b\r\nc"} },
			"wds: ClientOptions.Headers: a: the value has a character that is not printable ASCII"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.change(&o)
			// The protobuf library varies the space in its texts, lest anybody compares them.
			c, err := wds.NewClientTo(o, &recording{})
			if err == nil || strings.ReplaceAll(err.Error(), "\u00a0", " ") != tc.want || c != nil {
				t.Errorf("error %q\n want %q", err, tc.want)
			}
		})
	}
	if _, err := wds.NewClient(good); err == nil || err.Error() != "wds: ClientOptions.Store is required" {
		t.Errorf("without a Store: %v", err)
	}
	if _, err := wds.NewClientTo(good, &recording{}); err != nil {
		t.Errorf("the good options: %v", err)
	}
}

func TestRunTwice(t *testing.T) {
	checkLeaks(t)
	i := startIstiod(t)
	c, stop := run(t, i.options(), &recording{})
	i.next(t)
	if err := c.Run(context.Background()); err == nil || err.Error() != "wds: the client runs already" {
		t.Errorf("second Run: %v", err)
	}
	stop()
}

// A stream whose credentials cannot be had is not opened, and the cause is what Ready says.
func TestCredentials(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*wds.ClientOptions)
		want   string // after the sentence that something is missing
	}{
		{"no roots", func(o *wds.ClientOptions) {
			o.TLS = func() (*tls.Config, error) { return nil, errors.New("no such file") }
		}, "TLS: no such file"},
		{"no configuration", func(o *wds.ClientOptions) { o.TLS = func() (*tls.Config, error) { return nil, nil } }, "TLS: there is no configuration"},
		{"no token", func(o *wds.ClientOptions) { o.Token = func() (string, error) { return "", errors.New("no such file") } }, "token: no such file"},
		{"empty token", func(o *wds.ClientOptions) { o.Token = func() (string, error) { return "", nil } }, "token: it is empty"},
		{"two lines of token", func(o *wds.ClientOptions) { o.Token = func() (string, error) { return "secret\nsecret", nil } },
			"token: it has a character that no token has"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkLeaks(t)
			i := startIstiod(t)
			o := i.options()
			tc.change(&o)
			c, _ := run(t, o, &recording{})
			eventually(t, "an error", func() bool { return c.Status().LastError != "" })
			wantNotReady(t, c, "wds: "+i.address+" has not said its addresses and policies yet: "+tc.want)
			select {
			case <-i.streams:
				t.Error("a stream was opened")
			default:
			}
		})
	}
}

// Somebody who cannot prove to be istiod is told nothing, the token least of all.
func TestWrongServer(t *testing.T) {
	checkLeaks(t)
	i := startIstiod(t)
	o := i.options()
	o.TLS = func() (*tls.Config, error) {
		return &tls.Config{RootCAs: i.ca.Roots(), ServerName: "istiod.other.svc"}, nil
	}
	c, _ := run(t, o, &recording{})
	eventually(t, "an error", func() bool { return c.Status().LastError != "" })
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "certificate is valid for istiod.istio-system.svc, not istiod.other.svc") {
		t.Errorf("ready: %v", err)
	}
	if len(i.streams) > 0 {
		t.Error("a stream was opened")
	}
}
