package crds_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

// schema is a part of a definition's schema.
type schema struct {
	Type        string             `json:"type"`
	Format      string             `json:"format"`
	Description string             `json:"description"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
	Required    []string           `json:"required"`
	Enum        []any              `json:"enum"`
	Default     jsontext.Value     `json:"default"`
	MaxLength   *int               `json:"maxLength"`
	MaxItems    *int               `json:"maxItems"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	Additional  any                `json:"additionalProperties"`
	ListType    string             `json:"x-kubernetes-list-type"`
	IntOrString bool               `json:"x-kubernetes-int-or-string"`
	Anything    bool               `json:"x-kubernetes-preserve-unknown-fields"`
}

// schemaOf returns the schema of a kind, as the server serves it.
func (s *server) schemaOf(t *testing.T, k kind) *schema {
	t.Helper()
	status, body, err := s.send(t.Context(), http.MethodGet, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+k.plural+".waymark.dev", "", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v: %s", status, err, body)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema *schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// testSchemas walks through every field: each says what it is, and none can be of any size. Fields without a bound are what an
// API server cannot cost, and what a waypoint would have to hold in memory.
func (s *server) testSchemas(t *testing.T) {
	fields := 0
	for _, k := range kinds {
		all := s.schemaOf(t, k)
		for _, part := range []string{"spec", "status"} {
			all.Properties[part].walk(part, func(path string, f *schema) {
				fields++
				for _, fault := range f.faults(path) {
					t.Errorf("%s: %s: %s", k.name, path, fault)
				}
			})
		}
	}
	t.Logf("%d fields", fields)
}

func (f *schema) walk(path string, visit func(string, *schema)) {
	visit(path, f)
	for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
		f.Properties[name].walk(path+"."+name, visit)
	}
	if f.Items != nil {
		f.Items.walk(path+"[]", visit)
	}
}

func (f *schema) faults(path string) []string {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if f.Description == "" && !strings.HasSuffix(path, "[]") {
		add("has no description")
	}
	if f.Additional != nil {
		add("is a map of anything")
	}
	switch f.Type {
	case "string":
		if f.MaxLength == nil && f.Enum == nil && f.Format != "date-time" {
			add("has no maxLength")
		}
	case "array":
		if f.MaxItems == nil || f.ListType == "" {
			add("has no maxItems or no list type")
		}
	case "integer":
		foreign := strings.HasSuffix(path, ".observedGeneration") // of metav1.Condition
		if !foreign && (f.Minimum == nil || f.Maximum == nil) {
			add("has no minimum or no maximum")
		}
	case "object":
		if len(f.Properties) == 0 && !f.Anything && !strings.HasSuffix(path, ".stdout") {
			add("has no fields")
		}
	case "boolean":
	default:
		if !f.IntOrString {
			add("has type %q", f.Type)
		}
	}
	if f.Default != nil && !strings.Contains(f.Description, "Default") && !strings.Contains(f.Description, "default") && f.Type != "object" {
		add("has the default %s, and does not say so", f.Default)
	}
	return faults
}

// testTypes reads what the server has with the Go types, strictly, and writes it again: nothing is lost or called otherwise.
func (s *server) testTypes(t *testing.T) {
	types := map[string]any{
		"AgentAuthorizationPolicy": &v1alpha1.AgentAuthorizationPolicy{}, "AgentAuthentication": &v1alpha1.AgentAuthentication{},
		"TokenExchange": &v1alpha1.TokenExchange{}, "AgentGuard": &v1alpha1.AgentGuard{}, "AgentLimit": &v1alpha1.AgentLimit{},
		"ToolCatalog": &v1alpha1.ToolCatalog{}, "Quarantine": &v1alpha1.Quarantine{}, "ApprovalRequest": &v1alpha1.ApprovalRequest{},
		"AgentAudit": &v1alpha1.AgentAudit{},
	}
	for _, k := range kinds {
		stored := s.get(t, k.path()+"/base")
		want := encoded(t, stored)
		if err := json.Unmarshal([]byte(want), types[k.name], json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		again := decoded(t, encoded(t, types[k.name])).(map[string]any)
		if got := encoded(t, again["spec"]); got != encoded(t, numbers(stored["spec"])) {
			t.Errorf("%s\n got %s\nwant %s", k.name, got, encoded(t, numbers(stored["spec"])))
		}
		if got, want := encoded(t, again["status"]), encoded(t, stored["status"]); got != want {
			t.Errorf("%s\n got %s\nwant %s", k.name, got, want)
		}
	}
}

// numbers writes the bounds of arguments as texts, which is how v1alpha1.Decimal writes them.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			if n, ok := e.(float64); ok && v["pointer"] != nil {
				v[name] = fmt.Sprint(n)
			} else {
				v[name] = numbers(e)
			}
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}
