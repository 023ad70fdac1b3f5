package wds_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// A resource with a mistake is refused alone, and what was known of it stays.
func TestRejected(t *testing.T) {
	workload := func(f func(*workloadapi.Workload)) *workloadapi.Address { return pod("a", "10.0.0.9", tunnelled, f) }
	const uid = "Kubernetes//Pod/bank/a"
	for name, tt := range map[string]struct {
		resource *workloadapi.Address
		as       string
		want     string
	}{
		"nothing":         {&workloadapi.Address{}, uid, "it is neither a workload nor a service"},
		"another uid":     {workload(func(m *workloadapi.Workload) { m.Uid = "x" }), uid, `the workload says that it is "x"`},
		"address":         {workload(func(m *workloadapi.Workload) { m.Addresses[0] = []byte{1, 2, 3} }), uid, "an address of 3 bytes is none"},
		"trust domain":    {workload(func(m *workloadapi.Workload) { m.TrustDomain = "A" }), uid, `identity: trust domain must be 1 to 255 of [a-z0-9.-_]: "A"`},
		"service":         {workload(func(m *workloadapi.Workload) { member("x")(m) }), uid, `its service "x" is not namespace/hostname`},
		"its port":        {workload(func(m *workloadapi.Workload) { m.Services[toolsKey] = ports(70000, 1) }), uid, `its service "` + toolsKey + `": 70000 is not a port from 1 to 65535`},
		"its target":      {workload(func(m *workloadapi.Workload) { m.Services[toolsKey] = ports(1, 70000) }), uid, `its service "` + toolsKey + `": port 1: its target 70000 is not a port from 1 to 65535`},
		"waypoint":        {workload(func(m *workloadapi.Workload) { m.Waypoint = byHost("bank", "") }), uid, "waypoint: its hostname is empty"},
		"network gateway": {workload(func(m *workloadapi.Workload) { m.NetworkGateway = byHost("bank", "") }), uid, "network gateway: its hostname is empty"},
		"gateway's port":  {workload(func(m *workloadapi.Workload) { m.Waypoint = &workloadapi.GatewayAddress{HboneMtlsPort: 70000} }), uid, "waypoint: 70000 is not a port from 1 to 65535"},
		"gateway's address": {workload(func(m *workloadapi.Workload) {
			m.Waypoint = &workloadapi.GatewayAddress{Destination: &workloadapi.GatewayAddress_Address{}}
		}), uid, "waypoint: an address of 0 bytes is none"},
		"another service":  {tools(), "bank/x", `the service says that it is "bank/tools.bank.svc.cluster.local"`},
		"no hostname":      {tools(func(m *workloadapi.Service) { m.Hostname = "" }), toolsKey, `the namespace "bank" and hostname "" name no service`},
		"no namespace":     {tools(func(m *workloadapi.Service) { m.Namespace = "" }), toolsKey, `the namespace "" and hostname "tools.bank.svc.cluster.local" name no service`},
		"VIP":              {tools(func(m *workloadapi.Service) { m.Addresses[0].Address = nil }), toolsKey, "an address of 0 bytes is none"},
		"range":            {tools(func(m *workloadapi.Service) { m.Addresses[0].Length = proto.Uint32(33) }), toolsKey, "10.96.0.10/33 is no range of addresses"},
		"endless range":    {tools(func(m *workloadapi.Service) { m.Addresses[0].Length = proto.Uint32(1 << 31) }), toolsKey, "10.96.0.10/2147483648 is no range of addresses"},
		"port":             {tools(func(m *workloadapi.Service) { m.Ports[0].ServicePort = 0 }), toolsKey, "0 is not a port from 1 to 65535"},
		"service waypoint": {tools(func(m *workloadapi.Service) { m.Waypoint = byHost("bank", "") }), toolsKey, "waypoint: its hostname is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLandscape()
			w.put(t, tools(), pod("a", "10.0.0.2", tunnelled))
			bad := w.ApplyAs(tt.as, tt.resource)
			if len(bad) != 1 || bad[tt.as] != tt.want {
				t.Errorf("got %v, want %s: %s", bad, tt.as, tt.want)
			}
			expect(t, "picks", w.picks("10.96.0.10:80"), "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/a]")
		})
	}
	w := newLandscape()
	bad := w.Apply(false, []*workloadapi.Address{
		tools(), pod("bad", "10.0.0.9", func(m *workloadapi.Workload) { m.Addresses[0] = nil }), pod("a", "10.0.0.2"),
	})
	if len(bad) != 1 || bad["Kubernetes//Pod/bank/bad"] == "" {
		t.Errorf("got %v", bad)
	}
	expect(t, "the rest of the batch", w.picks("10.96.0.10:80"), "10.0.0.2:8080")
	w.put(t, pod("plain", "10.0.0.3", func(m *workloadapi.Workload) { m.Namespace = "" })) // no identity is asked
	expect(t, "an identity that nobody needs", w.picks("10.96.0.10:80"), "10.0.0.2:8080; 10.0.0.3:8080")
}

