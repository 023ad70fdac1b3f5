package wds_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// Which of the waypoints that istiod names are us.
func TestAttachment(t *testing.T) {
	// Our own service, with a VIP that the Gateway's status does not have.
	own := tools(detached, func(m *workloadapi.Service) {
		m.Name, m.Hostname = "agents", ownHost
		m.Addresses = []*workloadapi.NetworkAddress{{Address: ip("10.96.0.2")}, {Network: "far", Address: ip("10.96.0.3")}}
	})
	weighted := func(weight uint32, g *workloadapi.GatewayAddress) *workloadapi.WeightedWaypoint {
		return &workloadapi.WeightedWaypoint{Destination: g, Weight: weight}
	}
	for name, tt := range map[string]struct {
		waypoint *workloadapi.GatewayAddress
		weighted []*workloadapi.WeightedWaypoint
		want     bool
	}{
		"none":                       {},
		"hostname":                   {waypoint: byHost("bank", ownHost), want: true},
		"hostname in capitals":       {waypoint: byHost("bank", strings.ToUpper(ownHost)), want: true},
		"hostname, other namespace":  {waypoint: byHost("zoo", ownHost)},
		"other hostname":             {waypoint: byHost("bank", "other.bank.svc.cluster.local")},
		"address of the status":      {waypoint: byAddress("", "10.96.0.1"), want: true},
		"that on another network":    {waypoint: byAddress("far", "10.96.0.1")},
		"address of our service":     {waypoint: byAddress("", "10.96.0.2"), want: true},
		"its address there":          {waypoint: byAddress("far", "10.96.0.3"), want: true},
		"its other one there":        {waypoint: byAddress("far", "10.96.0.2")},
		"our pod":                    {waypoint: byAddress("", "10.0.0.1")},
		"unknown form":               {waypoint: &workloadapi.GatewayAddress{}},
		"canary":                     {waypoint: byHost("bank", "x"), weighted: []*workloadapi.WeightedWaypoint{weighted(90, byHost("bank", "x")), weighted(10, byHost("bank", ownHost))}, want: true},
		"canary without any traffic": {waypoint: byHost("bank", "x"), weighted: []*workloadapi.WeightedWaypoint{weighted(100, byHost("bank", "x")), weighted(0, byAddress("", "10.96.0.1"))}, want: true},
		"canaries of others":         {waypoint: byHost("bank", "x"), weighted: []*workloadapi.WeightedWaypoint{weighted(1, byHost("bank", "y"))}},
	} {
		t.Run(name, func(t *testing.T) {
			service := tools(func(m *workloadapi.Service) { m.Waypoint, m.WeightedWaypoints = tt.waypoint, tt.weighted })
			workload := pod("a", "10.0.0.5", func(m *workloadapi.Workload) { m.Waypoint = tt.waypoint })
			for _, order := range [][]*workloadapi.Address{{own, service, workload}, {service, workload, own}} {
				w := newLandscape()
				w.put(t, order...)
				if _, err := w.Resolve("10.96.0.10:80"); (err == nil) != tt.want {
					t.Errorf("service: got %v, want attached: %v", err, tt.want)
				}
				if _, err := w.Resolve("10.0.0.5:80"); len(tt.weighted) == 0 && (err == nil) != tt.want {
					t.Errorf("workload: got %v, want attached: %v", err, tt.want)
				}
			}
		})
	}
}

