package wds_test

import (
	"errors"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

var _ mesh.View = (*wds.Store)(nil)

func TestResolve(t *testing.T) {
	w := newLandscape()
	w.put(t,
		tools(func(m *workloadapi.Service) {
			m.Addresses = append(m.Addresses,
				&workloadapi.NetworkAddress{Address: ip("fd00::10")},
				&workloadapi.NetworkAddress{Network: "elsewhere", Address: ip("10.96.9.9")})
			m.Ports = append(m.Ports,
				&workloadapi.Port{ServicePort: 81, TargetPort: 15021}, &workloadapi.Port{ServicePort: 15020, TargetPort: 9000})
		}),
		tools(detached, func(m *workloadapi.Service) {
			m.Name, m.Hostname, m.Addresses = "other", "other.bank.svc.cluster.local", []*workloadapi.NetworkAddress{{Address: ip("10.96.0.11")}}
		}),
		tools(func(m *workloadapi.Service) {
			m.Name, m.Hostname, m.Addresses = "bare", "bare.bank.svc.cluster.local", nil
		}),
		pod("bound", "10.0.0.5", bound),
		pod("free", "10.0.0.6"),
		pod("host", "10.0.0.7", bound, func(m *workloadapi.Workload) { m.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK }),
		pod("far", "10.0.0.8", bound, func(m *workloadapi.Workload) { m.Network = "elsewhere" }),
		pod("agents", "10.0.0.1", bound),
	)
	service := func(name, host string, port uint16) call.Service {
		return call.Service{Namespace: "bank", Name: name, Hostname: host, Port: port}
	}
	for _, tt := range []struct {
		authority string
		want      call.Service
		err       string
		is        error
	}{
		{authority: "10.96.0.10:80", want: service("tools", toolsHost, 80)},
		{authority: "[fd00::10]:80", want: service("tools", toolsHost, 80)},
		{authority: "10.96.0.10:15020", want: service("tools", toolsHost, 15020)},
		{authority: "Tools.bank.svc.cluster.local:80", want: service("tools", toolsHost, 80)},
		{authority: "bare.bank.svc.cluster.local:80", want: service("bare", "bare.bank.svc.cluster.local", 80)},
		{authority: "10.0.0.5:7777", want: service("bound", "", 7777)},
		{authority: "10.96.0.10:82", err: "mesh: the service has no such port: 10.96.0.10:82", is: mesh.ErrUnknownPort},
		{authority: "10.96.0.10:81", err: "mesh: the port belongs to the mesh itself: 10.96.0.10:81", is: mesh.ErrOwnPort},
		{authority: "10.0.0.5:15008", err: "mesh: the port belongs to the mesh itself: 10.0.0.5:15008", is: mesh.ErrOwnPort},
		{authority: "10.0.0.1:80", err: "mesh: the port belongs to the mesh itself: 10.0.0.1:80 is this waypoint's own pod", is: mesh.ErrOwnPort},
		{authority: "10.96.0.11:80", err: "mesh: not attached to this waypoint: 10.96.0.11:80", is: mesh.ErrNotAttached},
		{authority: "other.bank.svc.cluster.local:80", err: "mesh: not attached to this waypoint: other.bank.svc.cluster.local:80", is: mesh.ErrNotAttached},
		{authority: "tools:80", err: "mesh: not attached to this waypoint: tools:80", is: mesh.ErrNotAttached},
		{authority: "10.96.9.9:80", err: "mesh: not attached to this waypoint: 10.96.9.9:80", is: mesh.ErrNotAttached},
		{authority: "10.0.0.6:80", err: "mesh: not attached to this waypoint: 10.0.0.6:80", is: mesh.ErrNotAttached},
		{authority: "10.0.0.7:80", err: "mesh: not attached to this waypoint: 10.0.0.7:80", is: mesh.ErrNotAttached},
		{authority: "10.0.0.8:80", err: "mesh: not attached to this waypoint: 10.0.0.8:80", is: mesh.ErrNotAttached},
		{authority: "10.96.0.10", err: `mesh: the authority is not host:port: "10.96.0.10" has no port`, is: mesh.ErrAuthority},
	} {
		d, err := w.Resolve(tt.authority)
		switch {
		case tt.err != "":
			if err == nil || err.Error() != tt.err || !errors.Is(err, tt.is) {
				t.Errorf("%s: got %v, %v, want %s", tt.authority, d, err, tt.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.authority, err)
		case d.Service != tt.want:
			t.Errorf("%s: got %+v, want %+v", tt.authority, d.Service, tt.want)
		}
	}
}

// A hostname or an address of several namespaces leads to a service that is attached, a canonical one first, and one that
// has the port before one that does not.
func TestResolveAmongNamespaces(t *testing.T) {
	in := func(namespace string, change ...func(*workloadapi.Service)) *workloadapi.Address {
		return tools(append([]func(*workloadapi.Service){func(m *workloadapi.Service) {
			m.Namespace, m.Hostname = namespace, "api.example"
		}}, change...)...)
	}
	canonical := func(m *workloadapi.Service) { m.Canonical = true }
	other := func(m *workloadapi.Service) { m.Ports = []*workloadapi.Port{{ServicePort: 90}} }
	for name, tt := range map[string]struct {
		services []*workloadapi.Address
		want     string
	}{
		"by name":            {[]*workloadapi.Address{in("zoo"), in("aviary")}, "aviary"},
		"canonical":          {[]*workloadapi.Address{in("aviary"), in("zoo", canonical), in("mews")}, "zoo"},
		"attached":           {[]*workloadapi.Address{in("aviary", canonical, detached), in("zoo")}, "zoo"},
		"port":               {[]*workloadapi.Address{in("aviary", canonical, other), in("zoo")}, "zoo"},
		"canonical later on": {[]*workloadapi.Address{in("aviary"), in("zoo"), in("zoo", canonical)}, "zoo"},
	} {
		for _, authority := range []string{"api.example:80", "10.96.0.10:80"} {
			w := newLandscape()
			w.put(t, tt.services...)
			d, err := w.Resolve(authority)
			if err != nil {
				t.Errorf("%s: %s: %v", name, authority, err)
			} else if d.Service.Namespace != tt.want {
				t.Errorf("%s: %s: got %s, want %s", name, authority, d.Service.Namespace, tt.want)
			}
		}
	}
}

// A service with ranges of addresses is found by the longest one, after everything that has the address alone.
func TestResolveRanges(t *testing.T) {
	w := newLandscape()
	ranged := func(name, addr string, length uint32, change ...func(*workloadapi.Service)) *workloadapi.Address {
		return tools(append([]func(*workloadapi.Service){func(m *workloadapi.Service) {
			m.Name, m.Hostname = name, name+".example"
			m.Addresses = []*workloadapi.NetworkAddress{{Address: ip(addr), Length: proto.Uint32(length)}}
		}}, change...)...)
	}
	w.put(t,
		ranged("wide", "20.1.2.3", 8), ranged("narrow", "20.1.0.0", 16), ranged("single", "20.1.1.1", 32),
		ranged("foreign", "20.1.1.2", 32, detached), ranged("foreign24", "20.1.3.0", 24, detached), ranged("six", "fd00::", 64),
		pod("bound", "20.1.1.4", bound), pod("free", "20.1.1.5"),
	)
	for authority, want := range map[string]string{
		"20.9.9.9:80":        "bank/wide",
		"20.1.9.9:80":        "bank/narrow",
		"20.1.1.1:80":        "bank/single",
		"20.1.1.2:80":        "mesh: not attached to this waypoint: 20.1.1.2:80",
		"20.1.3.1:80":        "mesh: not attached to this waypoint: 20.1.3.1:80",
		"20.1.1.4:80":        "bank/bound",
		"20.1.1.5:80":        "bank/narrow",
		"[fd00::5]:80":       "bank/six",
		"[fd00:0:0:1::5]:80": "mesh: not attached to this waypoint: [fd00:0:0:1::5]:80",
		"21.0.0.1:80":        "mesh: not attached to this waypoint: 21.0.0.1:80",
	} {
		d, err := w.Resolve(authority)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = d.Service.String()
		}
		expect(t, authority, got, want)
	}
	version := w.Version()
	w.put(t, ranged("late", "20.9.9.9", 32, detached))
	if _, err := w.Resolve("20.9.9.9:80"); !errors.Is(err, mesh.ErrNotAttached) {
		t.Errorf("an address that became another service's: got %v, want ErrNotAttached", err)
	}
	if w.Version() == version {
		t.Error("the address means something else now, and the version is the same")
	}
}

// A service without endpoints leads where the caller wanted to go, and nowhere that is ours.
func TestPassthrough(t *testing.T) {
	w := newLandscape()
	w.put(t,
		tools(func(m *workloadapi.Service) {
			m.Hostname = "all.example"
			m.Addresses = []*workloadapi.NetworkAddress{{Address: ip("0.0.0.0"), Length: proto.Uint32(0)}}
			m.Ports = []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}, {ServicePort: 15000}}
			m.LoadBalancing = &workloadapi.LoadBalancing{Mode: workloadapi.LoadBalancing_PASSTHROUGH}
		}),
		pod("inside", "10.0.0.9", tunnelled),
		pod("new", "10.0.0.8", func(m *workloadapi.Workload) { m.TunnelProtocol = 77 }),
	)
	for authority, want := range map[string]string{
		"20.1.1.1:80":    "20.1.1.1:80",
		"10.0.0.9:80":    "10.0.0.9:80~10.0.0.9:15008=[/ns/bank/sa/inside]",
		"10.0.0.8:80":    "mesh: no endpoint at 10.0.0.8:80: its tunnel is of a kind that is not known here",
		"all.example:80": "mesh: no endpoint of bank/all.example port 80: the service has addresses only, and was asked for by its name",
		"20.1.1.1:81":    "mesh: the service has no such port: 20.1.1.1:81",
		"20.1.1.1:15000": "mesh: the port belongs to the mesh itself: 20.1.1.1:15000",
		"10.0.0.1:80":    "mesh: the port belongs to the mesh itself: 10.0.0.1:80 is this waypoint's own pod",
		"127.0.0.1:80":   "mesh: not attached to this waypoint: 127.0.0.1:80 is not the address of another place",
		"224.0.0.1:80":   "mesh: not attached to this waypoint: 224.0.0.1:80 is not the address of another place",
		"0.0.0.0:80":     "mesh: not attached to this waypoint: 0.0.0.0:80 is not the address of another place",
	} {
		expect(t, authority, w.picks(authority), want)
	}
	d, err := w.Resolve("20.1.1.1:80")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "again", w.choices(d, "20.1.1.1:80"), "mesh: no endpoint at 20.1.1.1:80: 1 usable, 1 tried already")
	w.Apply(false, nil, "bank/all.example")
	expect(t, "gone", w.choices(d), "mesh: no endpoint at 20.1.1.1:80: bank/all.example does not lead there any more")
}