func ports(service, target uint32) *workloadapi.PortList {
	return &workloadapi.PortList{Ports: []*workloadapi.Port{{ServicePort: service, TargetPort: target}}}
}

// A full state is all there is. What it has and cannot be used is what it was before.
func TestFull(t *testing.T) {
	w := newLandscape()
	w.put(t, tools(), pod("a", "10.0.0.2"), pod("b", "10.0.0.3"), pod("c", "10.0.0.4", bound),
		tools(func(m *workloadapi.Service) {
			m.Hostname, m.Addresses = "Other.example", []*workloadapi.NetworkAddress{{Address: ip("10.96.0.11")}}
		}))
	w.Declare("bank", toolsHost, declaring(t, nil))
	w.gone = nil
	w.Apply(true, []*workloadapi.Address{
		tools(), pod("a", "10.0.0.2"), pod("b", "10.0.0.3", func(m *workloadapi.Workload) { m.Addresses[0] = nil }),
		tools(func(m *workloadapi.Service) { m.Hostname, m.Ports = "Other.example", []*workloadapi.Port{{}} }),
	})
	expect(t, "picks", w.picks("10.96.0.10:80"), "10.0.0.2:8080; 10.0.0.3:8080")
	expect(t, "removed", w.picks("10.0.0.4:80"), "mesh: not attached to this waypoint: 10.0.0.4:80")
	if _, err := w.Resolve("10.96.0.11:80"); err != nil {
		t.Errorf("a service that was refused: %v", err)
	}
	expect(t, "gone", strings.Join(w.gone, " "), "10.0.0.4")
	w.Apply(true, nil)
	if st := w.Stats(); st.Workloads+st.Services+st.Attached != 0 {
		t.Errorf("after everything has gone: %+v", st)
	}
	w.put(t, tools())
	if a, _ := w.Find(call.Service{Namespace: "bank", Hostname: toolsHost}); a.Object.Name != "tools" || a.Object.Kind != "Service" {
		t.Errorf("what was declared is forgotten: %+v", a)
	}
}

func TestStats(t *testing.T) {
	w := newLandscape()
	if st := w.Stats(); st != (wds.Stats{}) {
		t.Errorf("at first: %+v", st)
	}
	w.put(t, tools(), tools(detached, func(m *workloadapi.Service) { m.Hostname = "x.example" }), pod("a", "10.0.0.2", bound), pod("b", "10.0.0.3"))
	w.ApplyPolicies(true, []string{"a/b", "a/c"})
	w.ApplyPolicies(false, []string{"a/d"}, "a/b")
	st := w.Stats()
	if st.Updated.IsZero() {
		t.Error("no time of an update")
	}
	got := fmt.Sprintf("%d workloads, %d services, %d attached, %d policies", st.Workloads, st.Services, st.Attached, st.Policies)
	expect(t, "stats", got, "2 workloads, 2 services, 2 attached, 2 policies")
	w.put(t, tools(detached))
	w.ApplyPolicies(true, nil)
	if st = w.Stats(); st.Attached != 1 || st.Policies != 0 {
		t.Errorf("after that: %+v", st)
	}
}

