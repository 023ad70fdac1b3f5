package static_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	networking "istio.io/api/networking/v1alpha3"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// bank is a mesh with one of everything: a service by selector, one with endpoints of its own outside the mesh, and a
// workload that is addressed directly.
func bank() *static.Objects {
	return &static.Objects{
		Gateway:     static.Gateway{Namespace: "bank", Name: "agents", Services: true, Workloads: true},
		TrustDomain: identity.RequireTrustDomain("corp.example"),
		Choice:      func(uint64) uint64 { return 0 },
		Services: []static.Service{
			{
				Namespace: "bank", Name: "company-mcp", Labels: map[string]string{"istio.io/use-waypoint": "agents"},
				Annotations: map[string]string{"waymark.dev/protocol": "3000=mcp", "waymark.dev/refusals": "explained"},
				Spec: &networking.ServiceEntry{
					Hosts: []string{"company-mcp.bank.svc.cluster.local", "mcp.example"}, Addresses: []string{"10.96.0.10", "fd00::10"},
					Location: networking.ServiceEntry_MESH_INTERNAL, Resolution: networking.ServiceEntry_STATIC,
					Ports:            []*networking.ServicePort{{Number: 3000, Name: "mcp", Protocol: "HTTP"}, {Number: 3306, Name: "db", TargetPort: 13306}},
					WorkloadSelector: &networking.WorkloadSelector{Labels: map[string]string{"app": "company-mcp"}},
					SubjectAltNames:  []string{"spiffe://corp.example/alias"},
				},
			},
			{
				Namespace: "bank", Name: "rates", Labels: map[string]string{"istio.io/use-waypoint": "agents"},
				Annotations: map[string]string{"waymark.dev/mode": "observe", "waymark.dev/max-body-bytes": "1024"},
				Spec: &networking.ServiceEntry{
					Hosts: []string{"rates.example"}, Location: networking.ServiceEntry_MESH_EXTERNAL, Resolution: networking.ServiceEntry_STATIC,
					Ports: []*networking.ServicePort{{Number: 443, Name: "tls", Protocol: "TLS"}, {Number: 80, Name: "any"}},
					Endpoints: []*networking.WorkloadEntry{
						{Address: "192.0.2.1", Weight: 5, Ports: map[string]uint32{"any": 8080}}, {Address: "192.0.2.2", Locality: "eu/west"},
					},
				},
			},
			{
				Namespace: "bank", Name: "aloof", Labels: map[string]string{"istio.io/use-waypoint": "none"},
				Spec: &networking.ServiceEntry{
					Hosts: []string{"rates.example"}, Addresses: []string{"10.96.0.10"}, Resolution: networking.ServiceEntry_STATIC,
					Ports:     []*networking.ServicePort{{Number: 3000, Name: "http"}},
					Endpoints: []*networking.WorkloadEntry{{Address: "192.0.2.9"}},
				},
			},
		},
		Workloads: []static.Workload{
			{
				Namespace: "bank", Name: "company-mcp-0",
				Labels: map[string]string{"app": "company-mcp", "networking.istio.io/tunnel": "http"},
				Spec:   &networking.WorkloadEntry{Address: "10.244.1.10", ServiceAccount: "company-mcp", Ports: map[string]uint32{"mcp": 8000, "other": 1}},
			},
			{
				Namespace: "bank", Name: "batch", Labels: map[string]string{"istio.io/use-waypoint": "agents"},
				Annotations: map[string]string{"waymark.dev/hbone-port": "20008", "waymark.dev/protocol": "9000=mcp"},
				Spec:        &networking.WorkloadEntry{Address: "10.244.1.11", Labels: map[string]string{"networking.istio.io/tunnel": "http"}},
			},
			{Namespace: "other", Name: "lookalike", Labels: map[string]string{"app": "company-mcp"}, Spec: &networking.WorkloadEntry{Address: "10.244.9.9"}},
		},
	}
}

func build(t *testing.T, o *static.Objects) *static.View {
	t.Helper()
	v, problems := static.New(*o)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return v
}

