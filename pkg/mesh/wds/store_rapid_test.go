package wds_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pkg/workloadapi"
	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// What there can be is little, so that everything collides with everything.
var (
	someAddrs    = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "20.0.0.9", "10.96.0.10"}
	someVIPs     = []string{"10.96.0.10", "10.96.0.11", "10.0.0.3", "10.96.0.1"}
	someNetworks = []string{"", "", "", "far"}
	someServices = []string{"bank/tools.example", "zoo/tools.example", "bank/api.example", "bank/" + ownHost}
	someAsked    = []string{
		"10.96.0.10:80", "10.96.0.11:80", "10.96.0.99:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:81", "20.0.0.9:15008",
		"tools.example:80", "tools.example:81", "api.example:80", ownHost + ":80",
	}
)

func anyWaypoint(t *rapid.T) *workloadapi.GatewayAddress {
	return rapid.SampledFrom([]*workloadapi.GatewayAddress{
		nil, byHost("bank", ownHost), byHost("bank", ownHost), byHost("bank", "x"), byAddress("", "10.96.0.1"), byAddress("far", "10.96.0.10"),
		byAddress("", "10.96.0.11"),
	}).Draw(t, "waypoint")
}

func anyWorkload(t *rapid.T) *workloadapi.Address {
	uid := rapid.SampledFrom([]string{"u1", "u2", "u3", "u4", "u5", "own"}).Draw(t, "uid")
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	m := &workloadapi.Workload{
		Uid: uid, Name: "w-" + uid, Namespace: "bank", ServiceAccount: pick("account", "a", "b"),
		Network: pick("network", someNetworks...), Node: pick("node", "", "n"), ClusterId: pick("cluster", "", "c"),
		Locality: &workloadapi.Locality{Region: pick("region", "", "r"), Zone: pick("zone", "", "z")},
		Services: map[string]*workloadapi.PortList{},
		Waypoint: anyWaypoint(t),
	}
	for i := range rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2}).Draw(t, "addresses") {
		m.Addresses = append(m.Addresses, ip(pick(fmt.Sprint("address", i), someAddrs...)))
	}
	if len(m.Addresses) == 2 && slices.Equal(m.Addresses[0], m.Addresses[1]) {
		m.Addresses = m.Addresses[:1]
	}
	if len(m.Addresses) == 0 {
		m.Hostname = pick("hostname", "", uid+".example")
	}
	if uid == "own" {
		m.Addresses = [][]byte{ip("10.0.0.1")}
	}
	if n := rapid.IntRange(0, 4).Draw(t, "capacity"); n < 4 {
		m.Capacity = wrapperspb.UInt32(uint32(n))
	}
	if rapid.Bool().Draw(t, "tunnel") {
		tunnelled(m)
	}
	if rapid.IntRange(0, 4).Draw(t, "ill") == 0 {
		ill(m)
	}
	if rapid.IntRange(0, 6).Draw(t, "host network") == 0 {
		m.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK
	}
	if rapid.Bool().Draw(t, "gateway") {
		m.NetworkGateway = byAddress(pick("gateway's network", "", "far", "far"), "20.0.0.9")
	}
	for _, key := range someServices[:3] {
		switch rapid.IntRange(0, 4).Draw(t, key) {
		case 0, 1:
			m.Services[key] = &workloadapi.PortList{}
		case 2:
			m.Services[key] = ports(80, rapid.SampledFrom([]uint32{0, 9090, 15021}).Draw(t, "target"))
		}
	}
	return &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: m}}
}

func anyService(t *rapid.T) *workloadapi.Address {
	key := rapid.SampledFrom(someServices).Draw(t, "service")
	m := &workloadapi.Service{Name: "s", Namespace: key[:len(key)-len(after(key))-1], Hostname: after(key), Canonical: rapid.Bool().Draw(t, "canonical")}
	for i := range rapid.IntRange(0, 2).Draw(t, "VIPs") {
		a := &workloadapi.NetworkAddress{
			Network: rapid.SampledFrom(someNetworks).Draw(t, "network"), Address: ip(rapid.SampledFrom(someVIPs).Draw(t, fmt.Sprint("VIP", i))),
		}
		if rapid.IntRange(0, 4).Draw(t, "range") == 0 {
			a.Length = proto.Uint32(24)
		}
		m.Addresses = append(m.Addresses, a)
	}
	for _, number := range []uint32{80, 81} {
		if rapid.IntRange(0, 3).Draw(t, "port") > 0 {
			m.Ports = append(m.Ports, &workloadapi.Port{ServicePort: number, TargetPort: rapid.SampledFrom([]uint32{8080, 8080, 0, 15008}).Draw(t, "target")})
		}
	}
	m.Waypoint = anyWaypoint(t)
	if rapid.IntRange(0, 4).Draw(t, "canary") == 0 {
		m.WeightedWaypoints = []*workloadapi.WeightedWaypoint{{Destination: anyWaypoint(t)}}
	}
	if rapid.IntRange(0, 3).Draw(t, "sans") == 0 {
		m.SubjectAltNames = []string{"spiffe://cluster.local/ns/x/sa/y"}
	}
	m.LoadBalancing = &workloadapi.LoadBalancing{
		Mode:         rapid.SampledFrom([]workloadapi.LoadBalancing_Mode{0, workloadapi.LoadBalancing_STRICT, workloadapi.LoadBalancing_FAILOVER, workloadapi.LoadBalancing_FAILOVER}).Draw(t, "mode"),
		HealthPolicy: rapid.SampledFrom([]workloadapi.LoadBalancing_HealthPolicy{0, 0, workloadapi.LoadBalancing_ALLOW_ALL}).Draw(t, "health"),
		RoutingPreference: rapid.SampledFrom([][]workloadapi.LoadBalancing_Scope{
			nil, {workloadapi.LoadBalancing_NETWORK, workloadapi.LoadBalancing_REGION, workloadapi.LoadBalancing_ZONE},
			{workloadapi.LoadBalancing_REGION, workloadapi.LoadBalancing_ZONE}, {workloadapi.LoadBalancing_NODE},
		}).Draw(t, "scopes"),
	}
	return &workloadapi.Address{Type: &workloadapi.Address_Service{Service: m}}
}

