package kube_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/mesh"
)

// picture is what becomes of objects that are there from the start: path, then JSON.
func picture(t *testing.T, objects ...string) *config.Cluster {
	t.Helper()
	s := start(t)
	for i := 0; i < len(objects); i += 2 {
		s.put(objects[i], objects[i+1])
	}
	f := following(t, s)
	f.ready()
	return f.last()
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		problem    string
		blind      bool
		action     v1alpha1.Action
		targets    int
	}{
		{"good", `{"action":"DENY","targetRefs":[{"kind":"Service","name":"mcp"}],"rules":[{}]}`, "", false, v1alpha1.Deny, 1},
		{"no action", `{}`, "", false, "", 0},
		{"null targets", `{"targetRefs":null}`, "", false, "", 0},
		{"unknown field", `{"action":"DENY","targetRefs":[{"kind":"Service","name":"mcp"}],"rules":[{"to":[{"operation":{"skills":["a"]}}]}]}`,
			"spec.rules[0].to[0].operation.skills: unknown field", false, v1alpha1.Deny, 1},
		{"another case", `{"Action":"DENY"}`, "spec.Action: unknown field", false, v1alpha1.Allow, 0},
		{"wrong type", `{"action":"ALLOW","rules":[{"to":[{"operation":{"tools":"a"}}]}]}`, "spec.rules[0].to[0].operation.tools: cannot be text", false, v1alpha1.Allow, 0},
		{"wrong decimal", `{"rules":[{"to":[{"operation":{"arguments":[{"pointer":"/a","min":1.5}]}}]}]}`,
			`spec.rules[0].to[0].operation.arguments[0].min: must be a whole number, or a decimal number in quotes such as "0.25"`, false, v1alpha1.Allow, 0},
		{"action that is no text", `{"action":1}`, "spec.action: cannot be a number", false, v1alpha1.Deny, 0},
		{"action unknown", `{"action":"BLOCK"}`, "", false, "BLOCK", 0}, // compiling says so
		{"action unknown and more", `{"action":"BLOCK","x":true}`, "spec.x: unknown field", false, "BLOCK", 0},
		{"targets that are no list", `{"action":"DENY","targetRefs":"mcp"}`, "spec.targetRefs: cannot be text", true, v1alpha1.Deny, 0},
		{"target with a namespace", `{"targetRefs":[{"kind":"Service","name":"mcp","namespace":"other"}]}`, "spec.targetRefs[0].namespace: unknown field", true, v1alpha1.Allow, 0},
		{"target of another kind", `{"targetRefs":[{"kind":"Service","name":"a"},{"kind":"HTTPRoute","name":"r"}]}`,
			`spec.targetRefs[1].kind: "HTTPRoute" is not one of Service, ServiceEntry, Gateway`, true, "", 2},
		{"target of another kind and more", `{"x":1,"targetRefs":[{"kind":"HTTPRoute","name":"r"}]}`, "spec.x: unknown field", true, v1alpha1.Allow, 0},
		{"no spec", `null`, "spec: is missing", true, v1alpha1.Deny, 0},
		{"spec that is no map", `[]`, "spec: cannot be a list", true, v1alpha1.Deny, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := picture(t, policies, `{"metadata":{"namespace":"bank","name":"p","uid":"u","generation":3,"resourceVersion":"1",
				"labels":{"a":"b"},"annotations":{"istio.io/dry-run":"true","kubectl.kubernetes.io/last-applied-configuration":"{}"}},"spec":`+c.spec+`}`).Policies
			if len(got) != 1 {
				t.Fatalf("got %d policies", len(got))
			}
			p := got[0]
			if p.Problem != c.problem || p.Blind != c.blind || p.Object.Spec.Action != c.action || len(p.Object.Spec.TargetRefs) != c.targets {
				t.Errorf("got problem %q, blind %v, %+v", p.Problem, p.Blind, p.Object.Spec)
			}
			m := p.Object.ObjectMeta
			if m.Namespace != "bank" || m.Name != "p" || m.UID != "u" || m.Generation != 3 || !reflect.DeepEqual(m.Annotations, map[string]string{"istio.io/dry-run": "true"}) || m.Labels != nil {
				t.Errorf("got metadata %+v", m)
			}
		})
	}
}

