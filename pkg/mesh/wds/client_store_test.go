package wds_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// said is an address as istiod sends it.
func said(t *testing.T, version string, a *workloadapi.Address) *discovery.Resource {
	t.Helper()
	body, err := anypb.New(a)
	if err != nil {
		t.Fatal(err)
	}
	name := a.GetWorkload().GetUid()
	if s := a.GetService(); s != nil {
		name = s.GetNamespace() + "/" + s.GetHostname()
	}
	return &discovery.Resource{Name: name, Version: version, Resource: body}
}

// What istiod says is what the store answers: while a stream is open, after istiod was away, and with a mistake in it.
func TestClientFeedsStore(t *testing.T) {
	checkLeaks(t)
	i := startIstiod(t)
	w := newLandscape(func(o *wds.StoreOptions) { o.Changed, o.Gone = nil, nil }) // they are not made for two goroutines
	o := i.options()
	o.Store = w.Store
	c, err := wds.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	s := i.next(t)
	s.subscribed()
	wrong := said(t, "1", pod("wrong", "10.0.0.9"))
	wrong.Resource.Value = []byte("\xff\xff\xff")
	req := s.exchange(addressType, []*discovery.Resource{
		said(t, "1", tools()), wrong, said(t, "1", pod("one", "10.0.0.2")), said(t, "1", pod("two", "10.0.0.3")),
	})
	if m := req.GetErrorDetail().GetMessage(); !strings.HasPrefix(m, `"Kubernetes//Pod/bank/wrong": `) || strings.Contains(m, ";") {
		t.Errorf("refused with %s", m)
	}
	s.accepted(authorizationType, []*discovery.Resource{authorization("bank/p"), authorization("bank/q")})
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	expect(t, "first", w.picks("10.96.0.10:80"), "10.0.0.2:8080; 10.0.0.3:8080")

	s.accepted(addressType, nil, "Kubernetes//Pod/bank/one")
	expect(t, "without one", w.picks("10.96.0.10:80"), "10.0.0.3:8080")
	s.end <- nil

	s = i.next(t)
	expect(t, "while away", w.picks("10.96.0.10:80"), "10.0.0.3:8080")
	known, _ := s.subscribed()
	if len(known.InitialResourceVersions) != 3 {
		t.Errorf("known addresses %v", known.InitialResourceVersions)
	}
	s.accepted(addressType, []*discovery.Resource{said(t, "2", pod("three", "10.0.0.4"))}, "Kubernetes//Pod/bank/two", "Kubernetes//Pod/bank/wrong")
	s.accepted(authorizationType, []*discovery.Resource{authorization("bank/q")})
	expect(t, "back", w.picks("10.96.0.10:80"), "10.0.0.4:8080")
	if st := w.Stats(); st.Workloads != 1 || st.Services != 1 || st.Policies != 1 || st.Attached != 1 {
		t.Errorf("the store holds %+v", st)
	}

	s.accepted(addressType, []*discovery.Resource{said(t, "2", tools(detached))})
	if _, err := w.Resolve("10.96.0.10:80"); !errors.Is(err, mesh.ErrNotAttached) {
		t.Errorf("detached: %v", err)
	}
}
