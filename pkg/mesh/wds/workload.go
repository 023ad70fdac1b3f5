package wds

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unique"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// What istiod leaves out (contract ambient, section 2.5).
const (
	defaultAccount     = "default"
	defaultTrustDomain = "cluster.local"
)

// tunnel says how a workload is reached.
type tunnel uint8

const (
	plain   tunnel = iota // in the clear; also where only a sidecar's own mTLS is spoken, which a waypoint does not
	hbone                 // in a tunnel
	strange               // in a way that this version does not know: not at all
)

// place is where a workload runs.
type place struct{ region, zone, subzone, node, cluster, network text }

// workload is one endpoint as istiod describes it, reduced to what a waypoint uses. It does not change, apart from the
// fields at its end.
type workload struct {
	uid       string
	full      string // namespace/name
	name      string
	namespace text
	account   text
	canonical text
	revision  text
	place     place
	addrs     []netip.Addr
	host      string // to be resolved by whoever connects; "" if there is none
	id        unique.Handle[identity.ID]
	tunnel    tunnel
	healthy   bool
	hostNet   bool // it shares its address with others
	capacity  uint32
	waypoint  gateway
	gateway   gateway // of its network
	links     []link

	attached bool
	sequence uint64 // when it came to have its addresses
}

// link is the membership of a workload in a service.
type link struct {
	host  mesh.Host
	ports []portPair // where it differs from the service
}

type portPair struct{ service, target uint16 }

// target returns where the workload serves a port of the service; 0 if it does not say.
func (l *link) target(port uint16) uint16 {
	for _, p := range l.ports {
		if p.service == port {
			return p.target
		}
	}
	return 0
}

// member returns its membership of a service.
func (w *workload) member(host mesh.Host) *link {
	for i := range w.links {
		if w.links[i].host == host {
			return &w.links[i]
		}
	}
	return nil
}

// readWorkload takes a message apart. It keeps nothing of it.
func (s *Store) readWorkload(name string, m *workloadapi.Workload) (*workload, error) {
	if m.GetUid() != name {
		return nil, fmt.Errorf("the workload says that it is %q", m.GetUid())
	}
	w := &workload{
		uid: name, host: strings.ToLower(m.GetHostname()),
		namespace: unique.Make(m.GetNamespace()), account: unique.Make(orElse(m.GetServiceAccount(), defaultAccount)),
		canonical: unique.Make(m.GetCanonicalName()), revision: unique.Make(m.GetCanonicalRevision()),
		healthy:  m.GetStatus() == workloadapi.WorkloadStatus_HEALTHY,
		hostNet:  m.GetNetworkMode() != workloadapi.NetworkMode_STANDARD,
		capacity: 1,
		tunnel:   readTunnel(m.GetTunnelProtocol()),
		place: place{
			region: unique.Make(m.GetLocality().GetRegion()), zone: unique.Make(m.GetLocality().GetZone()),
			subzone: unique.Make(m.GetLocality().GetSubzone()), node: unique.Make(m.GetNode()),
			cluster: unique.Make(m.GetClusterId()), network: unique.Make(m.GetNetwork()),
		},
	}
	w.full = within(name, m.GetNamespace()+"/"+m.GetName())
	w.name = w.full[len(m.GetNamespace())+1:]
	if m.GetCapacity() != nil {
		w.capacity = m.GetCapacity().GetValue()
	}
	for _, b := range m.GetAddresses() {
		a, err := readAddr(b)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(w.addrs, a) {
			w.addrs = append(w.addrs, a)
		}
	}
	id, err := s.identify(m.GetTrustDomain(), m.GetNamespace(), w.account.Value())
	if err != nil && w.tunnel == hbone {
		return nil, err // of the others no identity is asked
	}
	w.id = unique.Make(id)
	if w.waypoint, err = readGateway(m.GetWaypoint()); err != nil {
		return nil, fmt.Errorf("waypoint: %w", err)
	}
	if w.gateway, err = readGateway(m.GetNetworkGateway()); err != nil {
		return nil, fmt.Errorf("network gateway: %w", err)
	}
	w.links, err = readLinks(m.GetServices())
	return w, err
}

