package wds

import (
	"errors"
	"fmt"
	"net/netip"
	"unique"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// definition is a service as istiod describes it, reduced to what a waypoint uses. It does not change.
type definition struct {
	host      mesh.Host
	name      string // of the object behind it
	vips      []vip
	ports     []port
	sans      []identity.ID // who else may answer at an endpoint
	waypoints []gateway     // all of them, whatever share of the traffic each is given
	prefer    preference
	unhealthy bool // endpoints that are not healthy are endpoints
	direct    bool // no endpoints: what was asked for is dialled
	families  families
	canonical bool
}

// vip is an address of a service, or a range of them.
type vip struct {
	network text
	prefix  netip.Prefix
}

// port is one port of a service. target is 0 where only the workloads know.
type port struct {
	number, target uint16
	protocol       mesh.Protocol
}

func (d *definition) port(number uint16) *port {
	for i := range d.ports {
		if d.ports[i].number == number {
			return &d.ports[i]
		}
	}
	return nil
}

// families are the address families that a service is offered in; zero: whichever its endpoints have.
type families uint8

const (
	onlyIPv4 families = iota + 1
	onlyIPv6
)

func (f families) accept(a netip.Addr) bool {
	switch f {
	case onlyIPv4:
		return a.Is4()
	case onlyIPv6:
		return a.Is6()
	}
	return true
}

// readService takes a message apart. It keeps nothing of it.
func readService(name string, m *workloadapi.Service) (*definition, error) {
	host, ok := hostOf(m.GetNamespace() + "/" + m.GetHostname())
	if !ok || m.GetNamespace() == "" {
		return nil, fmt.Errorf("the namespace %q and hostname %q name no service", m.GetNamespace(), m.GetHostname())
	}
	if known, _ := hostOf(name); known != host {
		return nil, fmt.Errorf("the service says that it is \"%s/%s\"", m.GetNamespace(), m.GetHostname())
	}
	d := &definition{
		host: share(host), name: m.GetName(), canonical: m.GetCanonical(),
		prefer:    readPreference(m.GetLoadBalancing()),
		unhealthy: m.GetLoadBalancing().GetHealthPolicy() == workloadapi.LoadBalancing_ALLOW_ALL,
		direct:    m.GetLoadBalancing().GetMode() == workloadapi.LoadBalancing_PASSTHROUGH,
	}
	switch m.GetIpFamilies() {
	case workloadapi.IPFamilies_IPV4_ONLY:
		d.families = onlyIPv4
	case workloadapi.IPFamilies_IPV6_ONLY:
		d.families = onlyIPv6
	}
	for _, a := range m.GetAddresses() {
		v, err := readVIP(a)
		if err != nil {
			return nil, err
		}
		d.vips = append(d.vips, v)
	}
	for _, p := range m.GetPorts() {
		pair, err := readPorts(p)
		if err != nil {
			return nil, err
		}
		d.ports = append(d.ports, port{pair.service, pair.target, readProtocol(p.GetAppProtocol())})
	}
	for _, s := range m.GetSubjectAltNames() {
		if id, err := identity.ParseID(s); err == nil { // the others are for TLS inside the tunnel
			d.sans = append(d.sans, id)
		}
	}
	return d, d.readWaypoints(m)
}

func (d *definition) readWaypoints(m *workloadapi.Service) error {
	all := []*workloadapi.GatewayAddress{m.GetWaypoint()}
	for _, w := range m.GetWeightedWaypoints() {
		all = append(all, w.GetDestination())
	}
	for _, a := range all {
		switch g, err := readGateway(a); {
		case err != nil:
			return fmt.Errorf("waypoint: %w", err)
		case !g.none():
			d.waypoints = append(d.waypoints, g)
		}
	}
	return nil
}

func readVIP(m *workloadapi.NetworkAddress) (vip, error) {
	a, err := readAddr(m.GetAddress())
	if err != nil {
		return vip{}, err
	}
	bits := a.BitLen()
	if m.Length != nil {
		bits = int(min(m.GetLength(), 1<<10))
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return vip{}, fmt.Errorf("%s/%d is no range of addresses", a, m.GetLength())
	}
	return vip{unique.Make(m.GetNetwork()), p}, nil
}

// readProtocol reads what istiod makes of appProtocol and the name of the port. What it does not know is sniffed.
func readProtocol(p workloadapi.AppProtocol) mesh.Protocol {
	switch p {
	case workloadapi.AppProtocol_HTTP11:
		return mesh.HTTP
	case workloadapi.AppProtocol_HTTP2:
		return mesh.HTTP2
	case workloadapi.AppProtocol_GRPC:
		return mesh.GRPC
	case workloadapi.AppProtocol_TCP:
		return mesh.TCP
	case workloadapi.AppProtocol_TLS:
		return mesh.TLS
	}
	return mesh.Unknown
}

// reading is a resource, taken apart: one of both.
type reading struct {
	workload *workload
	service  *definition
}

// read takes resources apart, without a lock, and says which cannot be used.
func (s *Store) read(part []resource) (good []reading, bad []rejected) {
	for _, r := range part {
		one, err := s.readOne(r)
		if err != nil {
			bad = append(bad, rejected{r.name, err})
			continue
		}
		good = append(good, one)
	}
	return good, bad
}

func (s *Store) readOne(r resource) (one reading, err error) {
	var m workloadapi.Address
	if err := r.body.UnmarshalTo(&m); err != nil {
		return one, err
	}
	switch m := m.GetType().(type) {
	case *workloadapi.Address_Workload:
		one.workload, err = s.readWorkload(r.name, m.Workload)
	case *workloadapi.Address_Service:
		one.service, err = readService(r.name, m.Service)
	default:
		err = errors.New("it is neither a workload nor a service")
	}
	return one, err
}
