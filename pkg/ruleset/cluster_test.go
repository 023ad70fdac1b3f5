package ruleset_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/ruleset"
)

// land is a view of the mesh that tests change.
type land struct {
	mu       sync.Mutex
	attached map[call.Service]mesh.Attached
}

func (l *land) Resolve(string) (*mesh.Destination, error) { return nil, mesh.ErrNotAttached }
func (l *land) Version() uint64                           { return 1 }
func (l *land) Find(s call.Service) (mesh.Attached, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Port = 0
	a, ok := l.attached[s]
	return a, ok
}

func (l *land) attach(a mesh.Attached) call.Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attached[a.Service] = a
	return a.Service
}

func kubeService(namespace, name string) mesh.Attached {
	return mesh.Attached{
		Object:  mesh.Ref{Kind: "Service", Namespace: namespace, Name: name},
		Service: call.Service{Namespace: namespace, Name: name, Hostname: name + "." + namespace + ".svc.cluster.local"},
	}
}

// object is a policy whose one rule is about a tool; without a tool it has no rules.
func object(namespace, name string, action v1alpha1.Action, tool string, refs ...v1alpha1.TargetRef) config.Policy {
	p := &v1alpha1.AgentAuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name), Generation: 1}}
	p.Spec.Action, p.Spec.TargetRefs = action, refs
	if tool != "" {
		p.Spec.Rules = []v1alpha1.Rule{{To: []v1alpha1.To{{Operation: v1alpha1.Operation{Tools: []string{tool}}}}}}
	}
	return config.Policy{Object: p}
}

func broken(p config.Policy) config.Policy {
	p.Object.Spec.Rules = []v1alpha1.Rule{{When: []v1alpha1.Condition{{CEL: "no such variable"}}}}
	return p
}

func target(kind, name string) v1alpha1.TargetRef {
	groups := map[string]string{"ServiceEntry": "networking.istio.io", "Gateway": "gateway.networking.k8s.io"}
	return v1alpha1.TargetRef{Group: groups[kind], Kind: kind, Name: name}
}

func assemble(t *testing.T, l *land, before *ruleset.Cluster, c config.Cluster) *ruleset.Cluster {
	t.Helper()
	c.Gateway = config.ClusterGateway{Namespace: "agents-system", Name: "agents", Found: true}
	r, err := ruleset.Assemble(&c, l, ruleset.Deps{
		Audit: audit.New(&bytes.Buffer{}, audit.Options{}), Now: func() time.Time { return time.Unix(1, 0) },
		TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")},
	}, before)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// judged is what the rules say of a tool call, in words.
func judged(t *testing.T, r *ruleset.Cluster, s call.Service, tool string) string {
	t.Helper()
	c := toolCall("spiffe://cluster.local/ns/agents/sa/teller-agent", tool)
	c.Route = call.Route{Name: s.String(), Service: s}
	o := r.Pipeline(s).Inspect(t.Context(), c)
	if o.Allowed() {
		return "pass"
	}
	return fmt.Sprintf("%s %s %s", o.Verdict.Code, o.Verdict.Policy, o.Verdict.Reason)
}

// Whose policies count for what: by target, by namespace, by gateway, mesh-wide.
func TestClusterScope(t *testing.T) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	mcp, other := l.attach(kubeService("bank", "mcp")), l.attach(kubeService("bank", "other"))
	shop := l.attach(kubeService("shop", "mcp"))
	entry := kubeService("bank", "entry")
	entry.Object = mesh.Ref{Kind: "ServiceEntry", Namespace: "bank", Name: "partner"}
	partner := l.attach(entry)
	pod := l.attach(mesh.Attached{Object: mesh.Ref{Kind: "Pod", Namespace: "bank", Name: "mcp-0"}, Service: call.Service{Namespace: "bank", Name: "mcp-0"}})
	all := []call.Service{mcp, other, shop, partner, pod}
	for _, tt := range []struct {
		name    string
		policy  config.Policy
		refused []call.Service
	}{
		{"a Service", object("bank", "p", v1alpha1.Deny, "t", target("Service", "mcp")), []call.Service{mcp}},
		{"a Service of another namespace", object("shop", "p", v1alpha1.Deny, "t", target("Service", "other")), nil},
		{"a Service by the name of an entry's host", object("bank", "p", v1alpha1.Deny, "t", target("Service", "entry")), []call.Service{partner}},
		{"a ServiceEntry", object("bank", "p", v1alpha1.Deny, "t", target("ServiceEntry", "partner")), []call.Service{partner}},
		{"the Gateway", object("agents-system", "p", v1alpha1.Deny, "t", target("Gateway", "agents")), all},
		{"a Gateway of that name elsewhere", object("bank", "p", v1alpha1.Deny, "t", target("Gateway", "agents")), nil},
		{"a namespace", object("bank", "p", v1alpha1.Deny, "t"), []call.Service{mcp, other, partner, pod}},
		{"the waypoint's namespace", object("agents-system", "p", v1alpha1.Deny, "t"), all},
		{"the root namespace", object("istio-system", "p", v1alpha1.Deny, "t"), all},
		{"nobody's namespace", object("elsewhere", "p", v1alpha1.Deny, "t"), nil},
	} {
		r := assemble(t, l, nil, config.Cluster{Policies: []config.Policy{tt.policy}})
		for _, s := range all {
			want := "pass"
			if slices.Contains(tt.refused, s) {
				want = "entitlement_denied " + tt.policy.Object.Namespace + "/p a DENY rule matches"
			}
			if got := judged(t, r, s, "t"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: a call to %s: got %q, want %q", tt.name, s, got, want)
			}
		}
	}
}

