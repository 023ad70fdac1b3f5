package wds_test

import (
	"testing"

	"istio.io/istio/pkg/workloadapi"
)

func onNetwork(name string) func(*workloadapi.Workload) {
	return func(m *workloadapi.Workload) { m.Network = name }
}

func behind(g *workloadapi.GatewayAddress) func(*workloadapi.Workload) {
	return func(m *workloadapi.Workload) { m.NetworkGateway = g }
}

func member(services ...string) func(*workloadapi.Workload) {
	return func(m *workloadapi.Workload) {
		m.Services = map[string]*workloadapi.PortList{}
		for _, s := range services {
			m.Services[s] = &workloadapi.PortList{}
		}
	}
}

// An endpoint on another network is reached through that network's gateway, or it is none.
func TestGateways(t *testing.T) {
	far := onNetwork("far")
	const (
		nobody = "mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: 0 usable, 0 tried already"
		closed = "mesh: no endpoint of bank/tools.bank.svc.cluster.local port 80: 1 usable, 0 tried already"
		to     = " to tools.bank.svc.cluster.local:80"
	)
	address := behind(byAddress("far", "20.0.0.9"))
	gate := func(name, addr string, change ...func(*workloadapi.Workload)) *workloadapi.Address {
		return pod(name, addr, append([]func(*workloadapi.Workload){far, member()}, change...)...)
	}
	// As istiod sums up the workloads of a service on another network: no address, and ports as the service has them.
	summary := pod("sum", "", far, tunnelled, address, func(m *workloadapi.Workload) {
		m.Uid, m.ServiceAccount = "far/SplitHorizonWorkload/x", ""
		m.Services[toolsKey] = &workloadapi.PortList{Ports: []*workloadapi.Port{{ServicePort: 80}}}
	})
	eastwest := func(change ...func(*workloadapi.Service)) *workloadapi.Address {
		return tools(append([]func(*workloadapi.Service){detached, func(m *workloadapi.Service) {
			m.Name, m.Hostname = "eastwest", "eastwest.example"
			m.Addresses = []*workloadapi.NetworkAddress{{Network: "far", Address: ip("20.0.0.9")}}
			m.Ports = []*workloadapi.Port{{ServicePort: 15008, TargetPort: 25008}}
		}}, change...)...)
	}
	ew := member("bank/eastwest.example")
	for name, tt := range map[string]struct {
		resources []*workloadapi.Address
		want      string
	}{
		"no gateway":            {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled)}, nobody},
		"by address":            {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, address), gate("gw", "20.0.0.9")}, "via 20.0.0.9:15008=[/ns/bank/sa/gw]" + to + "=[/ns/bank/sa/a]"},
		"nobody at the address": {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, address)}, closed},
		"on our own network":    {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(byAddress("", "20.0.0.9"))), pod("gw", "20.0.0.9", member())}, nobody},
		"without a tunnel":      {[]*workloadapi.Address{pod("a", "10.0.0.2", far, address), gate("gw", "20.0.0.9")}, nobody},
		"ours has one too":      {[]*workloadapi.Address{pod("a", "10.0.0.2", tunnelled, address), gate("gw", "20.0.0.9")}, "10.0.0.2:8080~10.0.0.2:15008=[/ns/bank/sa/a]"},
		"ours without address":  {[]*workloadapi.Address{pod("a", "", tunnelled, address), gate("gw", "20.0.0.9")}, nobody},
		"summed up":             {[]*workloadapi.Address{summary, gate("gw", "20.0.0.9")}, "via 20.0.0.9:15008=[/ns/bank/sa/gw]" + to + "=[/ns/bank/sa/default]"},
		"named target": {[]*workloadapi.Address{summary, gate("gw", "20.0.0.9"), tools(func(m *workloadapi.Service) { m.Ports[0].TargetPort = 0 })},
			"via 20.0.0.9:15008=[/ns/bank/sa/gw]" + to + "=[/ns/bank/sa/default]"},
		"identities of the service": {[]*workloadapi.Address{summary, gate("gw", "20.0.0.9"), tools(func(m *workloadapi.Service) {
			m.SubjectAltNames = []string{"spiffe://cluster.local/ns/x/sa/y"}
		})}, "via 20.0.0.9:15008=[/ns/bank/sa/gw]" + to + "=[/ns/x/sa/y]"},
		"gateway's address is a service's": {[]*workloadapi.Address{summary, eastwest(), gate("gw1", "30.0.0.1", ew), gate("gw2", "30.0.0.2", ew, weighing(2)), gate("gw3", "30.0.0.3", ew, ill)},
			"via 30.0.0.1:25008=[/ns/bank/sa/gw1]" + to + "=[/ns/bank/sa/default]; 2× via 30.0.0.2:25008=[/ns/bank/sa/gw2]" + to + "=[/ns/bank/sa/default]"},
		"by hostname of a service": {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(byHost("bank", "eastwest.example"))), eastwest(), gate("gw1", "30.0.0.1", ew)},
			"via 30.0.0.1:25008=[/ns/bank/sa/gw1]" + to + "=[/ns/bank/sa/a]"},
		"the service has one on our network": {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(byHost("bank", "eastwest.example"))), eastwest(), pod("gw1", "30.0.0.1", ew)}, closed},
		"the service has no such port":       {[]*workloadapi.Address{summary, eastwest(func(m *workloadapi.Service) { m.Ports[0].ServicePort = 443 }), gate("gw1", "30.0.0.1", ew)}, closed},
		"by hostname of a workload": {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(byHost("bank", "lb.example"))),
			gate("gw", "", func(m *workloadapi.Workload) { m.Hostname = "lb.example" })}, "via lb.example:15008=[/ns/bank/sa/gw]" + to + "=[/ns/bank/sa/a]"},
		"hostname of nobody": {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(byHost("bank", "lb.example")))}, closed},
		"unknown kind":       {[]*workloadapi.Address{pod("a", "10.0.0.2", far, tunnelled, behind(&workloadapi.GatewayAddress{}))}, nobody},
		"both networks":      {[]*workloadapi.Address{summary, gate("gw", "20.0.0.9"), pod("b", "10.0.0.3")}, "10.0.0.3:8080; via 20.0.0.9:15008=[/ns/bank/sa/gw]" + to + "=[/ns/bank/sa/default]"},
		// What cannot be reached is left out, and its share goes to the rest.
		"the other one is closed": {[]*workloadapi.Address{summary, pod("b", "10.0.0.3")}, "2× 10.0.0.3:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLandscape()
			w.put(t, tools())
			w.picks("10.96.0.10:80") // so that there is an index before there is anything in it
			w.put(t, tt.resources...)
			expect(t, "picks", w.picks("10.96.0.10:80"), tt.want)
		})
	}
}

