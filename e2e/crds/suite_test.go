package crds_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCRDs is one test, so that the whole suite needs one server.
func TestCRDs(t *testing.T) {
	s := start(t)
	s.apply(t)
	t.Run("served", s.testServed)
	t.Run("found", s.testFound)
	t.Run("schemas", s.testSchemas)
	t.Run("reference", s.testReference)
	t.Run("examples", s.testExamples)
	t.Run("objects", s.testObjects)
	t.Run("defaults", s.testDefaults)
	t.Run("live", s.testLive)
	t.Run("types", s.testTypes)
	t.Run("immutable", s.testImmutable)
	t.Run("manifests", s.testManifests)
}

// apply installs what an operator installs, in the words of docs/kinds.md, beside the definitions of Gateway API.
func (s *server) apply(t *testing.T) {
	s.show(t, "apply", "--server-side", "-f", filepath.Join(s.programs, "crds", "gateway-api.yaml"))
	if out := s.show(t, "apply", "-k", filepath.Join(root, "manifests")); strings.Contains(out, "Warning") {
		t.Errorf("the manifests are applied with warnings:\n%s", out)
	}
	s.show(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	s.show(t, "create", "namespace", "bank")
}

// kind is one of ours, as its definition names it.
type kind struct{ name, plural, short string }

var kinds = []kind{
	{"AgentAuthentication", "agentauthentications", "aan"},
	{"AgentAudit", "agentaudits", "aaudit"},
	{"AgentAuthorizationPolicy", "agentauthorizationpolicies", "aap"},
	{"AgentGuard", "agentguards", "aguard"},
	{"AgentLimit", "agentlimits", "alimit"},
	{"ApprovalRequest", "approvalrequests", "areq"},
	{"Quarantine", "quarantines", "quar"},
	{"TokenExchange", "tokenexchanges", "tex"},
	{"ToolCatalog", "toolcatalogs", "tcat"},
}

func (k kind) path() string { return "/apis/waymark.dev/v1alpha1/namespaces/bank/" + k.plural }

func kindOf(t *testing.T, name string) kind {
	t.Helper()
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		t.Fatalf("there is no kind %q", name)
	}
	return kinds[i]
}

func (s *server) testServed(t *testing.T) {
	for _, k := range kinds {
		crd := s.get(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+k.plural+".waymark.dev")
		conditions := map[string]any{}
		for _, c := range crd["status"].(map[string]any)["conditions"].([]any) {
			c := c.(map[string]any)
			conditions[c["type"].(string)] = c["status"]
			if c["status"] != "True" {
				t.Errorf("%s: %v", k.name, c)
			}
		}
		if conditions["Established"] != "True" || conditions["NamesAccepted"] != "True" {
			t.Errorf("%s: has conditions %v", k.name, conditions)
		}
		if _, there := conditions["NonStructuralSchema"]; there {
			t.Errorf("%s: is not structural", k.name)
		}
		spec := crd["spec"].(map[string]any)
		version := spec["versions"].([]any)[0].(map[string]any)
		if spec["scope"] != "Namespaced" || len(spec["versions"].([]any)) != 1 || version["subresources"].(map[string]any)["status"] == nil {
			t.Errorf("%s: scope %v, %d versions, subresources %v", k.name, spec["scope"], len(spec["versions"].([]any)), version["subresources"])
		}
	}
	files, err := os.ReadDir(filepath.Join(root, "manifests", "crds"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	for _, k := range kinds {
		want = append(want, "waymark.dev_"+k.plural+".yaml")
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("manifests/crds has %q, want %q", got, want)
	}
}

func (s *server) testFound(t *testing.T) {
	out := s.show(t, "api-resources", "--api-group=waymark.dev", "--no-headers", "-o", "wide")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(kinds) {
		t.Errorf("%d kinds are served, want %d:\n%s", len(lines), len(kinds), out)
	}
	for _, line := range lines {
		f := strings.Fields(line)
		k := kindOf(t, f[4])
		if f[0] != k.plural || f[1] != k.short || f[3] != "true" || f[len(f)-1] != "waymark" {
			t.Errorf("%s is listed as %q, want short name %s and category waymark", k.name, line, k.short)
		}
		if out := s.show(t, "get", k.short, "-n", "bank"); out != "No resources found in bank namespace.\n" {
			t.Errorf("get %s: %s", k.short, out)
		}
	}
}
