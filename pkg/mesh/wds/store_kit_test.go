package wds_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// dice lets a test see every choice that could have been made: each run of a function plays one script of choices.
type dice struct {
	script []uint64
	sizes  []uint64
}

func (d *dice) choose(n uint64) uint64 {
	at := len(d.sizes)
	d.sizes = append(d.sizes, n)
	if at < len(d.script) {
		return d.script[at]
	}
	return 0
}

// each calls f once for every sequence of choices.
func (d *dice) each(f func()) {
	for d.script = nil; ; {
		d.sizes = nil
		f()
		script := make([]uint64, len(d.sizes))
		copy(script, d.script)
		i := len(script) - 1
		for ; i >= 0 && script[i]+1 == d.sizes[i]; i-- {
		}
		if i < 0 {
			d.script = nil
			return
		}
		script[i]++
		d.script = script[:i+1]
	}
}

// landscape is a store under test, whose waypoint is bank/agents at 10.0.0.1 with the VIP 10.96.0.1.
type landscape struct {
	*wds.Store
	dice    dice
	changes int
	gone    []string
}

const ownHost = "agents.bank.svc.cluster.local"

func newLandscape(change ...func(*wds.StoreOptions)) *landscape {
	w := &landscape{}
	o := wds.StoreOptions{
		Self: wds.Self{
			Namespace: "bank", Gateway: "agents", Hosts: []string{ownHost},
			Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, PodIP: netip.MustParseAddr("10.0.0.1"),
		},
		Changed: func() { w.changes++ },
		Gone:    func(a netip.Addr) { w.gone = append(w.gone, a.String()) },
		Choice:  w.dice.choose,
		Log:     slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	w.Store = wds.NewStore(o)
	return w
}

// put applies resources that are all to be accepted.
func (w *landscape) put(t testing.TB, changed ...*workloadapi.Address) {
	t.Helper()
	if bad := w.Apply(false, changed); len(bad) > 0 {
		t.Fatalf("rejected: %v", bad)
	}
}

// picks lists what could be picked at an authority, with how many of the possible choices lead there, or the error.
func (w *landscape) picks(authority string, tried ...string) string {
	d, err := w.Resolve(authority)
	if err != nil {
		return err.Error()
	}
	return w.choices(d, tried...)
}

func (w *landscape) choices(d *mesh.Destination, tried ...string) string {
	var before []netip.AddrPort
	for _, s := range tried {
		before = append(before, netip.MustParseAddrPort(s))
	}
	seen := map[string]int{}
	w.dice.each(func() {
		e, err := d.Pick(before...)
		if err != nil {
			if !errors.Is(err, mesh.ErrNoEndpoint) {
				panic(fmt.Sprintf("the error %v does not wrap ErrNoEndpoint", err))
			}
			seen[err.Error()]++
			return
		}
		seen[show(e)]++
	})
	var lines []string
	for _, s := range slices.Sorted(maps.Keys(seen)) {
		if seen[s] > 1 {
			s = fmt.Sprintf("%d× %s", seen[s], s)
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "; ")
}

// show writes an endpoint in short: the address, ~ its tunnel, = who may answer, or by which gateway.
func show(e mesh.Endpoint) string {
	s := e.Address.String()
	if e.Host != "" {
		s = fmt.Sprintf("%s:%d", e.Host, e.Address.Port())
	}
	if g := e.Gateway; g != nil {
		s = "via " + g.Tunnel.String()
		if g.Host != "" {
			s = fmt.Sprintf("via %s:%d", g.Host, g.Tunnel.Port())
		}
		s += fmt.Sprintf("=%v to %s", g.Identities, g.Authority)
		if e.Address != g.Tunnel {
			s += " at " + e.Address.String()
		}
	}
	if e.Tunnel.IsValid() {
		s += "~" + e.Tunnel.String()
	}
	if len(e.Identities) > 0 {
		s += fmt.Sprintf("=%v", e.Identities)
	}
	return strings.ReplaceAll(s, "spiffe://cluster.local", "")
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

// pod is a workload bank/name in plain text, a member of bank/tools unless changed.
func pod(name, addr string, change ...func(*workloadapi.Workload)) *workloadapi.Address {
	m := &workloadapi.Workload{
		Uid: "Kubernetes//Pod/bank/" + name, Name: name, Namespace: "bank", ServiceAccount: name,
		Services: map[string]*workloadapi.PortList{toolsKey: {}},
	}
	if addr != "" {
		m.Addresses = [][]byte{ip(addr)}
	}
	for _, f := range change {
		f(m)
	}
	return &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: m}}
}

const (
	toolsHost = "tools.bank.svc.cluster.local"
	toolsKey  = "bank/" + toolsHost
)

// tools is the service bank/tools at 10.96.0.10, port 80 to 8080, attached to bank/agents by its hostname.
func tools(change ...func(*workloadapi.Service)) *workloadapi.Address {
	m := &workloadapi.Service{
		Name: "tools", Namespace: "bank", Hostname: toolsHost,
		Addresses: []*workloadapi.NetworkAddress{{Address: ip("10.96.0.10")}},
		Ports:     []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}},
		Waypoint:  byHost("bank", ownHost),
	}
	for _, f := range change {
		f(m)
	}
	return &workloadapi.Address{Type: &workloadapi.Address_Service{Service: m}}
}

func byHost(namespace, host string) *workloadapi.GatewayAddress {
	return &workloadapi.GatewayAddress{
		Destination:   &workloadapi.GatewayAddress_Hostname{Hostname: &workloadapi.NamespacedHostname{Namespace: namespace, Hostname: host}},
		HboneMtlsPort: 15008,
	}
}

func byAddress(network, addr string) *workloadapi.GatewayAddress {
	return &workloadapi.GatewayAddress{
		Destination:   &workloadapi.GatewayAddress_Address{Address: &workloadapi.NetworkAddress{Network: network, Address: ip(addr)}},
		HboneMtlsPort: 15008,
	}
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func tunnelled(m *workloadapi.Workload) { m.TunnelProtocol = workloadapi.TunnelProtocol_HBONE }
func ill(m *workloadapi.Workload)       { m.Status = workloadapi.WorkloadStatus_UNHEALTHY }
func detached(m *workloadapi.Service)   { m.Waypoint = nil }
func bound(m *workloadapi.Workload)     { m.Waypoint = byHost("bank", ownHost) }

func domain(name string) func() identity.TrustDomain {
	td, _ := identity.ParseTrustDomain(name)
	return func() identity.TrustDomain { return td }
}

func join(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), " ") }

// declaring is what a Service object with these annotations declares.
func declaring(t testing.TB, annotations map[string]string) *mesh.Declared {
	t.Helper()
	options, faults := mesh.ReadOptions(annotations)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return &mesh.Declared{Object: mesh.Ref{Kind: "Service", Namespace: "bank", Name: "tools"}, Options: options}
}