func TestResolve(t *testing.T) {
	v := build(t, bank())
	mcp := call.Service{Namespace: "bank", Name: "company-mcp", Hostname: "company-mcp.bank.svc.cluster.local", Port: 3000}
	db, alias := mcp, mcp
	db.Port = 3306
	alias.Name, alias.Hostname = "mcp", "mcp.example"
	for _, tt := range []struct {
		authority string
		want      mesh.Destination // without endpoints
		endpoint  string
		err       error
	}{
		{authority: "10.96.0.10:3000", want: dest(mcp, mesh.MCP, mesh.Enforce, "explained"), endpoint: "10.244.1.10:8000 via 10.244.1.10:15008"},
		{authority: "[fd00::10]:3000", want: dest(mcp, mesh.MCP, mesh.Enforce, "explained"), endpoint: "10.244.1.10:8000 via 10.244.1.10:15008"},
		{authority: "company-mcp.bank.svc.cluster.local:3000", want: dest(mcp, mesh.MCP, mesh.Enforce, "explained"), endpoint: "10.244.1.10:8000 via 10.244.1.10:15008"},
		{authority: "MCP.example:3000", want: dest(alias, mesh.MCP, mesh.Enforce, "explained"), endpoint: "10.244.1.10:8000 via 10.244.1.10:15008"},
		{authority: "10.96.0.10:3306", want: dest(db, mesh.TCP, mesh.Auto, "explained"), endpoint: "10.244.1.10:13306 via 10.244.1.10:15008"},
		{authority: "10.96.0.10:80", err: mesh.ErrUnknownPort},
		{authority: "10.96.0.11:3000", err: mesh.ErrNotAttached},
		{authority: "company-mcp:3000", err: mesh.ErrNotAttached}, // no search domains
		{authority: "company-mcp.bank.svc.cluster.local", err: mesh.ErrAuthority},
		{authority: "10.244.1.10:3000", err: mesh.ErrNotAttached}, // a workload without the label
		{authority: "10.244.1.11:9000", want: dest(call.Service{Namespace: "bank", Name: "batch", Port: 9000}, mesh.MCP, mesh.Enforce, "masked"), endpoint: "10.244.1.11:9000 via 10.244.1.11:20008"},
		{authority: "10.244.1.11:53", want: dest(call.Service{Namespace: "bank", Name: "batch", Port: 53}, mesh.TCP, mesh.Auto, "masked"), endpoint: "10.244.1.11:53 via 10.244.1.11:20008"},
		{authority: "10.244.1.11:8080", want: dest(call.Service{Namespace: "bank", Name: "batch", Port: 8080}, mesh.Unknown, mesh.Auto, "masked"), endpoint: "10.244.1.11:8080 via 10.244.1.11:20008"},
		{authority: "10.244.1.11:15008", err: mesh.ErrOwnPort},
		{authority: "10.244.1.11:15000", err: mesh.ErrOwnPort},
		{authority: "10.244.1.11:20008", err: mesh.ErrOwnPort},
	} {
		got, err := v.Resolve(tt.authority)
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("Resolve(%q): error %v, want %v", tt.authority, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if got.Service != tt.want.Service || got.Protocol != tt.want.Protocol || got.Mode != tt.want.Mode || got.Style != tt.want.Style || got.MaxBody != tt.want.MaxBody {
			t.Errorf("Resolve(%q) = %+v, want %+v", tt.authority, got, tt.want)
		}
		e, err := got.Pick()
		if s := fmt.Sprintf("%s via %s", e.Address, e.Tunnel); err != nil || s != tt.endpoint {
			t.Errorf("Resolve(%q).Pick() = %s, %v, want %s", tt.authority, s, err, tt.endpoint)
		}
	}
}

func dest(s call.Service, p mesh.Protocol, m mesh.Mode, style string) mesh.Destination {
	return mesh.Destination{Service: s, Protocol: p, Mode: m, MaxBody: mesh.DefaultMaxBody, Style: style}
}

func TestEndpoints(t *testing.T) {
	v := build(t, bank())
	mcp, err := v.Resolve("10.96.0.10:3000")
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.Endpoint{
		Address: netip.MustParseAddrPort("10.244.1.10:8000"), Tunnel: netip.MustParseAddrPort("10.244.1.10:15008"),
		Identities: []identity.ID{
			identity.RequireID("spiffe://corp.example/ns/bank/sa/company-mcp"), identity.RequireID("spiffe://corp.example/alias"),
		},
		Workload: "bank/company-mcp-0", Weight: 1,
	}
	if len(mcp.Endpoints) != 1 || !same(mcp.Endpoints[0], want) {
		t.Errorf("got %+v, want %+v", mcp.Endpoints, want)
	}
	batch, err := v.Resolve("10.244.1.11:9000")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := batch.Endpoints[0].Identities, []identity.ID{identity.RequireID("spiffe://corp.example/ns/bank/sa/default")}; !slices.Equal(got, want) {
		t.Errorf("a workload without service account: got %v, want %v", got, want)
	}
	plain, err := v.Resolve("rates.example:80")
	if err != nil {
		t.Fatal(err)
	}
	outside := []mesh.Endpoint{
		{Address: netip.MustParseAddrPort("192.0.2.1:8080"), Workload: "bank/rates[0]", Weight: 5},
		{Address: netip.MustParseAddrPort("192.0.2.2:80"), Workload: "bank/rates[1]", Weight: 1},
	}
	if !slices.EqualFunc(plain.Endpoints, outside, same) {
		t.Errorf("got %+v, want %+v", plain.Endpoints, outside)
	}
	if plain.Mode != mesh.Observe || plain.MaxBody != 1024 || plain.Protocol != mesh.Unknown {
		t.Errorf("got mode %s, %d bytes, protocol %s, want observe, 1024, unknown", plain.Mode, plain.MaxBody, plain.Protocol)
	}
}

func same(a, b mesh.Endpoint) bool {
	return a.Address == b.Address && a.Tunnel == b.Tunnel && a.Workload == b.Workload && a.Weight == b.Weight &&
		slices.Equal(a.Identities, b.Identities)
}

func TestAttached(t *testing.T) {
	var got []string
	for _, a := range build(t, bank()).Attached() {
		got = append(got, fmt.Sprintf("%s as %s %q, %d ports", a.Object, a.Service, a.Service.Hostname, len(a.Ports)))
	}
	want := []string{
		`WorkloadEntry bank/batch as bank/batch "", 0 ports`,
		`ServiceEntry bank/company-mcp as bank/company-mcp "company-mcp.bank.svc.cluster.local", 2 ports`,
		`ServiceEntry bank/company-mcp as bank/mcp "mcp.example", 2 ports`,
		`ServiceEntry bank/rates as bank/rates "rates.example", 2 ports`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a port carries and how it is judged, by the annotations of its object: several ports of one service differ.
func TestPortAnnotations(t *testing.T) {
	for _, tt := range []struct {
		name        string
		annotations map[string]string
		want        string // of the ports 80 (http), 8080 (declares nothing), 9000 (tcp) and 53 (declares nothing)
	}{
		{"none", nil, "http auto false, unknown auto false, tcp auto false, tcp auto false"},
		{"protocol of every port", map[string]string{"waymark.dev/protocol": "mcp"}, "mcp enforce false, mcp enforce false, mcp enforce false, mcp enforce false"},
		{"protocol by port", map[string]string{"waymark.dev/protocol": "80=mcp,8080=a2a,9000=http"}, "mcp enforce false, a2a enforce false, http auto false, tcp auto false"},
		{"published values", map[string]string{"waymark.dev/protocol": "80=agentgateway.dev/mcp,8080=kgateway.dev/a2a,9000=kgateway.dev/mcp-sse"},
			"mcp enforce false, a2a enforce false, mcp enforce false, tcp auto false"},
		{"published value for every port", map[string]string{"waymark.dev/protocol": "agentgateway.dev/mcp-sse"},
			"mcp enforce false, mcp enforce false, mcp enforce false, mcp enforce false"},
		{"mode of every port", map[string]string{"waymark.dev/mode": "observe"}, "http observe false, unknown observe false, tcp observe false, tcp observe false"},
		{"mode by port", map[string]string{"waymark.dev/mode": "80=enforce,8080=observe"}, "http enforce false, unknown observe false, tcp auto false, tcp auto false"},
		{"mode by port over protocols", map[string]string{"waymark.dev/protocol": "80=mcp,8080=mcp", "waymark.dev/mode": "80=auto"},
			"mcp auto false, mcp enforce false, tcp auto false, tcp auto false"},
		{"batches", map[string]string{"waymark.dev/mcp-batches": "true"}, "http auto true, unknown auto true, tcp auto true, tcp auto true"},
		{"no batches", map[string]string{"waymark.dev/mcp-batches": "false"}, "http auto false, unknown auto false, tcp auto false, tcp auto false"},
		{"batches by port", map[string]string{"waymark.dev/mcp-batches": "80=true,8080=false"}, "http auto true, unknown auto false, tcp auto false, tcp auto false"},
		{"kagent", map[string]string{"kagent.dev/mcp-service-port": "80", "kagent.dev/mcp-service-protocol": "STREAMABLE_HTTP"},
			"mcp enforce false, unknown auto false, tcp auto false, tcp auto false"},
		{"kagent on what declares nothing", map[string]string{"kagent.dev/mcp-service-port": "8080"}, "http auto false, mcp enforce false, tcp auto false, tcp auto false"},
		{"kagent on raw bytes", map[string]string{"kagent.dev/mcp-service-port": "9000"}, "http auto false, unknown auto false, tcp auto false, tcp auto false"},
		{"kagent below ours", map[string]string{"kagent.dev/mcp-service-port": "80", "waymark.dev/protocol": "80=http"},
			"http auto false, unknown auto false, tcp auto false, tcp auto false"},
		{"kagent with a slip", map[string]string{"kagent.dev/mcp-service-port": "eighty"}, "http auto false, unknown auto false, tcp auto false, tcp auto false"},
		{"kagent's and others' that say nothing of a port", map[string]string{
			"kagent.dev/mcp-service-path": "/mcp", "kagent.dev/mcp-service-protocol": "SSE", "agentgateway.dev/mcp-path": "/x", "kgateway.dev/mcp-path": "a b",
			"example.com/waymark.dev": "x",
		}, "http auto false, unknown auto false, tcp auto false, tcp auto false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := bank()
			o.Services[1].Annotations = tt.annotations
			o.Services[1].Spec.Ports = []*networking.ServicePort{
				{Number: 80, Name: "http"}, {Number: 8080, Name: "any"}, {Number: 9000, Name: "tcp"}, {Number: 53, Name: "dns"},
			}
			v := build(t, o)
			var got []string
			for _, port := range []uint16{80, 8080, 9000, 53} {
				d, err := v.Resolve(fmt.Sprintf("rates.example:%d", port))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s %s %t", d.Protocol, d.Mode, d.Batches))
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A workload that is addressed directly has any port, and what its annotations say of a port holds for that one.
// What an annotation says a port carries does not take away what its backend speaks.
func TestAgentProtocolOverHTTP2(t *testing.T) {
	o := bank()
	o.Services[1].Annotations = map[string]string{"waymark.dev/protocol": "80=mcp,81=mcp,82=mcp,83=http"}
	o.Services[1].Spec.Ports = []*networking.ServicePort{
		{Number: 80, Name: "a", Protocol: "HTTP2"}, {Number: 81, Name: "any", Protocol: "GRPC"}, {Number: 82, Name: "c", Protocol: "HTTP"},
		{Number: 83, Name: "d", Protocol: "HTTP2"},
	}
	v := build(t, o)
	for port, want := range map[uint16]bool{80: true, 81: true, 82: false, 83: false} {
		d, err := v.Resolve(fmt.Sprintf("rates.example:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if d.HTTP2 != want {
			t.Errorf("port %d: HTTP2 %t, want %t", port, d.HTTP2, want)
		}
	}
}

func TestWorkloadAnnotations(t *testing.T) {
	o := bank()
	o.Workloads[1].Annotations = map[string]string{
		"waymark.dev/mode": "9000=observe", "waymark.dev/mcp-batches": "9000=true", "waymark.dev/protocol": "9000=mcp,9001=mcp",
		"waymark.dev/url-hosts": "login.example.com",
	}
	v := build(t, o)
	for port, want := range map[int]string{9000: "mcp observe true", 9001: "mcp enforce false", 9002: "unknown auto false"} {
		d, err := v.Resolve(fmt.Sprintf("10.244.1.11:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %t", d.Protocol, d.Mode, d.Batches); got != want {
			t.Errorf("port %d: got %s, want %s", port, got, want)
		}
	}
}

func TestURLHosts(t *testing.T) {
	o := bank()
	o.Services[0].Annotations["waymark.dev/url-hosts"] = " login.example.com,*.corp.example , http://localhost:8080"
	o.Workloads[1].Annotations["waymark.dev/url-hosts"] = ""
	var got []string
	for _, a := range build(t, o).Attached() {
		got = append(got, fmt.Sprintf("%s %q", a.Service, a.URLHosts))
	}
	want := []string{
		`bank/batch [""]`, // the stage that judges by it will say that this is no host
		`bank/company-mcp ["login.example.com" "*.corp.example" "http://localhost:8080"]`,
		`bank/mcp ["login.example.com" "*.corp.example" "http://localhost:8080"]`,
		`bank/rates []`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := mesh.URLHosts(map[string]string{"waymark.dev/mode": "auto"}); got != nil {
		t.Errorf("got %q without the annotation, want none", got)
	}
}

// Each case breaks one thing of the bank; what has to be said of it is given whole.
func TestProblems(t *testing.T) {
	mcp := func(o *static.Objects) *networking.ServiceEntry { return o.Services[0].Spec }
	rates := func(o *static.Objects) *networking.ServiceEntry { return o.Services[1].Spec }
	for _, tt := range []struct {
		name  string
		spoil func(*static.Objects)
		want  []string
	}{
		{"no host", func(o *static.Objects) { rates(o).Hosts = nil }, []string{"ServiceEntry bank/rates: spec.hosts: a service needs a host"}},
		{"wildcard host", func(o *static.Objects) { rates(o).Hosts[0] = "*.example" }, []string{
			`ServiceEntry bank/rates: spec.hosts[0]: "*.example": wildcard hosts are not supported: a waypoint could not tell where to go`}},
		{"host in capitals", func(o *static.Objects) { rates(o).Hosts[0] = "Rates.example" }, []string{
			`ServiceEntry bank/rates: spec.hosts[0]: "Rates.example" is not a DNS name in lower case`}},
		{"host that is an address", func(o *static.Objects) { rates(o).Hosts[0] = "192.0.2.1" }, []string{
			`ServiceEntry bank/rates: spec.hosts[0]: "192.0.2.1" is not a DNS name in lower case`}},
		{"host twice", func(o *static.Objects) { mcp(o).Hosts[1] = mcp(o).Hosts[0] }, []string{
			`ServiceEntry bank/company-mcp: spec.hosts[1]: "company-mcp.bank.svc.cluster.local" is listed twice`,
			"ServiceEntry bank/company-mcp: spec.hosts[1]: company-mcp.bank.svc.cluster.local is taken by ServiceEntry bank/company-mcp already"}},
		{"host of another service", func(o *static.Objects) { mcp(o).Hosts[1] = "rates.example" }, []string{
			"ServiceEntry bank/rates: spec.hosts[0]: rates.example is taken by ServiceEntry bank/company-mcp already"}},
		{"address range", func(o *static.Objects) { mcp(o).Addresses[0] = "10.96.0.0/16" }, []string{
			`ServiceEntry bank/company-mcp: spec.addresses[0]: "10.96.0.0/16" is a range: only single addresses are supported`}},
		{"address in long form", func(o *static.Objects) { mcp(o).Addresses[1] = "fd00:0::10" }, []string{
			`ServiceEntry bank/company-mcp: spec.addresses[1]: "fd00:0::10" is not an IP address in its canonical spelling`}},
		{"address of everybody", func(o *static.Objects) { mcp(o).Addresses[0] = "0.0.0.0" }, []string{
			`ServiceEntry bank/company-mcp: spec.addresses[0]: "0.0.0.0" is not the address of one place`}},
		{"address twice", func(o *static.Objects) { mcp(o).Addresses[1] = "10.96.0.10" }, []string{
			`ServiceEntry bank/company-mcp: spec.addresses[1]: "10.96.0.10" is listed twice`}},
		{"address and port of another service", func(o *static.Objects) {
			rates(o).Addresses, rates(o).Ports[1].Number = []string{"10.96.0.10"}, 3000
		}, []string{"ServiceEntry bank/rates: spec.addresses[0]: 10.96.0.10:3000 is taken by ServiceEntry bank/company-mcp already"}},
		{"address of a workload", func(o *static.Objects) { mcp(o).Addresses[0] = "10.244.1.11" }, []string{
			"ServiceEntry bank/company-mcp: spec.addresses[0]: 10.244.1.11 is the address of WorkloadEntry bank/batch already"}},
		{"no port", func(o *static.Objects) { mcp(o).Ports, o.Services[0].Annotations = nil, nil }, []string{
			"ServiceEntry bank/company-mcp: spec.ports: a service needs a port"}},
		{"port 0", func(o *static.Objects) { rates(o).Ports[1].Number = 0 }, []string{
			"ServiceEntry bank/rates: spec.ports[1].number: 0 is not a port from 1 to 65535"}},
		{"port twice", func(o *static.Objects) { rates(o).Ports[1].Number = 443 }, []string{
			"ServiceEntry bank/rates: spec.ports[1].number: port 443 is listed twice"}},
		{"port name twice", func(o *static.Objects) { rates(o).Ports[0].Name = "any" }, []string{
			`ServiceEntry bank/rates: spec.ports[1].name: the name "any" is used twice`}},
		{"port name missing", func(o *static.Objects) { mcp(o).Ports[1].Name = "" }, []string{
			`ServiceEntry bank/company-mcp: spec.ports[1].name: "" is not a name of a-z, 0-9 and -`}},
		{"port of the mesh", func(o *static.Objects) { mcp(o).Ports[1].Number, mcp(o).Ports[1].TargetPort = 15008, 0 }, []string{
			"ServiceEntry bank/company-mcp: spec.ports[1].number: port 15008 belongs to the mesh itself on every workload: give a targetPort",
			"ServiceEntry bank/company-mcp: spec.ports[1]: leads to 10.244.1.10:15008 of bank/company-mcp-0, where its tunnel ends"}},
		{"target port of the mesh", func(o *static.Objects) { mcp(o).Ports[1].TargetPort = 15006 }, []string{
			"ServiceEntry bank/company-mcp: spec.ports[1].targetPort: port 15006 belongs to the mesh itself on every workload"}},
		{"endpoint port of the mesh", func(o *static.Objects) { rates(o).Endpoints[0].Ports["any"] = 15001 }, []string{
			"ServiceEntry bank/rates: spec.endpoints[0].ports[any]: port 15001 belongs to the mesh itself on every workload"}},
		{"endpoint port of no service port", func(o *static.Objects) { rates(o).Endpoints[0].Ports["http"] = 1 }, []string{
			"ServiceEntry bank/rates: spec.endpoints[0].ports[http]: the service has no port of this name"}},
		{"protocol UDP", func(o *static.Objects) { rates(o).Ports[0].Protocol = "UDP" }, []string{
			`ServiceEntry bank/rates: spec.ports[0].protocol: "UDP": no tunnel exists for UDP`}},
		{"protocol MCP", func(o *static.Objects) { rates(o).Ports[0].Protocol = "MCP" }, []string{
			`ServiceEntry bank/rates: spec.ports[0].protocol: "MCP": Istio refuses this value; write HTTP here and the annotation waymark.dev/protocol: mcp`}},
		{"protocol unknown", func(o *static.Objects) { rates(o).Ports[0].Protocol = "QUIC" }, []string{
			`ServiceEntry bank/rates: spec.ports[0].protocol: "QUIC" is not one of HTTP, HTTP2, GRPC, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL`}},
		{"resolution DNS", func(o *static.Objects) { rates(o).Resolution = networking.ServiceEntry_DNS }, []string{
			"ServiceEntry bank/rates: spec.resolution: DNS is not supported: endpoints have to be given, with resolution STATIC"}},
		{"resolution missing", func(o *static.Objects) { rates(o).Resolution = 0 }, []string{
			"ServiceEntry bank/rates: spec.resolution: NONE is not supported: endpoints have to be given, with resolution STATIC"}},
		{"exported to one namespace", func(o *static.Objects) { rates(o).ExportTo = []string{"."} }, []string{
			`ServiceEntry bank/rates: spec.exportTo: a waypoint serves every namespace: only "*" is supported`}},
		{"no endpoint", func(o *static.Objects) { rates(o).Endpoints = nil }, []string{
			"ServiceEntry bank/rates: spec.endpoints: a service needs endpoints or a workloadSelector"}},
		{"endpoints and selector", func(o *static.Objects) { mcp(o).Endpoints = rates(o).Endpoints[1:] }, []string{
			"ServiceEntry bank/company-mcp: spec.workloadSelector: not together with endpoints"}},
		{"selector of everything", func(o *static.Objects) { mcp(o).WorkloadSelector.Labels = nil }, []string{
			"ServiceEntry bank/company-mcp: spec.workloadSelector: selects by no label: it would select every workload"}},
		{"selector of nothing", func(o *static.Objects) { mcp(o).WorkloadSelector.Labels["app"] = "other" }, []string{
			"ServiceEntry bank/company-mcp: spec.workloadSelector: no WorkloadEntry of namespace bank carries these labels"}},
		{"selector outside the mesh", func(o *static.Objects) { mcp(o).Location = networking.ServiceEntry_MESH_EXTERNAL }, []string{
			"ServiceEntry bank/company-mcp: spec.workloadSelector: applies to services inside the mesh only (location MESH_INTERNAL)"}},
		{"endpoint by name", func(o *static.Objects) { rates(o).Endpoints[1].Address = "rates.example" }, []string{
			`ServiceEntry bank/rates: spec.endpoints[1].address: "rates.example" is not an IP address in its canonical spelling`}},
		{"endpoint in a socket", func(o *static.Objects) { rates(o).Endpoints[1].Address = "unix:///tmp/x" }, []string{
			`ServiceEntry bank/rates: spec.endpoints[1].address: "unix:///tmp/x" is a Unix socket: only IP addresses are supported`}},
		{"endpoint in another network", func(o *static.Objects) { rates(o).Endpoints[1].Network = "n2" }, []string{
			"ServiceEntry bank/rates: spec.endpoints[1].network: networks are not supported: every endpoint has to be reachable directly"}},
		{"endpoint twice", func(o *static.Objects) { rates(o).Endpoints[1].Address = "192.0.2.1" }, []string{
			"ServiceEntry bank/rates: spec.ports[0]: leads to 192.0.2.1:443 twice, by the endpoints bank/rates[0] and bank/rates[1]"}},
		{"account with a slash", func(o *static.Objects) { o.Workloads[0].Spec.ServiceAccount = "a/b" }, []string{
			`WorkloadEntry bank/company-mcp-0: spec.serviceAccount: "a/b" is not the name of a service account`}},
		{"another tunnel", func(o *static.Objects) { o.Workloads[0].Labels["networking.istio.io/tunnel"] = "https" }, []string{
			`WorkloadEntry bank/company-mcp-0: metadata.labels[networking.istio.io/tunnel]: "https" is not "http", the only tunnel there is`,
			"ServiceEntry bank/company-mcp: spec.subjectAltNames: no endpoint has a tunnel, so that nothing could prove these identities"}},
		{"another tunnel in the spec", func(o *static.Objects) { o.Workloads[1].Spec.Labels["networking.istio.io/tunnel"] = "yes" }, []string{
			`WorkloadEntry bank/batch: spec.labels[networking.istio.io/tunnel]: "yes" is not "http", the only tunnel there is`}},
		{"DNS name as identity", func(o *static.Objects) { mcp(o).SubjectAltNames[0] = "company.example" }, []string{
			`ServiceEntry bank/company-mcp: spec.subjectAltNames[0]: only SPIFFE identities can be verified in a tunnel: identity: scheme is not "spiffe": "company.example"`}},
		{"another waypoint", func(o *static.Objects) { o.Services[1].Labels["istio.io/use-waypoint"] = "agnets" }, []string{
			"ServiceEntry bank/rates: metadata.labels[istio.io/use-waypoint]: names the waypoint bank/agnets, but this directory is for bank/agents"}},
		{"waypoint of another namespace", func(o *static.Objects) { o.Services[1].Labels["istio.io/use-waypoint-namespace"] = "other" }, []string{
			"ServiceEntry bank/rates: metadata.labels[istio.io/use-waypoint]: names the waypoint other/agents, but this directory is for bank/agents"}},
		{"waypoint namespace alone", func(o *static.Objects) {
			o.Services[2].Labels = map[string]string{"istio.io/use-waypoint-namespace": "bank"}
		}, []string{
			"ServiceEntry bank/aloof: metadata.labels[istio.io/use-waypoint-namespace]: has no effect without a waypoint in the label istio.io/use-waypoint"}},
		{"from another namespace", func(o *static.Objects) {
			o.Services[1].Namespace, o.Services[1].Labels["istio.io/use-waypoint-namespace"] = "other", "bank"
		}, []string{
			"ServiceEntry other/rates: metadata.labels[istio.io/use-waypoint]: the Gateway admits its own namespace only: set allowedRoutes.namespaces.from to All"}},
		{"workload at a waypoint for services", func(o *static.Objects) { o.Gateway.Workloads = false }, []string{
			"WorkloadEntry bank/batch: metadata.labels[istio.io/use-waypoint]: the Gateway does not take objects of this kind: set its label istio.io/waypoint-for to all"}},
		{"canary", func(o *static.Objects) { o.Services[1].Labels["istio.io/use-waypoint-canary"] = "agents" }, []string{
			"ServiceEntry bank/rates: metadata.labels[istio.io/use-waypoint-canary]: canary waypoints are not supported in files"}},
		{"workload address twice", func(o *static.Objects) {
			o.Workloads[0].Spec.Address, o.Workloads[0].Labels["istio.io/use-waypoint"] = "10.244.1.11", "agents"
		}, []string{"WorkloadEntry bank/batch: spec.address: 10.244.1.11 is taken by WorkloadEntry bank/company-mcp-0 already"}},
		{"annotation unknown", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mod"] = "enforce" }, []string{
			"ServiceEntry bank/rates: metadata.annotations[waymark.dev/mod]: unknown annotation; those of a mesh object are protocol, mode, mcp-batches, url-hosts, max-body-bytes, refusals and hbone-port"}},
		{"annotation of Istio's", func(o *static.Objects) { o.Services[1].Annotations["networking.istio.io/exportTo"] = "*" }, []string{
			"ServiceEntry bank/rates: metadata.annotations[networking.istio.io/exportTo]: is not supported here"}},
		{"annotated protocol unknown", func(o *static.Objects) { o.Services[0].Annotations["waymark.dev/protocol"] = "3000=MCP" }, []string{
			`ServiceEntry bank/company-mcp: metadata.annotations[waymark.dev/protocol]: "3000=MCP" is neither a protocol (http, http2, grpc, tcp, tls, mcp, a2a) nor port=protocol`}},
		{"annotated port twice", func(o *static.Objects) { o.Services[0].Annotations["waymark.dev/protocol"] = "3000=mcp,3000=http" }, []string{
			"ServiceEntry bank/company-mcp: metadata.annotations[waymark.dev/protocol]: port 3000 is given twice"}},
		{"annotated port unknown", func(o *static.Objects) { o.Services[0].Annotations["waymark.dev/protocol"] = "3001=mcp" }, []string{
			"ServiceEntry bank/company-mcp: metadata.annotations[waymark.dev/protocol]: port 3001 is not a port of the service"}},
		{"mode unknown", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mode"] = "enforced" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: "enforced" is neither a mode (enforce, auto, observe) nor port=mode`}},
		{"mode of a port unknown", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mode"] = "443=observe,80=on" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: "80=on" is neither a mode (enforce, auto, observe) nor port=mode`}},
		{"modes with a blank", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mode"] = "443=observe, 80=auto" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: " 80=auto" is neither a mode (enforce, auto, observe) nor port=mode`}},
		{"mode twice", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mode"] = "80=auto,80=observe" }, []string{
			"ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: port 80 is given twice"}},
		{"mode of no port", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mode"] = "81=auto,80=auto,82=auto" }, []string{
			"ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: port 81 is not a port of the service",
			"ServiceEntry bank/rates: metadata.annotations[waymark.dev/mode]: port 82 is not a port of the service"}},
		{"batches unknown", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mcp-batches"] = "yes" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/mcp-batches]: "yes" is neither true, false, port=true nor port=false`}},
		{"batches of no port", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/mcp-batches"] = "81=true" }, []string{
			"ServiceEntry bank/rates: metadata.annotations[waymark.dev/mcp-batches]: port 81 is not a port of the service"}},
		{"published protocol unknown", func(o *static.Objects) { o.Services[0].Annotations["waymark.dev/protocol"] = "example.com/mcp" }, []string{
			`ServiceEntry bank/company-mcp: metadata.annotations[waymark.dev/protocol]: "example.com/mcp" is neither a protocol (http, http2, grpc, tcp, tls, mcp, a2a) nor port=protocol`}},
		{"no body at all", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/max-body-bytes"] = "0" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/max-body-bytes]: "0" is not a number of bytes from 1 to 1073741824`}},
		{"refusals unknown", func(o *static.Objects) { o.Services[1].Annotations["waymark.dev/refusals"] = "loud" }, []string{
			`ServiceEntry bank/rates: metadata.annotations[waymark.dev/refusals]: "loud" is not one of masked, explained, result`}},
		{"tunnel port unknown", func(o *static.Objects) { o.Workloads[1].Annotations["waymark.dev/hbone-port"] = "70000" }, []string{
			`WorkloadEntry bank/batch: metadata.annotations[waymark.dev/hbone-port]: "70000" is not a port from 1 to 65535`}},
		{"several at once", func(o *static.Objects) { rates(o).Hosts, o.Workloads[1].Spec.Network = nil, "n2" }, []string{
			"WorkloadEntry bank/batch: spec.network: networks are not supported: every endpoint has to be reachable directly",
			"ServiceEntry bank/rates: spec.hosts: a service needs a host"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := bank()
			tt.spoil(o)
			v, problems := static.New(*o)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if v != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Whatever an authority is, the answer is a destination of ours with its port, or one of the four errors.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"10.96.0.10:3000", "mcp.example:3000", "[fd00::10]:3306", "10.244.1.11:15008", "rates.example:80", "a", "10.96.0.10:0"} {
		f.Add(s)
	}
	v, problems := static.New(*bank())
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := v.Resolve(s)
		if err != nil {
			for _, known := range []error{mesh.ErrAuthority, mesh.ErrNotAttached, mesh.ErrUnknownPort, mesh.ErrOwnPort} {
				if errors.Is(err, known) && d == nil {
					return
				}
			}
			t.Fatalf("Resolve(%q) = %v, %v", s, d, err)
		}
		a, err := mesh.ParseAuthority(s)
		if err != nil || a.Port != d.Service.Port {
			t.Fatalf("Resolve(%q) leads to port %d", s, d.Service.Port)
		}
		if a.Host != "" && a.Host != d.Service.Hostname {
			t.Fatalf("Resolve(%q) leads to %q", s, d.Service.Hostname)
		}
		e, err := d.Pick()
		if err != nil || mesh.Own(e.Address.Port()) {
			t.Fatalf("Resolve(%q).Pick() = %v, %v", s, e, err)
		}
	})
}
