package wds_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/mesh/wds"
)

// pods are the endpoints of bank/tools, in three zones and a hundred nodes.
func pods(n int) []*workloadapi.Address {
	all := make([]*workloadapi.Address, n)
	for i := range all {
		all[i] = pod(fmt.Sprintf("tools-7c9d8b6f54-%05d", i), netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String(), tunnelled,
			in(fmt.Sprintf("/europe/zone%d//node-%d/Kubernetes", i%3, i%100)),
			func(m *workloadapi.Workload) { m.ServiceAccount = fmt.Sprint("account", i%50) })
	}
	return all
}

func each(all []*workloadapi.Address, f func(*workloadapi.Workload)) []*workloadapi.Address {
	for _, a := range all {
		f(a.GetWorkload())
	}
	return all
}

// crowded has one service with n endpoints, from which somebody has picked.
func crowded(b testing.TB, n int) *wds.Store {
	s := wds.NewStore(wds.StoreOptions{Self: wds.Self{
		Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("10.0.0.1"),
	}})
	s.Apply(true, append(pods(n), tools(near), pod("agents", "10.0.0.1", in("/europe/zone1//node-1/Kubernetes"))))
	d, err := s.Resolve("10.96.0.10:80")
	if err == nil {
		_, err = d.Pick()
	}
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// near is what trafficDistribution: PreferClose becomes.
func near(m *workloadapi.Service) {
	m.LoadBalancing = &workloadapi.LoadBalancing{
		Mode: workloadapi.LoadBalancing_FAILOVER,
		RoutingPreference: []workloadapi.LoadBalancing_Scope{
			workloadapi.LoadBalancing_NETWORK, workloadapi.LoadBalancing_REGION, workloadapi.LoadBalancing_ZONE,
		},
	}
}

// One endpoint of one service that has them all becomes ill and well again: it costs the same among 1,000 and 10,000.
func BenchmarkUpdateEndpoint(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("workloads=%d", n), func(b *testing.B) {
			s := crowded(b, n)
			well, sick := wds.Resources(pods(n)...), wds.Resources(each(pods(n), ill)...)
			b.ReportAllocs()
			at, now, then := 0, sick, well
			for b.Loop() {
				s.ApplyResource(now[at])
				if now, then = then, now; &now[0] == &sick[0] {
					at = (at + 7919) % n
				}
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	s := crowded(b, 10000)
	for _, authority := range []string{"10.96.0.10:80", toolsHost + ":80"} {
		b.Run(authority, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Resolve(authority); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		s := crowded(b, n)
		d, err := s.Resolve("10.96.0.10:80")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Pick(); err != nil {
					b.Fatal(err)
				}
			}
		})
		e, _ := d.Pick()
		b.Run(fmt.Sprintf("again/endpoints=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			tried := []netip.AddrPort{e.Address}
			for b.Loop() {
				if _, err := d.Pick(tried...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Picking from 10,000 endpoints makes no garbage.
func TestPickAllocates(t *testing.T) {
	d, err := crowded(t, 10000).Resolve("10.96.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Pick(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// region is a mesh of 10,000 workloads and 1,000 services, 100 of which are attached and in use.
func region() (*wds.Store, []*workloadapi.Address) {
	var all []*workloadapi.Address
	name := func(i int) string { return fmt.Sprintf("service-%04d", i) }
	for i := range 1000 {
		all = append(all, tools(near, func(m *workloadapi.Service) {
			m.Name, m.Hostname = name(i), name(i)+".bank.svc.cluster.local"
			m.Addresses = []*workloadapi.NetworkAddress{{Address: []byte{10, 96, byte(1 + i/256), byte(i)}}}
			m.Ports = append(m.Ports, &workloadapi.Port{ServicePort: 443, TargetPort: 8443})
			if i >= 100 {
				m.Waypoint = byHost("bank", "another.bank.svc.cluster.local")
			}
		}))
	}
	for i, p := range pods(10000) {
		w := p.GetWorkload()
		w.CanonicalName, w.CanonicalRevision, w.WorkloadName = name(i%1000), "latest", name(i%1000)
		w.Services = map[string]*workloadapi.PortList{}
		for _, at := range []int{i % 1000, (i + 500) % 1000} {
			w.Services["bank/"+name(at)+".bank.svc.cluster.local"] = &workloadapi.PortList{
				Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}, {ServicePort: 443, TargetPort: 8443}},
			}
		}
		all = append(all, p)
	}
	return wds.NewStore(wds.StoreOptions{Self: wds.Self{
		Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("10.0.0.1"),
	}}), all
}

// weigh fills the store of a whole region, picks from every port that is attached, and returns what that takes in MiB.
func weigh(t testing.TB) float64 {
	s, all := region()
	resources := wds.Resources(all...)
	all = nil
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	before := heap()
	s.ApplyResource(resources...)
	for _, a := range s.Attached() {
		for _, port := range []string{":80", ":443"} {
			d, err := s.Resolve(a.Service.Hostname + port)
			if err == nil {
				_, err = d.Pick()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	grown := heap() - before
	if st := s.Stats(); st.Workloads != 10000 || st.Services != 1000 || st.Attached != 100 {
		t.Fatalf("%+v", st)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(resources)
	return grown
}

func TestMemory(t *testing.T) {
	grown := weigh(t)
	t.Logf("10,000 workloads and 1,000 services: %.1f MiB", grown)
	if grown > 60 { // half of what the whole process may take (docs/performance.md, row 18)
		t.Errorf("%.1f MiB, want less than 60", grown)
	}
}

func BenchmarkMemory(b *testing.B) {
	var grown float64
	for b.Loop() {
		grown = weigh(b)
	}
	b.ReportMetric(grown, "MiB")
}

// The first who picks after a service, or where we are, has changed ranks its endpoints.
func BenchmarkFirstPick(b *testing.B) {
	s := crowded(b, 10000)
	d, err := s.Resolve("10.96.0.10:80")
	if err != nil {
		b.Fatal(err)
	}
	declared := declaring(b, nil)
	for b.Loop() {
		s.Declare("bank", toolsHost, declared)
		if _, err := d.Pick(); err != nil {
			b.Fatal(err)
		}
		s.Declare("bank", toolsHost, nil)
	}
}