func TestGatewayAgain(t *testing.T) {
	w := newLandscape()
	far := onNetwork("far")
	w.put(t, tools(), pod("a", "10.0.0.2", far, tunnelled, behind(byHost("bank", "eastwest.example"))), pod("b", "10.0.0.3"),
		tools(detached, func(m *workloadapi.Service) {
			m.Hostname, m.Addresses, m.Ports = "eastwest.example", nil, []*workloadapi.Port{{ServicePort: 15008, TargetPort: 15008}}
		}))
	ew := member("bank/eastwest.example")
	w.put(t, pod("gw1", "30.0.0.1", far, ew), pod("gw2", "30.0.0.2", far, ew))
	rest := " to tools.bank.svc.cluster.local:80=[/ns/bank/sa/a]"
	expect(t, "one gateway was tried", w.picks("10.96.0.10:80", "30.0.0.1:15008"), "10.0.0.3:8080; via 30.0.0.2:15008=[/ns/bank/sa/gw2]"+rest)
	expect(t, "and ours", w.picks("10.96.0.10:80", "30.0.0.1:15008", "10.0.0.3:8080"), "via 30.0.0.2:15008=[/ns/bank/sa/gw2]"+rest)
	expect(t, "and the other", w.picks("10.96.0.10:80", "30.0.0.1:15008", "30.0.0.2:15008"), "10.0.0.3:8080")
	w.put(t, pod("agents", "10.0.0.1", far))
	expect(t, "it is our network after all", w.picks("10.96.0.10:80"), "mesh: not attached to this waypoint: 10.96.0.10:80")
}