func TestRestrictions(t *testing.T) {
	const dry = `,"annotations":{"istio.io/dry-run":"true"}`
	const all, none = "[]", "" // of everything in its namespace; of nothing
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct{ resource, metadata, spec, want string }{
		{"waymark.dev/v1alpha1/agentguards", "", `{"rules":[]}`, all},
		{"waymark.dev/v1alpha1/agentguards", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}]}`, "[{ Service mcp}]"},
		{"waymark.dev/v1alpha1/agentguards", "", `{"targetRefs":[{"kind":"Service"}],"unknown":1}`, "[{ Service }]"},
		{"waymark.dev/v1alpha1/agentguards", "", `{"targetRefs":[{"kind":"Service","x":1}]}`, all},
		{"waymark.dev/v1alpha1/agentguards", "", `{"targetRefs":[{"kind":"HTTPRoute","name":"r"}]}`, all},
		{"waymark.dev/v1alpha1/agentguards", "", `null`, all},
		{"waymark.dev/v1alpha1/agentguards", "", `"x"`, all},
		{"waymark.dev/v1alpha1/agentguards", dry, `{"rules":[]}`, none},
		{"waymark.dev/v1alpha1/agentguards", `,"annotations":{"istio.io/dry-run":"yes"}`, `{"rules":[]}`, all},
		{"waymark.dev/v1alpha1/agentlimits", "", `{}`, all},
		{"waymark.dev/v1alpha1/agentlimits", dry, `{}`, none},
		{"waymark.dev/v1alpha1/agentauthentications", "", `{"mode":"Permissive"}`, all},
		{"waymark.dev/v1alpha1/agentauthentications", dry, `{}`, all},
		{"waymark.dev/v1alpha1/tokenexchanges", "", `{"exchange":{}}`, all},
		{"waymark.dev/v1alpha1/tokenexchanges", "", `{"grants":[{}]}`, none},
		{"waymark.dev/v1alpha1/tokenexchanges", "", `{"grants":[{}],"exchange":{}}`, all},
		{"waymark.dev/v1alpha1/tokenexchanges", "", `{}`, all},
		{"waymark.dev/v1alpha1/agentaudits", "", `{"sinks":[]}`, none},
		{"waymark.dev/v1alpha1/agentaudits", "", `{"delivery":"BestEffort"}`, none},
		{"waymark.dev/v1alpha1/agentaudits", "", `{"delivery":"Strict"}`, all},
		{"waymark.dev/v1alpha1/agentaudits", "", `{"delivery":"New"}`, all},
		{"waymark.dev/v1alpha1/agentaudits", "", `null`, all},
		{"waymark.dev/v1alpha1/toolcatalogs", "", `{"tools":[]}`, none},
		{"waymark.dev/v1alpha1/approvalrequests", "", `{}`, none},
		{"waymark.dev/v1alpha1/quarantines", "", `{"reason":"r"}`, all},
		{"waymark.dev/v1alpha1/quarantines", "", `{"expiresAt":"2020-01-01T00:00:00Z"}`, none},
		{"waymark.dev/v1alpha1/quarantines", "", `{"expiresAt":"` + future + `"}`, all},
		{"waymark.dev/v1alpha1/quarantines", "", `{"expiresAt":"tomorrow"}`, all},

		{istio, "", `{"selector":{"matchLabels":{"a":"b"}}}`, none},
		{istio, "", `{}`, none},
		{istio, "", `null`, none},
		{istio, "", `{"targetRefs":[]}`, none},
		{istio, "", `{"targetRefs":[{"kind":"Service","group":"","name":"mcp"},{"kind":"Service","group":"core","name":"b"}]}`, "[{ Service mcp} {core Service b}]"},
		{istio, "", `{"targetRef":{"kind":"Gateway","group":"gateway.networking.k8s.io","name":"agents"}}`, "[{gateway.networking.k8s.io Gateway agents}]"},
		{istio, "", `{"targetRefs":[{"kind":"ServiceEntry","group":"networking.istio.io","name":"e"}]}`, "[{networking.istio.io ServiceEntry e}]"},
		{istio, "", `{"targetRefs":[{"kind":"Service","group":"x.io","name":"mcp"}]}`, none},
		{istio, "", `{"targetRefs":[{"kind":"GatewayClass","group":"gateway.networking.k8s.io","name":"waymark-waypoint"}]}`, none}, // not in the root namespace
		{istio, "", `{"targetRefs":"mcp"}`, all},
		{istio, "", `{"targetRefs":["mcp"]}`, all},
		{istio, "", `{"action":"AUDIT","targetRefs":[{"kind":"Service","name":"mcp"}]}`, none},
		{istio, dry, `{"action":"DENY","targetRefs":[{"kind":"Service","name":"mcp"}]}`, none},
		{"security.istio.io/v1/requestauthentications", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}],"jwtRules":[{"issuer":"i"}]}`, "[{ Service mcp}]"},
		{"security.istio.io/v1/requestauthentications", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}],"jwtRules":"x"}`, "[{ Service mcp}]"},
		{"security.istio.io/v1/requestauthentications", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}],"jwtRules":[]}`, none},
		{"security.istio.io/v1/requestauthentications", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}]}`, none},
		{"security.istio.io/v1/requestauthentications", "", `{"jwtRules":[{"issuer":"i"}]}`, none},
		{"telemetry.istio.io/v1/telemetries", "", `{"targetRefs":[{"kind":"Service","name":"mcp"}]}`, none},
		{"networking.istio.io/v1/destinationrules", "", `{"host":"mcp"}`, none},
	} {
		t.Run(c.resource[strings.LastIndex(c.resource, "/")+1:]+c.metadata+c.spec, func(t *testing.T) {
			got := restricting(picture(t, c.resource, `{"metadata":{"namespace":"bank","name":"o"`+c.metadata+`},"spec":`+c.spec+`}`))
			text := none
			for _, u := range got {
				text += fmt.Sprint(u.TargetRefs)
				if u.Namespace != "bank" || u.Name != "o" || u.Kind == "" || !strings.HasPrefix(c.resource[strings.LastIndex(c.resource, "/")+1:], strings.ToLower(u.Kind)[:len(u.Kind)-1]) {
					t.Errorf("got %+v", u)
				}
			}
			if text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

// restricting are the objects of a picture that restrict something, carried out or not. One whose targets cannot be read has none.
func restricting(c *config.Cluster) []config.Unenforced {
	all := c.Unenforced
	for _, a := range c.Authentications {
		all = append(all, config.Unenforced{Kind: "AgentAuthentication", Namespace: a.Object.Namespace, Name: a.Object.Name, TargetRefs: a.Object.Spec.TargetRefs})
	}
	for _, r := range c.Requests {
		all = append(all, config.Unenforced{Kind: "RequestAuthentication", Namespace: r.Object.Namespace, Name: r.Object.Name, TargetRefs: r.Object.TargetRefs})
	}
	for _, x := range c.Exchanges {
		all = append(all, config.Unenforced{Kind: "TokenExchange", Namespace: x.Object.Namespace, Name: x.Object.Name, TargetRefs: x.Object.Spec.TargetRefs})
	}
	return all
}

// What comes before and after the rules is read as it stands, and kept with its problem if it cannot be.
func TestAuthentication(t *testing.T) {
	good := picture(t, "waymark.dev/v1alpha1/agentauthentications", `{"metadata":{"namespace":"bank","name":"o"},"spec":{"mode":"Strict",
		"targetRefs":[{"kind":"Service","name":"mcp"}],"issuers":[{"issuer":"https://i","audiences":["a"],"jwks":{"inline":"{}"}}]}}`).Authentications
	if len(good) != 1 || good[0].Problem != "" || good[0].Blind || good[0].Object.Spec.Issuers[0].Audiences[0] != "a" {
		t.Errorf("got %+v", good)
	}
	bad := picture(t, "waymark.dev/v1alpha1/agentauthentications", `{"metadata":{"namespace":"bank","name":"o"},"spec":{"modus":"Strict",
		"targetRefs":[{"kind":"Service","name":"mcp"}]}}`).Authentications
	if len(bad) != 1 || bad[0].Problem != "spec.modus: unknown field" || bad[0].Blind || len(bad[0].Object.Spec.TargetRefs) != 1 {
		t.Errorf("got %+v", bad)
	}
	blind := picture(t, "waymark.dev/v1alpha1/tokenexchanges", `{"metadata":{"namespace":"bank","name":"o"},"spec":{"exchange":{},"targetRefs":7}}`).Exchanges
	if len(blind) != 1 || blind[0].Problem == "" || !blind[0].Blind {
		t.Errorf("got %+v", blind)
	}
	requests := picture(t, "security.istio.io/v1/requestauthentications", `{"metadata":{"namespace":"bank","name":"o"},"spec":{
		"targetRefs":[{"kind":"Service","name":"mcp"}],"jwtRules":[{"issuer":"i","jwks":"{}","forwardOriginalToken":true}]}}`).Requests
	if len(requests) != 1 || requests[0].Problem != "" || !requests[0].Object.Spec.JwtRules[0].ForwardOriginalToken {
		t.Errorf("got %+v", requests)
	}
}

// Of a catalog that cannot be read its targets are known, or else it is about everything.
func TestCatalogs(t *testing.T) {
	for _, tt := range []struct{ spec, problem, target string }{
		{`{"targetRefs":[{"kind":"Service","name":"mcp"}],"tools":[{"name":"pay","riskTier":"High"}]}`, "", "mcp"},
		{`{"targetRefs":[{"kind":"Service","name":"mcp"}],"tools":[{"name":"pay","riskTier":"High","since":"then"}]}`, "spec.tools[0].since: unknown field", "mcp"},
		{`{"targetRefs":[{"kind":"Pod","name":"mcp"}],"tools":[{"name":"pay","riskTier":"Low"}]}`, `spec.targetRefs[0].kind: "Pod" is not one of Service, ServiceEntry, Gateway`, ""},
		{`{"targetRefs":7,"tools":[]}`, "spec.targetRefs: cannot be a number", ""},
	} {
		all := picture(t, "waymark.dev/v1alpha1/toolcatalogs", `{"metadata":{"namespace":"bank","name":"o"},"spec":`+tt.spec+`}`).Catalogs
		if len(all) != 1 {
			t.Fatalf("%s: got %d", tt.spec, len(all))
		}
		c, target := all[0], ""
		if refs := c.Object.Spec.TargetRefs; len(refs) > 0 {
			target = refs[0].Name
		}
		if c.Problem != tt.problem || target != tt.target || (len(c.Object.Spec.Tools) == 1) != (tt.problem == "") {
			t.Errorf("%s: got %q, target %q, %d tools", tt.spec, c.Problem, target, len(c.Object.Spec.Tools))
		}
	}
}

func TestGatewayClassOfOurs(t *testing.T) {
	for name, want := range map[string]int{"waymark-waypoint": 1, "istio-waypoint": 0} {
		got := picture(t, istio, `{"metadata":{"namespace":"istio-system","name":"o"},"spec":{"targetRefs":[
			{"kind":"GatewayClass","group":"gateway.networking.k8s.io","name":"`+name+`"}]}}`).Unenforced
		if len(got) != want || want > 0 && len(got[0].TargetRefs) != 0 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestQuarantineEndsByItself(t *testing.T) {
	s := start(t)
	s.put("waymark.dev/v1alpha1/quarantines", `{"metadata":{"namespace":"bank","name":"q"},"spec":{"expiresAt":"`+
		time.Now().Add(1500*time.Millisecond).UTC().Format(time.RFC3339)+`"}}`)
	s.put("waymark.dev/v1alpha1/quarantines", `{"metadata":{"namespace":"bank","name":"r"},"spec":{}}`)
	f := following(t, s)
	f.ready()
	f.until("the end", func(c *config.Cluster) bool { return len(c.Unenforced) == 1 && c.Unenforced[0].Name == "r" })
}