// The version changes with what Resolve or Find says, and with nothing else; whoever follows is told each time.
func TestVersion(t *testing.T) {
	w := newLandscape()
	step := func(what string, want bool, f func()) {
		t.Helper()
		before, changes := w.Version(), w.changes
		f()
		if got := w.Version() != before; got != want {
			t.Errorf("%s: another version: %v, want %v", what, got, want)
		}
		if told := w.changes != changes; told != want {
			t.Errorf("%s: told: %v, want %v", what, told, want)
		}
	}
	put := func(a ...*workloadapi.Address) func() { return func() { w.put(t, a...) } }
	step("an endpoint", false, put(pod("a", "10.0.0.2")))
	step("a service of ours", true, put(tools()))
	step("the same again", false, put(tools()))
	step("more endpoints", false, put(pod("b", "10.0.0.3"), pod("c", "10.0.0.4", tunnelled)))
	step("ill endpoints", false, put(pod("b", "10.0.0.3", ill)))
	step("endpoints gone", false, func() { w.Apply(false, nil, "Kubernetes//Pod/bank/b") })
	step("another port", true, put(tools(func(m *workloadapi.Service) { m.Ports[0].ServicePort = 81 })))
	step("other preferences", true, put(tools(func(m *workloadapi.Service) {
		m.LoadBalancing = &workloadapi.LoadBalancing{HealthPolicy: workloadapi.LoadBalancing_ALLOW_ALL}
	})))
	step("somebody else's service", false, put(tools(detached, func(m *workloadapi.Service) { m.Hostname = "x.example" })))
	step("it goes", false, func() { w.Apply(false, nil, "bank/x.example") })
	step("ours is detached", true, put(tools(detached)))
	step("and attached", true, put(tools()))
	step("and goes", true, func() { w.Apply(false, nil, toolsKey) })
	step("declared too early", false, func() { w.Declare("bank", toolsHost, declaring(t, nil)) })
	step("a workload of ours", true, put(pod("d", "10.0.0.5", bound)))
	step("its health", false, put(pod("d", "10.0.0.5", bound, ill)))
	step("its tunnel", false, put(pod("d", "10.0.0.5", bound, tunnelled)))
	step("its address", true, put(pod("d", "10.0.0.6", bound)))
	step("its name", true, put(pod("d", "10.0.0.6", bound, func(m *workloadapi.Workload) { m.Name = "e" })))
	step("another at its address", true, put(pod("f", "10.0.0.6")))
	step("which goes", true, func() { w.Apply(false, nil, "Kubernetes//Pod/bank/f") })
	step("it is detached", true, put(pod("d", "10.0.0.6")))
	step("without an address", true, put(pod("g", "", bound, func(m *workloadapi.Workload) { m.Hostname = "g.example" })))
	step("it goes too", true, func() { w.Apply(false, nil, "Kubernetes//Pod/bank/g") })
	step("what nobody knows", false, func() { w.Apply(false, nil, "x", "x/y", "x/y/z", "") })
	step("the same self", false, func() {
		w.SetSelf(wds.Self{
			Namespace: "bank", Gateway: "agents", Hosts: []string{ownHost},
			Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, PodIP: netip.MustParseAddr("10.0.0.1"),
		})
	})
	step("another self", true, func() { w.SetSelf(wds.Self{}) })
	step("policies", false, func() { w.ApplyPolicies(true, []string{"a"}) })
}

// Connections to an address are not used again once somebody else may be there.
func TestGone(t *testing.T) {
	w := newLandscape()
	after := func(what, want string, f func()) {
		t.Helper()
		w.gone = nil
		f()
		slices.Sort(w.gone)
		expect(t, what, strings.Join(w.gone, " "), want)
	}
	put := func(a *workloadapi.Address) func() { return func() { w.put(t, a) } }
	dual := func(m *workloadapi.Workload) { m.Addresses = append(m.Addresses, ip("fd00::2")) }
	after("new", "", put(pod("a", "10.0.0.2", dual)))
	after("the same", "", put(pod("a", "10.0.0.2", dual)))
	after("elsewhere on its node", "", put(pod("a", "10.0.0.2", dual, in("/r/z/s/n/c"))))
	after("other services", "", put(pod("a", "10.0.0.2", dual, member())))
	after("a tunnel", "10.0.0.2 fd00::2", put(pod("a", "10.0.0.2", dual, tunnelled)))
	after("ill", "10.0.0.2 fd00::2", put(pod("a", "10.0.0.2", dual, tunnelled, ill)))
	after("well again", "", put(pod("a", "10.0.0.2", dual, tunnelled)))
	after("one address less", "fd00::2", put(pod("a", "10.0.0.2", tunnelled)))
	after("another address", "10.0.0.2", put(pod("a", "10.0.0.3", tunnelled)))
	after("another account", "10.0.0.3", put(pod("a", "10.0.0.3", tunnelled, func(m *workloadapi.Workload) { m.ServiceAccount = "x" })))
	after("another network", "10.0.0.3", put(pod("a", "10.0.0.3", onNetwork("far"))))
	after("removed", "10.0.0.3", func() { w.Apply(false, nil, "Kubernetes//Pod/bank/a") })
	after("removed again", "", func() { w.Apply(false, nil, "Kubernetes//Pod/bank/a") })
}