// A bad object takes down nothing but what it restricts.
func TestClusterFailsClosed(t *testing.T) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	mcp, other := l.attach(kubeService("bank", "mcp")), l.attach(kubeService("bank", "other"))
	faulty := kubeService("bank", "faulty")
	faulty.Faults = []mesh.Fault{{Field: "metadata.annotations[waymark.dev/mode]", Text: `"strict" is not a mode`}}
	unreadable := l.attach(faulty)
	hosts := kubeService("bank", "hosts")
	hosts.URLHosts = []string{"not a host"}
	astray := l.attach(hosts)
	only := target("Service", "mcp")
	audited := broken(object("bank", "p", v1alpha1.Audit, "", only))
	dry := broken(object("bank", "p", v1alpha1.Deny, "", only))
	dry.Object.Annotations = map[string]string{v1alpha1.DryRunAnnotation: "true"}
	half := object("bank", "p", v1alpha1.Deny, "t", only)
	half.Object.Annotations = map[string]string{v1alpha1.DryRunAnnotation: "yes"}
	undecoded := object("bank", "p", v1alpha1.Deny, "", only)
	undecoded.Problem = "spec.rules: must be a list"
	blind := undecoded
	blind.Object, blind.Blind = undecoded.Object.DeepCopy(), true
	const cel = `spec.rules[0].when[0].cel: `
	for _, tt := range []struct {
		name       string
		cluster    config.Cluster
		mcp, other string // how the answer begins
		problems   int
	}{
		{name: "DENY with a mistake", cluster: config.Cluster{Policies: []config.Policy{broken(object("bank", "p", v1alpha1.Deny, "", only))}},
			mcp: "policy_error bank/p the policy cannot be used: " + cel, other: "pass", problems: 1},
		{name: "REQUIRE_APPROVAL with a mistake", cluster: config.Cluster{Policies: []config.Policy{broken(object("bank", "p", v1alpha1.RequireApproval, "", only))}},
			mcp: "policy_error bank/p the policy cannot be used: " + cel, other: "pass", problems: 1},
		{name: "ALLOW with a mistake", cluster: config.Cluster{Policies: []config.Policy{broken(object("bank", "p", v1alpha1.Allow, "", only))}},
			mcp: "entitlement_denied  no ALLOW rule matched ", other: "pass", problems: 1},
		{name: "ALLOW with a mistake beside a good one", cluster: config.Cluster{Policies: []config.Policy{
			broken(object("bank", "p", v1alpha1.Allow, "", only)), object("bank", "good", v1alpha1.Allow, "t", only)}},
			mcp: "pass", other: "pass", problems: 1},
		{name: "AUDIT with a mistake", cluster: config.Cluster{Policies: []config.Policy{audited}}, mcp: "pass", other: "pass", problems: 1},
		{name: "dry run with a mistake", cluster: config.Cluster{Policies: []config.Policy{dry}}, mcp: "pass", other: "pass", problems: 1},
		{name: "not quite a dry run", cluster: config.Cluster{Policies: []config.Policy{half}},
			mcp: "policy_error bank/p the policy cannot be used: metadata.annotations", other: "pass", problems: 1},
		{name: "not decoded", cluster: config.Cluster{Policies: []config.Policy{undecoded}},
			mcp: "policy_error bank/p the policy cannot be used: spec.rules: must be a list", other: "pass", problems: 1},
		{name: "not decoded, targets neither", cluster: config.Cluster{Policies: []config.Policy{blind}},
			mcp:   "policy_error bank/p the policy cannot be used: spec.rules: must be a list",
			other: "policy_error bank/p the policy cannot be used: spec.rules: must be a list", problems: 1},
		{name: "a kind that is not carried out", cluster: config.Cluster{Unenforced: []config.Unenforced{
			{Kind: "AgentGuard", Namespace: "bank", Name: "pii", TargetRefs: []v1alpha1.TargetRef{only}}}},
			mcp: "policy_error bank/pii AgentGuard is not carried out by this version", other: "pass", problems: 1},
	} {
		r := assemble(t, l, nil, tt.cluster)
		for _, call := range []struct {
			service call.Service
			want    string
		}{{mcp, tt.mcp}, {other, tt.other}} {
			if got := judged(t, r, call.service, "t"); !strings.HasPrefix(got, call.want) {
				t.Errorf("%s: a call to %s: got %q, want %q", tt.name, call.service, got, call.want)
			}
		}
		if got := r.Problems(); len(got) != tt.problems {
			t.Errorf("%s: got the problems %q, want %d", tt.name, got, tt.problems)
		}
	}
	r := assemble(t, l, nil, config.Cluster{})
	if got, want := judged(t, r, unreadable, "t"), `policy_error  Service bank/faulty: metadata.annotations[waymark.dev/mode]: "strict" is not a mode`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := judged(t, r, astray, "t"), "policy_error  Service bank/hosts: metadata.annotations[waymark.dev/url-hosts]: "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	if got, want := judged(t, r, call.Service{Namespace: "bank", Name: "gone"}, "t"), "entitlement_denied  bank/gone is not behind this waypoint"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A pipeline is made once, again when what it was made for changes, and shared by the workloads of a namespace.