// A workload that is addressed itself is dialled where it was addressed, whatever its services say.
func TestWorkloadDestination(t *testing.T) {
	w := newLandscape()
	w.put(t, pod("a", "10.0.0.5", bound, tunnelled, ill, func(m *workloadapi.Workload) { m.Addresses = append(m.Addresses, ip("fd00::5")) }),
		pod("b", "10.0.0.6", bound))
	expect(t, "tunnel", w.picks("10.0.0.5:99"), "10.0.0.5:99~10.0.0.5:15008=[/ns/bank/sa/a]")
	expect(t, "IPv6", w.picks("[fd00::5]:99"), "[fd00::5]:99~[fd00::5]:15008=[/ns/bank/sa/a]")
	expect(t, "plain", w.picks("10.0.0.6:99"), "10.0.0.6:99")
	expect(t, "tried", w.picks("10.0.0.6:99", "10.0.0.6:99"), "mesh: no endpoint at 10.0.0.6:99: 1 usable, 1 tried already")
	d, err := w.Resolve("10.0.0.5:99")
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, pod("new", "10.0.0.5", bound))
	expect(t, "somebody else has the address", w.choices(d), "mesh: no endpoint at 10.0.0.5:99: the workload is gone")
	expect(t, "resolved again", w.picks("10.0.0.5:99"), "10.0.0.5:99")
}