// ports are those that a destination would speak, for a few numbers.
func ports(d *mesh.Declared) map[uint16]mesh.Protocol {
	spoken := map[uint16]mesh.Protocol{}
	for _, n := range []uint16{1, 2, 3, 4, 5, 6, 7} {
		dest := mesh.Destination{Service: call.Service{Port: n}}
		if d.Options.Apply(&dest, d.Ports[n]); dest.Protocol != mesh.Unknown {
			spoken[n] = dest.Protocol
		}
	}
	return spoken
}

func TestDeclarations(t *testing.T) {
	const entries = "networking.istio.io/v1/serviceentries"
	for _, c := range []struct {
		name, resource, metadata, spec string
		hosts                          string
		ports                          map[uint16]mesh.Protocol
		faults                         string
	}{
		{"protocols of a Service", services, "", `{"ports":[{"port":1,"appProtocol":"kgateway.dev/mcp","name":"http"},{"port":2,"name":"a2a-x"},
			{"port":3,"appProtocol":"example.com/x","name":"mcp"},{"port":4,"name":"web"},{"port":5,"protocol":"UDP","name":"mcp"},{"port":6,"protocol":"TCP","appProtocol":"kubernetes.io/h2c"}]}`,
			"mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{1: mesh.MCP, 2: mesh.A2A, 6: mesh.HTTP2}, ""},
		{"annotations", services, `,"annotations":{"waymark.dev/protocol":"1=mcp","kagent.dev/mcp-service-port":"2"}`, `{"ports":[{"port":1,"name":"tcp"},{"port":2,"name":"http"}]}`,
			"mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{1: mesh.MCP, 2: mesh.MCP}, ""},
		{"annotation with a slip", services, `,"annotations":{"waymark.dev/mode":"strict"}`, `{"ports":[{"port":1}]}`,
			"mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{}, `[metadata.annotations[waymark.dev/mode]: "strict" is neither a mode (enforce, auto, observe) nor port=mode]`},
		{"annotation for a port that is not there", services, `,"annotations":{"waymark.dev/protocol":"7=mcp"}`, `{"ports":[{"port":1}]}`,
			"mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{7: mesh.MCP}, `[metadata.annotations[waymark.dev/protocol]: port 7 is not a port of the service]`},
		{"no ports", services, "", `{"externalName":"x"}`, "mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{}, ""},
		{"ports that cannot be read", services, "", `{"ports":[{"port":70000}]}`, "mcp.bank.svc.cluster.local", map[uint16]mesh.Protocol{}, "[spec.ports[0].port: value out of range]"},
		{"protocols of a ServiceEntry", entries, "", `{"hosts":["B.example.com","*.example.com"],"ports":[{"number":1,"name":"mcp","protocol":"HTTP"},{"number":2,"name":"mcp","protocol":"TCP"},
			{"number":3,"name":"a2a"},{"number":4,"name":"x","protocol":"GRPC"},{"number":5,"name":"mcp","protocol":"UDP"}]}`,
			"*.example.com b.example.com", map[uint16]mesh.Protocol{1: mesh.MCP, 2: mesh.TCP, 3: mesh.A2A, 4: mesh.GRPC}, ""},
		{"no hosts", entries, "", `{"ports":[]}`, "", nil, ""},
		{"hosts that cannot be read", entries, "", `{"hosts":"x"}`, "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := picture(t, c.resource, `{"metadata":{"namespace":"bank","name":"mcp"`+c.metadata+`},"spec":`+c.spec+`}`).Declared
			var hosts []string
			for h, d := range got {
				if hosts = append(hosts, h.Hostname); h.Namespace != "bank" || d.Object.Namespace != "bank" || d.Object.Name != "mcp" {
					t.Errorf("got %+v: %+v", h, d)
				}
				if p := ports(d); !reflect.DeepEqual(p, c.ports) {
					t.Errorf("%s: got %v, want %v", h.Hostname, p, c.ports)
				}
				if text := strings.TrimPrefix(fmt.Sprint(d.Faults), "[]"); text != c.faults {
					t.Errorf("got  %s\nwant %s", text, c.faults)
				}
			}
			slices.Sort(hosts)
			if text := strings.Join(hosts, " "); text != c.hosts {
				t.Errorf("got %q, want %q", text, c.hosts)
			}
		})
	}
}

func TestClusterDomain(t *testing.T) {
	s := start(t)
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp"},"spec":{}}`)
	f := following(t, s, func(o *kube.Options) { o.ClusterDomain = "corp.example" })
	f.ready()
	if f.last().Declared[mesh.Host{Namespace: "bank", Hostname: "mcp.bank.svc.corp.example"}] == nil {
		t.Errorf("got %v", f.last().Declared)
	}
}

func TestHostsThatSeveralDeclare(t *testing.T) {
	const entries = "networking.istio.io/v1/serviceentries"
	entry := func(name, created, host string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"bank","name":%q,"creationTimestamp":%q},"spec":{"hosts":[%q]}}`, name, created, host)
	}
	s := start(t)
	s.put(entries, entry("a", "2026-01-02T00:00:00Z", "x.example.com"))
	s.put(entries, entry("b", "2026-01-01T00:00:00Z", "x.example.com"))
	s.put(entries, entry("c", "2026-01-02T00:00:00Z", "x.example.com"))
	s.put(entries, entry("d", "2020-01-01T00:00:00Z", "mcp.bank.svc.cluster.local"))
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{}}`)
	f := following(t, s)
	f.ready()
	for host, want := range map[string]string{"x.example.com": "ServiceEntry bank/b", "mcp.bank.svc.cluster.local": "Service bank/mcp"} {
		if got := f.last().Declared[mesh.Host{Namespace: "bank", Hostname: host}].Object.String(); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	want := []string{
		"ServiceEntry bank/a: the host x.example.com is that of ServiceEntry bank/b",
		"ServiceEntry bank/c: the host x.example.com is that of ServiceEntry bank/b",
		"ServiceEntry bank/d: the host mcp.bank.svc.cluster.local is that of Service bank/mcp",
	}
	if got := f.source.Status().Shadowed; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	s.remove(entries, "bank/b")
	f.until("the next in age and name", func(c *config.Cluster) bool {
		return c.Declared[mesh.Host{Namespace: "bank", Hostname: "x.example.com"}].Object.Name == "a"
	})
	if got := f.log.count("an object has no effect"); got != 4 {
		t.Errorf("said %d times\n%s", got, f.log)
	}
}

func TestGateway(t *testing.T) {
	s := start(t)
	f := following(t, s)
	f.ready()
	if got := f.last().Gateway; got.Found || got.Namespace != "bank" || got.Name != "agents" {
		t.Errorf("got %+v", got)
	}
	s.put(gateways, `{"metadata":{"namespace":"bank","name":"other"},"status":{"addresses":[{"type":"IPAddress","value":"10.0.0.9"}]}}`)
	s.put(gateways, `{"metadata":{"namespace":"bank","name":"agents"},"spec":{}}`)
	got := f.until("the Gateway", func(c *config.Cluster) bool { return c.Gateway.Found }).Gateway
	if len(got.Hosts)+len(got.Addresses) != 0 {
		t.Errorf("got %+v", got)
	}
	s.put(gateways, `{"metadata":{"namespace":"bank","name":"agents"},"status":{"addresses":[{"value":"10.0.0.1"},{"type":"IPAddress","value":"10.0.0.2"},
		{"type":"IPAddress","value":"x"},{"type":"Hostname","value":"agents.bank.svc.cluster.local"},{"type":"Hostname","value":""},"x",{"type":"NamedAddress","value":"n"},{"type":"IPAddress","value":"::ffff:10.0.0.3"}]}}`)
	got = f.until("the addresses", func(c *config.Cluster) bool { return len(c.Gateway.Hosts) > 0 }).Gateway
	want := config.ClusterGateway{
		Namespace: "bank", Name: "agents", Found: true, Hosts: []string{"agents.bank.svc.cluster.local"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	s.remove(gateways, "bank/agents")
	f.until("no Gateway", func(c *config.Cluster) bool { return !c.Gateway.Found })
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		parent string
		ours   bool
	}{
		{`{"group":"","kind":"Service","name":"mcp"}`, true},
		{`{"group":"networking.istio.io","kind":"ServiceEntry","name":"e"}`, true},
		{`{"kind":"Service","name":"mcp"}`, false}, // the group defaults to Gateway API's
		{`{"name":"agents"}`, true},
		{`{"name":"agents","namespace":"other"}`, false},
		{`{"name":"ingress"}`, false},
	} {
		for _, resource := range []string{"httproutes", "grpcroutes", "tcproutes", "tlsroutes"} {
			s := start(t)
			s.put("gateway.networking.k8s.io/v1/"+resource, `{"metadata":{"namespace":"bank","name":"r"},"spec":{"parentRefs":[`+c.parent+`]}}`)
			f := following(t, s)
			f.ready()
			if got := len(f.source.Status().NotCarriedOut) == 1; got != c.ours {
				t.Errorf("%s %s: got %v", resource, c.parent, got)
			}
			if got := f.log.count("a route is not carried out by this version") == 1; got != c.ours {
				t.Errorf("%s %s: said %v\n%s", resource, c.parent, got, f.log)
			}
		}
	}
}
