package ruleset_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/ruleset"
)

const example = "../../examples/company-mcp"

// service is the example's, as its destination names it.
var service = call.Service{Namespace: "bank", Name: "company-mcp", Hostname: "company-mcp.bank.svc.cluster.local", Port: 3000}

func load(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, problems := config.Load(dir)
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	return c
}

func build(t *testing.T, c *config.Config, sink *bytes.Buffer, domains ...string) *ruleset.Ruleset {
	t.Helper()
	d := ruleset.Deps{Audit: audit.New(sink, audit.Options{}), Now: func() time.Time { return time.Unix(1, 0) }}
	for _, name := range domains {
		d.TrustDomains = append(d.TrustDomains, identity.RequireTrustDomain(name))
	}
	r, err := ruleset.Build(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func toolCall(caller, tool string) *call.Call {
	return &call.Call{
		ID: "1", Protocol: call.MCP, Direction: call.ToServer, Method: "tools/call", Intent: call.Use,
		Target: call.Target{Kind: call.Tool, Name: tool}, Principal: identity.RequireID(caller),
		Route: call.Route{Name: service.String(), Service: service},
	}
}

func TestPipelineJudgesAndRecords(t *testing.T) {
	var sink bytes.Buffer
	r := build(t, load(t, example), &sink, "cluster.local")
	p := r.Pipeline(service)
	if got, want := p.Stages(), []string{"audit", "authz", "urls"}; !slices.Equal(got, want) {
		t.Errorf("got the stages %v, want %v", got, want)
	}
	if p.Generation() != r.Generation() || r.Generation() == "" {
		t.Errorf("got generation %q of the pipeline, %q of the rules", p.Generation(), r.Generation())
	}
	for _, tt := range []struct{ account, tool, want string }{
		{"teller-agent", "read_account", "pass  "},
		{"intern-agent", "read_account", "pass  "},
		{"intern-agent", "update_limit", "deny  "},
		{"teller-agent", "export_all", "deny bank/bulk-export rules[0]"},
		{"nobody", "read_account", "deny  "},
	} {
		c := toolCall("spiffe://cluster.local/ns/agents/sa/"+tt.account, tt.tool)
		o := p.Inspect(t.Context(), c)
		p.Observe(t.Context(), o)
		if got := fmt.Sprintf("%s %s %s", o.Verdict.Action, o.Verdict.Policy, o.Verdict.Rule); got != tt.want {
			t.Errorf("%s calls %s: got %q, want %q", tt.account, tt.tool, got, tt.want)
		}
	}
	if got := bytes.Count(sink.Bytes(), []byte("\n")); got != 5 {
		t.Errorf("got %d records, want 5", got)
	}
}

// Ports share the pipeline of their service.
func TestPipelineOfAnotherPort(t *testing.T) {
	r := build(t, load(t, example), &bytes.Buffer{}, "cluster.local")
	other := service
	other.Port = 1
	if r.Pipeline(other) != r.Pipeline(service) {
		t.Error("another port has another pipeline")
	}
}

// What is not behind the waypoint is denied, and a call that is under way when its service goes away is denied then.
func TestDetachedIsDenied(t *testing.T) {
	var sink bytes.Buffer
	before := build(t, load(t, example), &sink, "cluster.local")
	o := before.Pipeline(service).Inspect(t.Context(), toolCall("spiffe://cluster.local/ns/agents/sa/teller-agent", "read_account"))
	if !o.Allowed() {
		t.Fatalf("got %v, want the call to pass", o.Verdict)
	}
	after := build(t, load(t, without(t, "company-mcp.yaml", "istio.io/use-waypoint: agents", "istio.io/use-waypoint: none")), &sink, "cluster.local")
	p := after.Pipeline(service)
	if p.Recheck(context.Background(), o) {
		t.Error("the call may go on although its service is gone")
	}
	want := policy.Verdict{
		Action: policy.Deny, Code: call.EntitlementDenied,
		Reason: "bank/company-mcp (company-mcp.bank.svc.cluster.local) is not behind this waypoint",
	}
	if got := o.Verdict; fmt.Sprint(got) != fmt.Sprint(want) || o.Stage != "attachment" {
		t.Errorf("got %v by %s, want %v by attachment", got, o.Stage, want)
	}
	if got, want := p.Stages(), []string{"audit", "attachment"}; !slices.Equal(got, want) {
		t.Errorf("got the stages %v, want %v", got, want)
	}
}

// changed is the example with one line changed.
func changed(t *testing.T, name, old, new string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", name, old)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// without is the example with one line changed, and without the policies that could not apply to it any more.
func without(t *testing.T, name, old, new string) string {
	t.Helper()
	dir := changed(t, name, old, new)
	if err := os.Remove(filepath.Join(dir, "policies.yaml")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Backends are expected in the waypoint's own trust domain, the first one.
func TestTrustDomain(t *testing.T) {
	r := build(t, load(t, example), &bytes.Buffer{}, "corp.example", "old.example")
	d, err := r.View().Resolve("10.96.0.10:3000")
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Pick()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Identities, []identity.ID{identity.RequireID("spiffe://corp.example/ns/bank/sa/company-mcp")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A server may send people to the hosts that its object lists, and authz comes first: what a policy forbids is not looked at.
func TestURLHosts(t *testing.T) {
	dir := changed(t, "company-mcp.yaml", "waymark.dev/protocol: mcp", "waymark.dev/protocol: mcp\n    waymark.dev/url-hosts: login.example.com")
	for _, tt := range []struct {
		dir, params, want string
	}{
		{example, `{"mode":"url","url":"https://any.example/"}`, "pass "},
		{example, `{"mode":"url","url":"http://any.example/"}`, "deny urls"},
		{dir, `{"mode":"url","url":"https://login.example.com/"}`, "pass "},
		{dir, `{"mode":"url","url":"https://any.example/"}`, "deny urls"},
	} {
		p := build(t, load(t, tt.dir), &bytes.Buffer{}, "cluster.local").Pipeline(service)
		c := toolCall("spiffe://cluster.local/ns/agents/sa/teller-agent", "read_account")
		c.Direction, c.Method, c.Target, c.Arguments = call.ToClient, "elicitation/create", call.Target{}, []byte(tt.params)
		o := p.Inspect(t.Context(), c)
		if got := fmt.Sprintf("%s %s", o.Verdict.Action, o.Stage); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.params, got, tt.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	r := build(t, load(t, example), &bytes.Buffer{}, "cluster.local")
	where := []string{"bank/company-mcp (company-mcp.bank.svc.cluster.local)"}
	want := []ruleset.Attachment{
		{Policy: "bank/tellers", Action: "ALLOW", Services: where},
		{Policy: "bank/interns", Action: "ALLOW", Services: where},
		{Policy: "bank/bulk-export", Action: "DENY", Services: where},
	}
	if got := r.Policies(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := r.Attached(); len(got) != 1 || got[0].Service.Hostname != service.Hostname {
		t.Errorf("got %v, want the one service", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	c := load(t, example)
	stage := audit.New(&bytes.Buffer{}, audit.Options{})
	domains := []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")}
	broken := *c
	broken.Services = slices.Clone(c.Services)
	broken.Services[0].Labels = map[string]string{"istio.io/use-waypoint": "other"}
	astray := *c
	astray.Services = slices.Clone(c.Services)
	astray.Services[0].Annotations = map[string]string{"waymark.dev/url-hosts": "10.0.0.1"}
	for _, tt := range []struct {
		config *config.Config
		deps   ruleset.Deps
		want   string
	}{
		{c, ruleset.Deps{Audit: stage}, "ruleset: no trust domain: identities could not be told apart"},
		{c, ruleset.Deps{TrustDomains: domains}, "ruleset: no audit stage: decisions would leave no record"},
		{&broken, ruleset.Deps{Audit: stage, TrustDomains: domains}, "ruleset: ServiceEntry bank/company-mcp: metadata.labels[istio.io/use-waypoint]: " +
			"names the waypoint bank/other, but this directory is for bank/agents"},
		{&astray, ruleset.Deps{Audit: stage, TrustDomains: domains}, "ruleset: ServiceEntry bank/company-mcp: annotation waymark.dev/url-hosts: " +
			`"10.0.0.1" is not host, *.domain, host:port or http://host:port: its host is an IP address`},
	} {
		r, err := ruleset.Build(tt.config, tt.deps)
		if r != nil || err == nil || err.Error() != tt.want {
			t.Errorf("got %v, %v, want %s", r, err, tt.want)
		}
	}
}