// Who we are can change: the Gateway's status, our own service, and the network that our own pod is on.
func TestWhoWeAre(t *testing.T) {
	w := newLandscape(func(o *wds.StoreOptions) { o.Self.Hosts, o.Self.Addresses = nil, nil })
	is := func(what string, want bool) {
		t.Helper()
		before := w.Version()
		_, err := w.Resolve("10.96.0.10:80")
		if (err == nil) != want || w.Version() != before {
			t.Errorf("%s: got %v, want attached: %v", what, err, want)
		}
	}
	self := wds.Self{Namespace: "bank", Gateway: "agents", PodIP: netip.MustParseAddr("10.0.0.1")}
	w.put(t, tools(func(m *workloadapi.Service) { m.Waypoint = byAddress("", "10.96.0.1") }))
	is("nobody knows us", false)
	self.Addresses = []netip.Addr{netip.MustParseAddr("10.96.0.1")}
	w.SetSelf(self)
	is("the status has our address", true)
	self.Addresses, self.Hosts = nil, []string{ownHost}
	w.SetSelf(self)
	is("the status has a name of ours", false)
	own := func(addr string) *workloadapi.Address {
		return tools(detached, func(m *workloadapi.Service) {
			m.Hostname, m.Addresses = ownHost, []*workloadapi.NetworkAddress{{Address: ip(addr)}}
		})
	}
	w.put(t, own("10.96.0.1"))
	is("the name has the address", true)
	w.put(t, own("10.96.0.2"))
	is("the name has another address", false)
	w.put(t, own("10.96.0.1"))
	is("it is back", true)
	version := w.Version()
	w.put(t, pod("agents", "10.0.0.1", onNetwork("far")))
	is("we are on another network", false)
	if w.Version() == version {
		t.Error("another network leaves the version as it is")
	}
	w.Apply(false, nil, "Kubernetes//Pod/bank/agents")
	is("nobody knows where we are", true)
	w.put(t, pod("stranger", "10.0.0.1", onNetwork("far"), func(m *workloadapi.Workload) { m.Namespace = "zoo" }))
	is("a workload of another namespace with our address", true)
	w.put(t, pod("agents", "10.0.0.1"), pod("twin", "10.0.0.1", onNetwork("far")))
	is("a workload with our address on another network", true)
	w.Apply(false, nil, "bank/"+ownHost)
	is("our service is gone", false)
}

// What nobody else says of us, the options do, for as long as our own workload is not known.
func TestWhereWeAre(t *testing.T) {
	w := newLandscape(func(o *wds.StoreOptions) { o.Self.Network = "far" })
	w.put(t, tools(func(m *workloadapi.Service) {
		m.Addresses = []*workloadapi.NetworkAddress{{Network: "far", Address: ip("10.96.0.10")}, {Network: "", Address: ip("10.96.0.11")}}
	}))
	at := func(authority string, want bool) {
		t.Helper()
		if _, err := w.Resolve(authority); (err == nil) != want {
			t.Errorf("%s: got %v, want attached: %v", authority, err, want)
		}
	}
	at("10.96.0.10:80", true)
	at("10.96.0.11:80", false)
	w.put(t, pod("agents", "10.0.0.1"))
	at("10.96.0.10:80", false)
	at("10.96.0.11:80", true)
}