func (s *Store) identify(domain, namespace, account string) (identity.ID, error) {
	td := identity.RequireTrustDomain(defaultTrustDomain)
	if domain != "" {
		var err error
		if td, err = identity.ParseTrustDomain(domain); err != nil {
			return identity.ID{}, err
		}
	} else if s.opt.TrustDomain != nil {
		if own := s.opt.TrustDomain(); !own.IsZero() {
			td = own
		}
	}
	return identity.ForServiceAccount(td, namespace, account)
}

// readTunnel makes a workload that can be reached in an unknown way only one that cannot be reached: it may well rely on
// nothing arriving in the clear.
func readTunnel(p workloadapi.TunnelProtocol) tunnel {
	switch p {
	case workloadapi.TunnelProtocol_NONE, workloadapi.TunnelProtocol_LEGACY_ISTIO_MTLS:
		return plain
	case workloadapi.TunnelProtocol_HBONE:
		return hbone
	}
	return strange
}

func readLinks(services map[string]*workloadapi.PortList) ([]link, error) {
	if len(services) == 0 {
		return nil, nil
	}
	links := make([]link, 0, len(services))
	for name, list := range services {
		host, ok := hostOf(name)
		if !ok {
			return nil, fmt.Errorf("its service %q is not namespace/hostname", name)
		}
		l := link{host: share(host)}
		for _, p := range list.GetPorts() {
			pair, err := readPorts(p)
			if err != nil {
				return nil, fmt.Errorf("its service %q: %w", name, err)
			}
			if pair.target != 0 { // otherwise it says nothing that the service does not
				l.ports = append(l.ports, pair)
			}
		}
		links = append(links, l)
	}
	return links, nil
}

func readPorts(p *workloadapi.Port) (portPair, error) {
	if n := p.GetServicePort(); n == 0 || n > 65535 {
		return portPair{}, fmt.Errorf("%d is not a port from 1 to 65535", n)
	}
	if n := p.GetTargetPort(); n > 65535 {
		return portPair{}, fmt.Errorf("port %d: its target %d is not a port from 1 to 65535", p.GetServicePort(), n)
	}
	return portPair{uint16(p.GetServicePort()), uint16(p.GetTargetPort())}, nil
}

func readAddr(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return a, fmt.Errorf("an address of %d bytes is none", len(b))
	}
	return a.Unmap(), nil
}

// hostOf reads the name of a service, namespace/hostname.
func hostOf(name string) (mesh.Host, bool) {
	namespace, hostname, ok := strings.Cut(name, "/")
	return mesh.Host{Namespace: namespace, Hostname: strings.ToLower(hostname)}, ok && hostname != "" && !strings.Contains(hostname, "/")
}

// share returns the host in strings of which there is one copy.
func share(h mesh.Host) mesh.Host { return unique.Make(h).Value() }

// within returns part as a piece of whole if it is one, so that it takes no memory of its own.
func within(whole, part string) string {
	if i := strings.LastIndex(whole, part); i >= 0 {
		return whole[i : i+len(part)]
	}
	return part
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// gateway is the address of a waypoint or of another network's gateway; zero is none. Of host and address one is set.
type gateway struct{ unique.Handle[gatewayAddress] }

type gatewayAddress struct {
	host mesh.Host
	at   netAddr
	port uint16
}

func (g gateway) none() bool { return g == gateway{} }

// readGateway reads an address. One in a form that this version does not know is one that names nobody.
func readGateway(m *workloadapi.GatewayAddress) (gateway, error) {
	if m == nil {
		return gateway{}, nil
	}
	if m.GetHboneMtlsPort() > 65535 {
		return gateway{}, fmt.Errorf("%d is not a port from 1 to 65535", m.GetHboneMtlsPort())
	}
	g := gatewayAddress{port: uint16(m.GetHboneMtlsPort())}
	if g.port == 0 {
		g.port = mesh.DefaultHBONEPort
	}
	switch d := m.GetDestination().(type) {
	case *workloadapi.GatewayAddress_Hostname:
		g.host = mesh.Host{Namespace: d.Hostname.GetNamespace(), Hostname: strings.ToLower(d.Hostname.GetHostname())}
		if g.host.Hostname == "" {
			return gateway{}, errors.New("its hostname is empty")
		}
	case *workloadapi.GatewayAddress_Address:
		a, err := readAddr(d.Address.GetAddress())
		if err != nil {
			return gateway{}, err
		}
		g.at = netAddr{unique.Make(d.Address.GetNetwork()), a}
	}
	return gateway{unique.Make(g)}, nil
}
