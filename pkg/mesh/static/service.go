package static

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// port is one port of a service, checked.
type port struct {
	number, target uint16
	name           string
	protocol       mesh.Protocol
}

// service is a ServiceEntry, checked.
type service struct {
	object  Ref
	hosts   []string
	vips    []netip.Addr
	ports   []port
	sans    []identity.ID
	options mesh.Options
}

func (b *builder) readService(o *Service) *service {
	r := b.report(Ref{Kind: KindServiceEntry, Namespace: o.Namespace, Name: o.Name})
	s := &service{
		object:  r.object,
		hosts:   readHosts(r, o.Spec.Hosts),
		vips:    readVIPs(r, o.Spec.Addresses),
		ports:   readPorts(r, o.Spec.Ports),
		sans:    readSANs(r, o.Spec.SubjectAltNames),
		options: r.options(o.Annotations),
	}
	s.checkAnnotatedPorts(r)
	checkScope(r, o.Spec)
	return s
}

func readHosts(r report, hosts []string) []string {
	if len(hosts) == 0 {
		r.add("spec.hosts", "a service needs a host")
	}
	for i, h := range hosts {
		field := fmt.Sprintf("spec.hosts[%d]", i)
		switch {
		case strings.Contains(h, "*"):
			r.add(field, "%q: wildcard hosts are not supported: a waypoint could not tell where to go", h)
		case !mesh.ValidHost(h):
			r.add(field, "%q is not a DNS name in lower case", h)
		case slices.Contains(hosts[:i], h):
			r.add(field, "%q is listed twice", h)
		}
	}
	return hosts
}

func readVIPs(r report, addresses []string) []netip.Addr {
	var vips []netip.Addr
	for i, s := range addresses {
		a, text := unicast(s)
		if text == "" && slices.Contains(vips, a) {
			text = "is listed twice"
		}
		if text != "" {
			r.add(fmt.Sprintf("spec.addresses[%d]", i), "%q %s", s, text)
			continue
		}
		vips = append(vips, a)
	}
	return vips
}

func readPorts(r report, specs []*networking.ServicePort) []port {
	if len(specs) == 0 {
		r.add("spec.ports", "a service needs a port")
	}
	var ports []port
	for i, spec := range specs {
		field := fmt.Sprintf("spec.ports[%d]", i)
		p := readPort(r, field, spec)
		if slices.ContainsFunc(ports, func(q port) bool { return q.number == p.number }) {
			r.add(field+".number", "port %d is listed twice", p.number)
		}
		if slices.ContainsFunc(ports, func(q port) bool { return q.name == p.name }) {
			r.add(field+".name", "the name %q is used twice", p.name)
		}
		ports = append(ports, p)
	}
	return ports
}

func readPort(r report, field string, spec *networking.ServicePort) port {
	p := port{name: spec.Name, number: readNumber(r, field+".number", spec.Number)}
	if !mesh.ValidLabel(p.name) {
		r.add(field+".name", "%q is not a name of a-z, 0-9 and -", p.name)
	}
	p.target = p.number
	if spec.TargetPort != 0 {
		p.target = readTarget(r, field+".targetPort", spec.TargetPort)
	} else if p.number != 0 && mesh.Own(p.number) {
		r.add(field+".number", "port %d belongs to the mesh itself on every workload: give a targetPort", p.number)
	}
	p.protocol = readProtocol(r, field+".protocol", spec)
	return p
}

// readProtocol prefers the protocol field over the prefix of the name, except that a name can say which agent protocol an
// HTTP port carries: Istio's own field has no word for those.
func readProtocol(r report, field string, spec *networking.ServicePort) mesh.Protocol {
	byName := mesh.ProtocolOfName(spec.Name)
	p, ok := mesh.ParseProtocol(spec.Protocol)
	switch {
	case mesh.ProtocolOf(spec.Protocol).Agent():
		r.add(field, "%q: Istio refuses this value; write HTTP here and the annotation %s: %s",
			spec.Protocol, mesh.AnnProtocol, mesh.ProtocolOf(spec.Protocol))
	case strings.EqualFold(spec.Protocol, "udp"):
		r.add(field, "%q: no tunnel exists for UDP", spec.Protocol)
	case !ok:
		r.add(field, "%q is not one of HTTP, HTTP2, GRPC, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL", spec.Protocol)
	case p == mesh.Unknown, p == mesh.HTTP && byName.Agent():
		return byName
	}
	return p
}

func readSANs(r report, names []string) []identity.ID {
	var ids []identity.ID
	for i, s := range names {
		id, err := identity.ParseID(s)
		if err != nil {
			r.add(fmt.Sprintf("spec.subjectAltNames[%d]", i), "only SPIFFE identities can be verified in a tunnel: %v", err)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *service) checkAnnotatedPorts(r report) {
	numbers := make([]uint16, len(s.ports))
	for i, p := range s.ports {
		numbers[i] = p.number
	}
	for _, f := range s.options.CheckPorts(numbers) {
		r.add(f.Field, "%s", f.Text)
	}
}

// checkScope reports what of a ServiceEntry would have to be ignored.
func checkScope(r report, spec *networking.ServiceEntry) {
	if spec.Resolution != networking.ServiceEntry_STATIC {
		r.add("spec.resolution", "%s is not supported: endpoints have to be given, with resolution STATIC", spec.Resolution)
	}
	if len(spec.ExportTo) > 1 || len(spec.ExportTo) == 1 && spec.ExportTo[0] != "*" {
		r.add("spec.exportTo", "a waypoint serves every namespace: only \"*\" is supported")
	}
	switch selected := spec.WorkloadSelector != nil; {
	case selected && len(spec.Endpoints) > 0:
		r.add("spec.workloadSelector", "not together with endpoints")
	case selected && len(spec.WorkloadSelector.Labels) == 0:
		r.add("spec.workloadSelector", "selects by no label: it would select every workload")
	case selected && spec.Location == networking.ServiceEntry_MESH_EXTERNAL:
		r.add("spec.workloadSelector", "applies to services inside the mesh only (location MESH_INTERNAL)")
	case !selected && len(spec.Endpoints) == 0:
		r.add("spec.endpoints", "a service needs endpoints or a workloadSelector")
	}
}

func readNumber(r report, field string, n uint32) uint16 {
	if n == 0 || n > 65535 {
		r.add(field, "%d is not a port from 1 to 65535", n)
		return 0
	}
	return uint16(n)
}

// readTarget reads a port on a workload.
func readTarget(r report, field string, n uint32) uint16 {
	p := readNumber(r, field, n)
	if p != 0 && mesh.Own(p) {
		r.add(field, "port %d belongs to the mesh itself on every workload", p)
	}
	return p
}

// unicast parses an address that can be dialled and says what is wrong with it otherwise.
func unicast(s string) (netip.Addr, string) {
	a, ok := mesh.ParseAddr(s)
	switch {
	case strings.HasPrefix(s, "unix:"):
		return a, "is a Unix socket: only IP addresses are supported"
	case strings.Contains(s, "/"):
		return a, "is a range: only single addresses are supported"
	case !ok:
		return a, "is not an IP address in its canonical spelling"
	case a.IsUnspecified() || a.IsMulticast():
		return a, "is not the address of one place"
	}
	return a, ""
}