func TestAttachedAndFind(t *testing.T) {
	w := newLandscape()
	if got := w.Attached(); len(got) > 0 {
		t.Errorf("nothing was said: got %v", got)
	}
	at := func(name, uid string) *workloadapi.Address {
		return pod(name, "", bound, func(m *workloadapi.Workload) { m.Uid, m.Hostname = uid, "x.example" })
	}
	w.put(t,
		tools(),
		tools(func(m *workloadapi.Service) { m.Name, m.Hostname = "entry", "api.example" }),
		tools(detached, func(m *workloadapi.Service) { m.Hostname = "free.bank.svc.cluster.local" }),
		at("p", "c//Pod/bank/p"), at("p", "d//Pod/bank/p"), at("we", "c/networking.istio.io/WorkloadEntry/bank/we"),
		at("in", "c/networking.istio.io/ServiceEntry/bank/entry/10.0.0.9"), at("odd", "0ae5c03d"), pod("free", "10.0.0.6"),
	)
	var got []string
	for _, a := range w.Attached() {
		got = append(got, fmt.Sprintf("%s: %s %q", a.Object, a.Service, a.Service.Hostname))
	}
	expect(t, "attached", strings.Join(got, "\n"), strings.Join([]string{
		`ServiceEntry bank/entry: bank/api "api.example"`,
		`ServiceEntry bank/entry: bank/in ""`,
		`Pod bank/odd: bank/odd ""`,
		`Pod bank/p: bank/p ""`,
		`Pod bank/p: bank/p ""`,
		`Service bank/tools: bank/tools "tools.bank.svc.cluster.local"`,
		`WorkloadEntry bank/we: bank/we ""`,
	}, "\n"))
	for _, tt := range []struct {
		name call.Service
		want string
	}{
		{call.Service{Namespace: "bank", Name: "tools", Hostname: toolsHost, Port: 80}, "Service bank/tools"},
		{call.Service{Namespace: "bank", Name: "p", Port: 1}, "Pod bank/p"},
		{call.Service{Namespace: "bank", Name: "we"}, "WorkloadEntry bank/we"},
		{call.Service{Namespace: "bank", Name: "tools"}, ""},
		{call.Service{Namespace: "zoo", Name: "tools", Hostname: toolsHost}, ""},
		{call.Service{Namespace: "bank", Name: "free", Hostname: "free.bank.svc.cluster.local"}, ""},
		{call.Service{Namespace: "bank", Name: "free"}, ""},
	} {
		a, ok := w.Find(tt.name)
		if ok != (tt.want != "") || ok && a.Object.String() != tt.want {
			t.Errorf("%+v: got %v, %v, want %q", tt.name, a.Object, ok, tt.want)
		}
	}
	w.Apply(false, nil, "c//Pod/bank/p", toolsKey)
	if a, ok := w.Find(call.Service{Namespace: "bank", Name: "p"}); !ok || a.Object.Name != "p" {
		t.Errorf("the other p: got %v, %v", a, ok)
	}
	if _, ok := w.Find(call.Service{Namespace: "bank", Name: "tools", Hostname: toolsHost}); ok {
		t.Error("a service that is gone is found")
	}
	w.Apply(false, nil, "d//Pod/bank/p")
	if _, ok := w.Find(call.Service{Namespace: "bank", Name: "p"}); ok {
		t.Error("a workload that is gone is found")
	}
}

// What is declared may come before or after istiod's word, and is kept while istiod forgets the service.
func TestDeclare(t *testing.T) {
	d := declaring(t, map[string]string{mesh.AnnURLHosts: "a.example, b.example"})
	d.Object.Name = "declared"
	d.Faults = []mesh.Fault{{Field: "f", Text: "t"}}
	name := call.Service{Namespace: "bank", Name: "tools", Hostname: toolsHost}
	check := func(what string, w *landscape, declared bool) {
		t.Helper()
		a, ok := w.Find(name)
		switch {
		case !ok:
			t.Errorf("%s: not attached", what)
		case declared && (a.Object.Name != "declared" || !slices.Equal(a.URLHosts, []string{"a.example", "b.example"}) || len(a.Faults) != 1):
			t.Errorf("%s: got %+v", what, a)
		case !declared && (a.Object.Name != "tools" || a.URLHosts != nil || a.Faults != nil):
			t.Errorf("%s: got %+v", what, a)
		}
	}
	w := newLandscape()
	w.Declare("bank", toolsHost, d)
	w.put(t, tools())
	check("before", w, true)
	w.Apply(false, nil, toolsKey)
	w.put(t, tools())
	check("forgotten meanwhile", w, true)
	version := w.Version()
	w.Declare("bank", toolsHost, d)
	if w.Version() != version {
		t.Error("declaring the same again changes the version")
	}
	w.Declare("bank", toolsHost, nil)
	check("taken back", w, false)
	if w.Version() == version {
		t.Error("taking it back leaves the version as it is")
	}
	w.Declare("bank", toolsHost, d)
	check("after", w, true)
	w.Declare("zoo", toolsHost, nil) // of a service that nobody knows
}