// A service whose pods are all replaced by one response never is without any.
func TestReplacedAtOnce(t *testing.T) {
	var w *landscape
	seen := map[string]bool{}
	w = newLandscape(func(o *wds.StoreOptions) {
		o.Gone = func(netip.Addr) { seen[w.picks("10.96.0.10:80")] = true }
	})
	w.put(t, tools(), pod("a", "10.0.0.2"), pod("b", "10.0.0.3"))
	w.Apply(false, []*workloadapi.Address{pod("c", "10.0.0.2"), pod("d", "10.0.0.4")}, "Kubernetes//Pod/bank/a", "Kubernetes//Pod/bank/b")
	if want := map[string]bool{"10.0.0.2:8080; 10.0.0.4:8080": true}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", seen, want)
	}
	if got, _ := w.WorkloadAt(netip.MustParseAddr("10.0.0.2")); got.Name != "c" {
		t.Errorf("at the address that was used again: got %q, want c", got.Name)
	}
}

// Everybody asks while istiod speaks. What is picked is always one of the endpoints there can be, and the callbacks may ask too.
func TestConcurrently(t *testing.T) {
	defer goleak.VerifyNone(t)
	var s *wds.Store
	ask := func() {
		s.Version()
		s.Attached()
		s.Stats()
	}
	s = wds.NewStore(wds.StoreOptions{
		Self:    wds.Self{Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("10.0.0.1")},
		Changed: ask, Gone: func(netip.Addr) { ask() }, Log: slog.New(slog.DiscardHandler),
	})
	s.Apply(false, []*workloadapi.Address{tools(), pod("fixed", "10.0.0.2")})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			d, err := s.Resolve("10.96.0.10:80")
			if err != nil {
				t.Error(err)
				return
			}
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				e, err := d.Pick()
				if err != nil || e.Address.Port() != 8080 && e.Address.Port() != 8081 {
					t.Errorf("got %v, %v", e, err)
					return
				}
				if n%16 == 0 {
					if d, err = s.Resolve("tools.bank.svc.cluster.local:80"); err != nil {
						t.Error(err)
						return
					}
					s.Find(d.Service)
					s.WorkloadAt(e.Address.Addr())
				}
			}
		})
	}
	readers.Go(func() {
		for n := range 50 {
			s.SetSelf(wds.Self{Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("10.0.0.1"), Cluster: fmt.Sprint(n)})
			s.Declare("bank", toolsHost, declaring(t, nil))
		}
	})
	for n := range 300 {
		name := fmt.Sprint("p", n%20)
		s.Apply(false, []*workloadapi.Address{
			pod(name, fmt.Sprintf("10.0.1.%d", n%250)), tools(func(m *workloadapi.Service) { m.Ports[0].TargetPort = 8080 + uint32(n/100%2) }),
		}, "Kubernetes//Pod/bank/"+fmt.Sprint("p", (n+7)%20))
	}
	close(done)
	readers.Wait()
}

// The log says where we are, and for who looks closely what is attached.
func TestStoreLog(t *testing.T) {
	var b strings.Builder
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	w := newLandscape(func(o *wds.StoreOptions) {
		o.Log = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: drop}))
	})
	w.put(t, pod("agents", "10.0.0.1", in("/r/z//n/c")), pod("agents", "10.0.0.1", in("/r/z//n/c")))
	w.put(t, tools(), pod("a", "10.0.0.2"), pod("b", "10.0.0.3", bound))
	w.put(t, tools(), pod("b", "10.0.0.3", bound, ill))
	w.SetSelf(wds.Self{Namespace: "bank", PodIP: netip.MustParseAddr("10.0.0.1")})
	expect(t, "log", b.String(), `level=INFO msg="where we are" known=true network="" cluster=c region=r zone=z node=n
level=DEBUG msg=attached service=bank/tools hostname=tools.bank.svc.cluster.local
level=DEBUG msg=attached service=bank/b hostname=""
level=DEBUG msg=detached service=bank/b hostname=""
level=DEBUG msg=detached service=bank/tools hostname=tools.bank.svc.cluster.local
`)
}
