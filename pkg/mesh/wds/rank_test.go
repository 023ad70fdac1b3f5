package wds_test

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

func weighing(n uint32) func(*workloadapi.Workload) {
	return func(m *workloadapi.Workload) { m.Capacity = wrapperspb.UInt32(n) }
}

// What makes a workload an endpoint, and which.
func TestPick(t *testing.T) {
	target := func(service, target uint32) func(*workloadapi.Workload) {
		return func(m *workloadapi.Workload) {
			m.Services[toolsKey] = &workloadapi.PortList{Ports: []*workloadapi.Port{{ServicePort: service, TargetPort: target}}}
		}
	}
	hosted := func(host string) func(*workloadapi.Workload) {
		return func(m *workloadapi.Workload) { m.Hostname = host }
	}
	dual := func(m *workloadapi.Workload) { m.Addresses = [][]byte{ip("fd00::2"), ip("10.0.0.2")} }
	named := func(m *workloadapi.Service) { m.Ports[0].TargetPort = 0 }
	offered := func(f workloadapi.IPFamilies) func(*workloadapi.Service) {
		return func(m *workloadapi.Service) { m.IpFamilies = f }
	}
	const nobody = "mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: 0 usable, 0 tried already"
	for name, tt := range map[string]struct {
		service   *workloadapi.Address
		workloads []*workloadapi.Address
		want      string
	}{
		"nobody":      {want: nobody},
		"plain":       {workloads: []*workloadapi.Address{pod("a", "10.0.0.2")}, want: "10.0.0.2:8080"},
		"tunnel":      {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", tunnelled)}, want: "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/a]"},
		"two":         {workloads: []*workloadapi.Address{pod("a", "10.0.0.2"), pod("b", "10.0.0.3")}, want: "10.0.0.2:8080; 10.0.0.3:8080"},
		"by capacity": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", weighing(3)), pod("b", "10.0.0.3"), pod("c", "10.0.0.4", weighing(0))}, want: "3× 10.0.0.2:8080; 10.0.0.3:8080"},
		"own sidecar": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", func(m *workloadapi.Workload) {
			m.TunnelProtocol = workloadapi.TunnelProtocol_LEGACY_ISTIO_MTLS
		})}, want: "10.0.0.2:8080"},
		"native tunnel": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", tunnelled, func(m *workloadapi.Workload) { m.NativeTunnel = true })}, want: "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/a]"},
		"strange tunnel": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", func(m *workloadapi.Workload) {
			m.TunnelProtocol = 9
		})}, want: nobody},
		"unhealthy":      {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", ill), pod("b", "10.0.0.3")}, want: "10.0.0.3:8080"},
		"unknown health": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", func(m *workloadapi.Workload) { m.Status = 7 })}, want: nobody},
		"unhealthy allowed": {service: tools(func(m *workloadapi.Service) {
			m.LoadBalancing = &workloadapi.LoadBalancing{HealthPolicy: workloadapi.LoadBalancing_ALLOW_ALL}
		}), workloads: []*workloadapi.Address{pod("a", "10.0.0.2", ill)}, want: "10.0.0.2:8080"},
		"host network": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", func(m *workloadapi.Workload) {
			m.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK
		})}, want: "10.0.0.2:8080"},
		"own target":           {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", target(80, 9090))}, want: "10.0.0.2:9090"},
		"target of no port":    {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", target(81, 9090))}, want: "10.0.0.2:8080"},
		"mesh's own target":    {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", target(80, 15021))}, want: nobody},
		"named target":         {service: tools(named), workloads: []*workloadapi.Address{pod("a", "10.0.0.2", target(80, 9090)), pod("b", "10.0.0.3")}, want: "10.0.0.2:9090"},
		"our own pod":          {workloads: []*workloadapi.Address{pod("a", "10.0.0.1"), pod("b", "10.0.0.3")}, want: "10.0.0.3:8080"},
		"loopback":             {workloads: []*workloadapi.Address{pod("a", "127.0.0.1")}, want: nobody},
		"our family":           {workloads: []*workloadapi.Address{pod("a", "", dual)}, want: "10.0.0.2:8080"},
		"only IPv6":            {service: tools(offered(workloadapi.IPFamilies_IPV6_ONLY)), workloads: []*workloadapi.Address{pod("a", "", dual), pod("b", "10.0.0.3")}, want: "[fd00::2]:8080"},
		"only IPv4":            {service: tools(offered(workloadapi.IPFamilies_IPV4_ONLY)), workloads: []*workloadapi.Address{pod("a", "", dual), pod("b", "fd00::3")}, want: "10.0.0.2:8080"},
		"dual":                 {service: tools(offered(workloadapi.IPFamilies_DUAL)), workloads: []*workloadapi.Address{pod("a", "", dual), pod("b", "fd00::3")}, want: "10.0.0.2:8080; [fd00::3]:8080"},
		"unknown families":     {service: tools(offered(9)), workloads: []*workloadapi.Address{pod("b", "fd00::3")}, want: "[fd00::3]:8080"},
		"hostname":             {workloads: []*workloadapi.Address{pod("a", "", hosted("DB.example"))}, want: "db.example:8080"},
		"hostname of ours":     {workloads: []*workloadapi.Address{pod("a", "", hosted("x.localhost")), pod("b", "", hosted("localhost"))}, want: nobody},
		"hostname, an address": {workloads: []*workloadapi.Address{pod("a", "", hosted("127.0.0.1"))}, want: nobody},
		"hostname in a tunnel": {workloads: []*workloadapi.Address{pod("a", "", hosted("db.example"), tunnelled)}, want: nobody},
		"address and hostname": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", hosted("a.db.example"))}, want: "10.0.0.2:8080"},
		"neither":              {workloads: []*workloadapi.Address{pod("a", "")}, want: nobody},
		"other identities": {service: tools(func(m *workloadapi.Service) {
			m.SubjectAltNames = []string{"spiffe://cluster.local/ns/x/sa/y", "tools.example"}
		}), workloads: []*workloadapi.Address{pod("a", "10.0.0.2", tunnelled)}, want: "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/a /ns/x/sa/y]"},
		"elided identity": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", tunnelled, func(m *workloadapi.Workload) {
			m.ServiceAccount = ""
		})}, want: "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/default]"},
		"trust domain": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", tunnelled, func(m *workloadapi.Workload) {
			m.TrustDomain = "example.org"
		})}, want: "10.0.0.2:8080~10.0.0.2:15008=[spiffe://example.org/ns/bank/sa/a]"},
		"of another service": {workloads: []*workloadapi.Address{pod("a", "10.0.0.2", func(m *workloadapi.Workload) { m.Services = nil })}, want: nobody},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLandscape()
			if tt.service == nil {
				tt.service = tools()
			}
			w.put(t, tt.service)
			expect(t, "before", w.picks("10.96.0.10:80"), nobody)
			w.put(t, tt.workloads...)
			expect(t, "after", w.picks("10.96.0.10:80"), tt.want)

			other := newLandscape()
			other.put(t, append(tt.workloads, tt.service)...)
			expect(t, "workloads first", other.picks("10.96.0.10:80"), tt.want)
		})
	}
}