func after(key string) string {
	for i := range key {
		if key[i] == '/' {
			return key[i+1:]
		}
	}
	return key
}

// After any history the store answers as if it had been made from what istiod says now, and every destination that was ever
// resolved picks from that too.
func TestStoreAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newLandscape()
		self := wds.Self{
			Namespace: "bank", Gateway: "agents", Hosts: []string{ownHost},
			Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, PodIP: netip.MustParseAddr("10.0.0.1"),
		}
		m := newModel(self)
		held := map[string]*mesh.Destination{}
		answers, version := map[string]string{}, uint64(0)
		names := append([]string{"u1", "u2", "u3", "u4", "u5", "own"}, someServices...)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				var changed []*workloadapi.Address
				for range rapid.IntRange(1, 4).Draw(t, "resources") {
					if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
						changed = append(changed, anyService(t))
					} else {
						changed = append(changed, anyWorkload(t))
					}
				}
				for _, a := range changed {
					m.put(a)
				}
				if bad := w.Apply(false, changed); len(bad) > 0 {
					t.Fatalf("rejected: %v", bad)
				}
			},
			"remove": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				m.remove(name)
				w.Apply(false, nil, name)
			},
			"full": func(t *rapid.T) {
				var all []*workloadapi.Address
				for _, name := range slices.Sorted(maps.Keys(m.workloads)) {
					if rapid.IntRange(0, 3).Draw(t, name) == 0 {
						m.remove(name)
						continue
					}
					all = append(all, &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: m.workloads[name]}})
				}
				for _, name := range slices.Sorted(maps.Keys(m.services)) {
					all = append(all, &workloadapi.Address{Type: &workloadapi.Address_Service{Service: m.services[name]}})
				}
				w.Apply(true, all)
			},
			"self": func(t *rapid.T) {
				self.Hosts = rapid.SampledFrom([][]string{nil, {ownHost}}).Draw(t, "hosts")
				self.PodIP = netip.MustParseAddr(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.1", "10.0.0.2"}).Draw(t, "pod"))
				m.self = self
				w.SetSelf(self)
			},
			"": func(t *rapid.T) {
				now := map[string]string{}
				for _, asked := range someAsked {
					now[asked] = compare(t, w, m, asked, held)
				}
				if len(answers) > 0 && w.Version() == version && fmt.Sprint(now) != fmt.Sprint(answers) {
					t.Fatalf("version %d twice:\n%v\n%v", version, answers, now)
				}
				answers, version = now, w.Version()
				for key, d := range held {
					number := uint32(d.Service.Port)
					same(t, "held "+key, w.shares(d), m.picks(key[:len(key)-3], number))
				}
			},
		})
	})
}

// compare resolves an authority in both and returns the store's answer. It remembers destinations of services.
func compare(t *rapid.T, w *landscape, m *model, asked string, held map[string]*mesh.Destination) string {
	a, err := mesh.ParseAuthority(asked)
	if err != nil {
		t.Fatal(err)
	}
	key, wantErr := m.resolve(a.Host, a.Addr, uint32(a.Port))
	d, err := w.Resolve(asked)
	if wantErr != nil || err != nil {
		if wantErr == nil || !errors.Is(err, wantErr) {
			t.Fatalf("%s: got %v, want %q, %v", asked, err, key, wantErr)
		}
		return wantErr.Error()
	}
	if v := m.services[key]; v != nil {
		if got := d.Service.Namespace + "/" + d.Service.Hostname; got != key {
			t.Fatalf("%s: got %s, want %s", asked, got, key)
		}
		held[fmt.Sprintf("%s:%d", key, a.Port)] = d
		same(t, asked, w.shares(d), m.picks(key, uint32(a.Port)))
		for _, tried := range []string{"10.0.0.2:8080", "20.0.0.9:15008"} {
			same(t, asked+" after "+tried, w.shares(d, tried), m.picks(key, uint32(a.Port), tried))
		}
		return key
	}
	if d.Service.Name != m.workloads[key].Name {
		t.Fatalf("%s: got %s, want %s", asked, d.Service, key)
	}
	want := asked
	if m.workloads[key].TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
		want += fmt.Sprintf("~%s:15008=[/ns/bank/sa/%s]", a.Addr, m.workloads[key].ServiceAccount)
	}
	same(t, asked, w.shares(d), map[string]float64{want: 1})
	return key
}

// shares lists what could be picked, each in parts of one; nothing if nothing can.
func (w *landscape) shares(d *mesh.Destination, tried ...string) map[string]float64 {
	var before []netip.AddrPort
	for _, s := range tried {
		before = append(before, netip.MustParseAddrPort(s))
	}
	sum := map[string]float64{}
	w.dice.each(func() {
		if e, err := d.Pick(before...); err == nil {
			part := 1.0
			for _, n := range w.dice.sizes {
				part /= float64(n)
			}
			sum[show(e)] += part
		}
	})
	return sum
}

func same(t *rapid.T, what string, got, want map[string]float64) {
	keys := maps.Collect(maps.All(got))
	maps.Copy(keys, want)
	for k := range keys {
		if math.Abs(got[k]-want[k]) > 1e-9 {
			t.Fatalf("%s:\ngot  %v\nwant %v", what, got, want)
		}
	}
}