func TestClusterPipelines(t *testing.T) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	a := kubeService("bank", "mcp")
	mcp := l.attach(a)
	pod := func(name string) call.Service {
		return l.attach(mesh.Attached{Object: mesh.Ref{Kind: "Pod", Namespace: "bank", Name: name}, Service: call.Service{Namespace: "bank", Name: name}})
	}
	r := assemble(t, l, nil, config.Cluster{})
	first := r.Pipeline(mcp)
	if r.Pipeline(mcp) != first {
		t.Error("the pipeline is made at every call")
	}
	if r.Pipeline(pod("mcp-0")) != r.Pipeline(pod("mcp-1")) {
		t.Error("each workload of a namespace has a pipeline of its own")
	}
	a.URLHosts = []string{"login.example.com"}
	l.attach(a)
	if r.Pipeline(mcp) == first {
		t.Error("the pipeline stays when the annotations of the service change")
	}
}

// A generation names what is in force: replicas agree on it, and every change of a policy makes another one.
func TestClusterGeneration(t *testing.T) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	p, q := object("bank", "p", v1alpha1.Deny, "t"), object("bank", "q", v1alpha1.Deny, "t")
	first := assemble(t, l, nil, config.Cluster{Policies: []config.Policy{p, q}})
	if got := assemble(t, l, first, config.Cluster{Policies: []config.Policy{q, p}}); got.Generation() != first.Generation() {
		t.Error("the order of the objects makes another generation")
	}
	narrowed := config.Policy{Object: p.Object.DeepCopy()} // the same number, as while a CRD changes
	narrowed.Object.Spec.Rules[0].To[0].Operation.Methods = []string{"tools/call"}
	unread := config.Policy{Object: p.Object, Problem: "spec.rules: must be a list"}
	edited := config.Policy{Object: p.Object.DeepCopy()}
	edited.Object.Generation = 2
	for _, c := range []config.Cluster{
		{}, {Policies: []config.Policy{p}}, {Policies: []config.Policy{edited, q}},
		{Policies: []config.Policy{narrowed, q}}, {Policies: []config.Policy{unread, q}},
		{Policies: []config.Policy{p, q}, Unenforced: []config.Unenforced{{Kind: "AgentGuard", Namespace: "bank", Name: "g"}}},
	} {
		if got := assemble(t, l, first, c); got.Generation() == first.Generation() {
			t.Errorf("%+v has the generation of other objects", c)
		}
	}
}