func TestElidedTrustDomain(t *testing.T) {
	for name, tt := range map[string]struct {
		domain string
		want   string
	}{"": {"", "/ns/bank/sa/a"}, "ours": {"example.org", "spiffe://example.org/ns/bank/sa/a"}} {
		w := newLandscape(func(o *wds.StoreOptions) { o.TrustDomain = domain(tt.domain) })
		w.put(t, tools(), pod("a", "10.0.0.2", tunnelled))
		expect(t, name, w.picks("10.96.0.10:80"), "10.0.0.2:8080~10.0.0.2:15008=["+tt.want+"]")
	}
}

// A retry goes to what was not tried, also where each endpoint has a hostname only.
func TestPickAgain(t *testing.T) {
	w := newLandscape()
	w.put(t, tools(), pod("a", "10.0.0.2", weighing(2)), pod("b", "10.0.0.3"), pod("c", "10.0.0.4"))
	expect(t, "one", w.picks("10.96.0.10:80", "10.0.0.4:8080"), "2× 10.0.0.2:8080; 10.0.0.3:8080")
	expect(t, "two", w.picks("10.96.0.10:80", "10.0.0.2:8080", "10.0.0.4:8080"), "10.0.0.3:8080")
	expect(t, "all", w.picks("10.96.0.10:80", "10.0.0.2:8080", "10.0.0.4:8080", "10.0.0.3:8080"),
		"mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: 3 usable, 3 tried already")

	w = newLandscape()
	hosted := func(host string) func(*workloadapi.Workload) {
		return func(m *workloadapi.Workload) { m.Hostname = host }
	}
	w.put(t, tools(), pod("a", "", hosted("a.example")), pod("b", "", hosted("b.example")))
	d, err := w.Resolve("10.96.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	one, err := d.Pick()
	if err != nil {
		t.Fatal(err)
	}
	two, err := d.Pick(one.Address)
	if err != nil || one.Host != "a.example" || two.Host != "b.example" {
		t.Errorf("got %s, then %s, %v, want both", one.Host, two.Host, err)
	}
}

// in says where a workload is, as network/region/zone/subzone/node/cluster.
func in(where string) func(*workloadapi.Workload) {
	p := strings.Split(where, "/")
	return func(m *workloadapi.Workload) {
		m.Network, m.Node, m.ClusterId = p[0], p[4], p[5]
		m.Locality = &workloadapi.Locality{Region: p[1], Zone: p[2], Subzone: p[3]}
	}
}

func TestRank(t *testing.T) {
	const (
		region  = workloadapi.LoadBalancing_REGION
		zone    = workloadapi.LoadBalancing_ZONE
		subzone = workloadapi.LoadBalancing_SUBZONE
		node    = workloadapi.LoadBalancing_NODE
		cluster = workloadapi.LoadBalancing_CLUSTER
		network = workloadapi.LoadBalancing_NETWORK
	)
	const (
		failover = workloadapi.LoadBalancing_FAILOVER
		strict   = workloadapi.LoadBalancing_STRICT
		none     = workloadapi.LoadBalancing_UNSPECIFIED_MODE
	)
	places := map[string]string{
		"node": "n/r/z/s/n1/c", "subzone": "n/r/z/s/n2/c", "zone": "n/r/z/t/n2/c", "region": "n/r/y/s/n2/c",
		"region-node": "n/r/y/s/n1/c", "network": "n/q/z/s/n2/c", "cluster": "n/q/y/t/n3/c", "away": "n/q/y/t/n3/d",
		"far": "m/r/z/s/n1/c", "farther": "m/r/y/s/n1/d",
	}
	for name, tt := range map[string]struct {
		mode   workloadapi.LoadBalancing_Mode
		scopes []workloadapi.LoadBalancing_Scope
		there  string
		want   string
	}{
		"the nearest":           {failover, []workloadapi.LoadBalancing_Scope{region, zone, subzone, node}, "node subzone zone region away", "node"},
		"all that are as near":  {failover, []workloadapi.LoadBalancing_Scope{region, zone}, "node subzone zone region away", "node subzone zone"},
		"from the left":         {failover, []workloadapi.LoadBalancing_Scope{region, zone, subzone, node}, "region-node zone", "zone"},
		"until the first":       {failover, []workloadapi.LoadBalancing_Scope{region, zone, node}, "region region-node", "region region-node"},
		"failover":              {failover, []workloadapi.LoadBalancing_Scope{region, zone}, "region away", "region"},
		"to anywhere":           {failover, []workloadapi.LoadBalancing_Scope{region, zone}, "away network", "away network"},
		"strict":                {strict, []workloadapi.LoadBalancing_Scope{node}, "subzone node", "node"},
		"strict and nobody":     {strict, []workloadapi.LoadBalancing_Scope{node}, "subzone zone", ""},
		"strict, not all":       {strict, []workloadapi.LoadBalancing_Scope{region, zone}, "region", ""},
		"strict without scopes": {strict, nil, "node away", "away node"},
		"cluster":               {failover, []workloadapi.LoadBalancing_Scope{cluster}, "cluster away", "cluster"},
		"no mode":               {none, []workloadapi.LoadBalancing_Scope{node}, "node away", "away node"},
		"unknown mode":          {9, []workloadapi.LoadBalancing_Scope{node}, "node away", "away node"},
		"unknown scopes":        {failover, []workloadapi.LoadBalancing_Scope{99, 0, node}, "node away", "node"},
		// The node of another network is nearer than a region of ours, but it is another network.
		"the network first":     {failover, []workloadapi.LoadBalancing_Scope{network, region, zone}, "away far", "away"},
		"other networks":        {failover, []workloadapi.LoadBalancing_Scope{network, region, zone}, "far farther", "far"},
		"the network later":     {failover, []workloadapi.LoadBalancing_Scope{region, network}, "far away", "far"},
		"the network, strictly": {strict, []workloadapi.LoadBalancing_Scope{network}, "far", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLandscape()
			w.put(t, pod("agents", "10.0.0.1", in(places["node"])),
				pod("gateway", "20.0.0.9", func(m *workloadapi.Workload) { m.Network, m.Services = "m", nil }),
				tools(func(m *workloadapi.Service) {
					m.Addresses[0].Network = "n"
					m.LoadBalancing = &workloadapi.LoadBalancing{Mode: tt.mode, RoutingPreference: tt.scopes}
				}))
			for at := range strings.FieldsSeq(tt.there) {
				w.put(t, pod(at, "10.0.1."+string('0'+rune(strings.Index(tt.there, at)%10)), in(places[at]), tunnelled, func(m *workloadapi.Workload) {
					m.Uid = at
					m.NetworkGateway = byAddress("m", "20.0.0.9")
				}))
			}
			expect(t, "picks", w.who(t, "10.96.0.10:80"), tt.want)
		})
	}
}