// What the port of a service speaks is what its object declares, else what istiod makes of that.
func TestProtocols(t *testing.T) {
	w := newLandscape()
	port := func(number uint32, p workloadapi.AppProtocol) *workloadapi.Port {
		return &workloadapi.Port{ServicePort: number, TargetPort: 1000 + number, AppProtocol: p}
	}
	w.put(t, tools(func(m *workloadapi.Service) {
		m.Ports = []*workloadapi.Port{
			port(1, workloadapi.AppProtocol_HTTP11), port(2, workloadapi.AppProtocol_HTTP2), port(3, workloadapi.AppProtocol_GRPC),
			port(4, workloadapi.AppProtocol_TCP), port(5, workloadapi.AppProtocol_TLS), port(6, workloadapi.AppProtocol_UNKNOWN),
			port(7, 99), port(25, workloadapi.AppProtocol_UNKNOWN),
		}
	}))
	is := func(number string, protocol mesh.Protocol, mode mesh.Mode) {
		t.Helper()
		d, err := w.Resolve("10.96.0.10:" + number)
		if err != nil {
			t.Error(err)
		} else if d.Protocol != protocol || d.Mode != mode {
			t.Errorf("port %s: got %s, %s, want %s, %s", number, d.Protocol, d.Mode, protocol, mode)
		}
	}
	is("1", mesh.HTTP, mesh.Auto)
	is("2", mesh.HTTP2, mesh.Auto)
	is("3", mesh.GRPC, mesh.Auto)
	is("4", mesh.TCP, mesh.Auto)
	is("5", mesh.TLS, mesh.Auto)
	is("6", mesh.Unknown, mesh.Auto)
	is("7", mesh.Unknown, mesh.Auto)
	is("25", mesh.TCP, mesh.Auto)

	options, faults := mesh.ReadOptions(map[string]string{mesh.AnnProtocol: "2=a2a", mesh.AnnMaxBody: "77"})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	w.Declare("bank", toolsHost, &mesh.Declared{Options: options, Ports: map[uint16]mesh.Protocol{1: mesh.Unknown, 6: mesh.MCP}})
	is("1", mesh.HTTP, mesh.Auto)
	is("2", mesh.A2A, mesh.Enforce)
	is("6", mesh.MCP, mesh.Enforce)
	d, err := w.Resolve("10.96.0.10:2")
	if err != nil || !d.HTTP2 || d.MaxBody != 77 {
		t.Errorf("got %+v, %v, want HTTP2 and 77 bytes", d, err)
	}
	w.Declare("bank", toolsHost, nil)
	is("6", mesh.Unknown, mesh.Auto)
}