// who lists the names of the workloads that could be picked.
func (w *landscape) who(t *testing.T, authority string) string {
	t.Helper()
	d, err := w.Resolve(authority)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	w.dice.each(func() {
		if e, err := d.Pick(); err == nil {
			found[strings.TrimPrefix(e.Workload, "bank/")] = true
		}
	})
	return join(found)
}

// A retry goes on to what is less near once the nearest were tried.
func TestPickAgainFartherAway(t *testing.T) {
	w := newLandscape()
	w.put(t, pod("agents", "10.0.0.1", in("/r/z///")), tools(func(m *workloadapi.Service) {
		m.LoadBalancing = &workloadapi.LoadBalancing{Mode: workloadapi.LoadBalancing_FAILOVER,
			RoutingPreference: []workloadapi.LoadBalancing_Scope{workloadapi.LoadBalancing_REGION, workloadapi.LoadBalancing_ZONE}}
	}), pod("near", "10.0.0.2", in("/r/z///")), pod("mid", "10.0.0.3", in("/r/y///")), pod("away", "10.0.0.4", in("/q/y///")))
	expect(t, "first", w.picks("10.96.0.10:80"), "10.0.0.2:8080")
	expect(t, "second", w.picks("10.96.0.10:80", "10.0.0.2:8080"), "10.0.0.3:8080")
	expect(t, "third", w.picks("10.96.0.10:80", "10.0.0.2:8080", "10.0.0.3:8080"), "10.0.0.4:8080")
	w.put(t, pod("agents", "10.0.0.1", in("/q/y///")))
	expect(t, "after we have moved", w.picks("10.96.0.10:80"), "10.0.0.4:8080")
	w.put(t, pod("away", "10.0.0.4", in("/r/z///")))
	expect(t, "after it has moved", w.picks("10.96.0.10:80"), "10.0.0.2:8080; 10.0.0.3:8080; 10.0.0.4:8080")
}

// A destination that a tunnel holds follows its service through everything.
func TestDestinationLives(t *testing.T) {
	w := newLandscape()
	w.put(t, tools(), pod("a", "10.0.0.2"))
	d, err := w.Resolve("10.96.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "at first", w.choices(d), "10.0.0.2:8080")
	w.put(t, pod("b", "10.0.0.3"))
	expect(t, "one more", w.choices(d), "10.0.0.2:8080; 10.0.0.3:8080")
	w.put(t, tools(func(m *workloadapi.Service) { m.Ports[0].TargetPort = 9090 }))
	expect(t, "another target", w.choices(d), "10.0.0.2:9090; 10.0.0.3:9090")
	w.Declare("bank", toolsHost, declaring(t, map[string]string{mesh.AnnHBONEPort: "25008"}))
	w.put(t, pod("b", "10.0.0.3", tunnelled))
	expect(t, "another tunnel port", w.choices(d), "10.0.0.2:9090; 10.0.0.3:9090~10.0.0.3:25008=[/ns/bank/sa/b]")
	w.SetSelf(wds.Self{Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("10.0.0.2")})
	expect(t, "our pod is another", w.choices(d), "10.0.0.3:9090~10.0.0.3:25008=[/ns/bank/sa/b]")
	w.put(t, tools(func(m *workloadapi.Service) { m.Ports[0].ServicePort = 81 }))
	expect(t, "the port is gone", w.choices(d), "mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: the port is gone")
	w.Apply(false, nil, toolsKey)
	expect(t, "the service is gone", w.choices(d), "mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: the service is gone")
	w.put(t, tools())
	expect(t, "it is back", w.choices(d), "10.0.0.3:8080~10.0.0.3:25008=[/ns/bank/sa/b]")
}

// Each endpoint gets its share among many, while most of them go and others come.
func TestPickAmongMany(t *testing.T) {
	w := newLandscape()
	w.put(t, tools())
	weights := map[string]int{}
	check := func() {
		t.Helper()
		got := map[string]int{}
		d, err := w.Resolve("10.96.0.10:80")
		if err != nil {
			t.Fatal(err)
		}
		w.dice.each(func() {
			e, err := d.Pick()
			if err != nil {
				t.Fatal(err)
			}
			got[strings.TrimPrefix(e.Workload, "bank/")]++
		})
		if !maps.Equal(got, weights) {
			t.Fatalf("got %v, want %v", got, weights)
		}
	}
	add := func(i int) {
		name := fmt.Sprint("p", i)
		weights[name] = 1 + i*7%5
		w.put(t, pod(name, fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), weighing(uint32(weights[name]))))
	}
	remove := func(i int) {
		delete(weights, fmt.Sprint("p", i))
		w.Apply(false, nil, fmt.Sprint("Kubernetes//Pod/bank/p", i))
	}
	add(0)
	check()
	for i := range 500 {
		add(i)
	}
	check()
	for i := range 500 {
		if i%71 > 0 {
			remove(i)
		}
	}
	check()
	for i := 400; i < 450; i++ {
		add(i)
	}
	remove(426)
	check()
}