func TestWorkloadAt(t *testing.T) {
	w := newLandscape()
	full := pod("a", "10.0.0.5", func(m *workloadapi.Workload) {
		m.Node, m.ClusterId, m.CanonicalName, m.CanonicalRevision, m.ServiceAccount = "n1", "c1", "app", "v2", ""
	})
	w.put(t, full, pod("h", "10.0.0.6", func(m *workloadapi.Workload) { m.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK }))
	got, ok := w.WorkloadAt(netip.MustParseAddr("::ffff:10.0.0.5"))
	want := wds.Workload{
		Name: "a", Namespace: "bank", ServiceAccount: "default", Cluster: "c1", Node: "n1", CanonicalName: "app", CanonicalRevision: "v2",
	}
	if !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, a := range []string{"10.0.0.6", "10.0.0.7"} {
		if got, ok := w.WorkloadAt(netip.MustParseAddr(a)); ok {
			t.Errorf("%s: got %+v, want nobody", a, got)
		}
	}
	w.put(t, pod("b", "10.0.0.5"))
	if got, _ := w.WorkloadAt(netip.MustParseAddr("10.0.0.5")); got.Name != "b" {
		t.Errorf("after the address has moved: got %+v, want b", got)
	}
	w.put(t, full)
	if got, _ := w.WorkloadAt(netip.MustParseAddr("10.0.0.5")); got.Name != "b" {
		t.Errorf("after word of the one before: got %+v, want b", got)
	}
	w.Apply(false, nil, "Kubernetes//Pod/bank/b")
	if got, _ := w.WorkloadAt(netip.MustParseAddr("10.0.0.5")); got.Name != "a" {
		t.Errorf("after the new one has gone: got %+v, want a", got)
	}
}

// A workload that says that it is at an address of ours is not believed.
func TestWorkloadAtOurAddress(t *testing.T) {
	w := newLandscape()
	w.put(t, pod("a", "127.0.0.1", bound))
	_, err := w.Resolve("127.0.0.1:80")
	if want := "mesh: not attached to this waypoint: 127.0.0.1:80 is not the address of another place"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.SetSelf(wds.Self{Namespace: "bank", Hosts: []string{ownHost}, PodIP: netip.MustParseAddr("127.0.0.9")})
	expect(t, "a mesh on loopback", w.picks("127.0.0.1:80"), "127.0.0.1:80")
}
