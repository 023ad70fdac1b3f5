package crds_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// edit changes one thing in the base object of its kind, and says what the server makes of it.
type edit struct {
	path  string // of what is changed: spec.rules[0].name
	value string // what is put there, as JSON; nothing takes it away
	field string // the field that the refusal names; "" for one that is accepted
	text  string // what the refusal says of it
}

// testObjects creates every base object, and every one with an edit. Nothing is kept.
func (s *server) testObjects(t *testing.T) {
	base := s.base(t)
	accepted, refused := 0, 0
	for _, k := range kinds {
		edits, ok := edits()[k.name]
		if !ok || base[k.name] == nil {
			t.Errorf("%s has no cases or no base object", k.name)
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			s.must(t, http.MethodPost, k.path()+"?dryRun=All&fieldValidation=Strict", asJSON, base[k.name])
			accepted++
			for _, e := range slices.Concat(edits, everywhere(base[k.name])) {
				t.Run(e.path+" "+short(e.value), func(t *testing.T) { s.testEdit(t, k, base[k.name], e) })
				if e.field == "" {
					accepted++
				} else {
					refused++
				}
			}
		})
	}
	t.Logf("figures: %d objects: %d accepted, %d refused", accepted+refused, accepted, refused)
	if accepted+refused < 120 || refused < 100 {
		t.Errorf("the cases have become fewer")
	}
}

func (s *server) testEdit(t *testing.T, k kind, base map[string]any, e edit) {
	object := clone(t, base)
	if e.value == "" {
		set(t, object, e.path, nil, true)
	} else {
		var v any
		if err := json.Unmarshal([]byte(e.value), &v); err != nil {
			t.Fatalf("%s: %v", e.value, err)
		}
		set(t, object, e.path, v, false)
	}
	_, r := s.put(t, http.MethodPost, k.path()+"?dryRun=All&fieldValidation=Strict", asJSON, object)
	if why := compile(t, object); k.name == v1alpha1.KindAgentAuthorizationPolicy && e.path != "spec" && (r == nil) != (why == "") {
		t.Errorf("the server and the waypoint disagree: %+v, %q", r, why)
	}
	switch {
	case r == nil && e.field != "":
		t.Errorf("is accepted, want it refused for %s: %s", e.field, e.text)
	case r != nil && e.field == "":
		t.Errorf("is refused: %s", r.Message)
	case r != nil && (!strings.Contains(r.Message, e.field) || !strings.Contains(r.Message, e.text)):
		t.Errorf("is refused with\n%s\nwant %s: %s", r.Message, e.field, e.text)
	case r != nil && r.Details.Causes != nil && !slices.Equal(r.fields(), []string{e.field}):
		t.Errorf("is refused for %q, want %q alone:\n%s", r.fields(), e.field, r.Message)
	}
}

// compile says what the waypoint has against a policy: the same YAML has to work in a cluster and on a laptop.
func compile(t *testing.T, object map[string]any) string {
	t.Helper()
	p := &v1alpha1.AgentAuthorizationPolicy{}
	if object["kind"] != v1alpha1.KindAgentAuthorizationPolicy {
		return ""
	}
	if err := json.Unmarshal([]byte(encoded(t, object)), p, json.RejectUnknownMembers(true)); err != nil {
		return err.Error()
	}
	if _, problems := authz.Compile(p, identity.RequireTrustDomain("cluster.local")); len(problems) > 0 {
		return problems[0].String()
	}
	return ""
}

// everywhere are the edits that every kind refuses, and every kind that has targets.
func everywhere(base map[string]any) []edit {
	edits := []edit{
		{"spec.colour", `"green"`, "spec.colour", "unknown field"},
		{"spec", ``, "spec", "Required value"},
		{"spec", `null`, "spec", "Required value"},
		{"status", `{"conditions":[],"colour":1}`, "status.colour", "unknown field"},
	}
	if base["spec"].(map[string]any)["targetRefs"] == nil {
		return edits
	}
	return append(edits, []edit{
		{"spec.targetRefs", `[]`, "spec.targetRefs", "should have at least 1 items"},
		{"spec.targetRefs", list(17, `{"kind":"Service","name":"x%d"}`), "spec.targetRefs", "must have at most 16 items"},
		{"spec.targetRefs[0].kind", `"Pod"`, "spec.targetRefs[0].kind", `supported values: "Service", "ServiceEntry", "Gateway"`},
		{"spec.targetRefs[0].name", ``, "spec.targetRefs[0].name", "Required value"},
		{"spec.targetRefs[0].name", `""`, "spec.targetRefs[0].name", "at least 1 chars"},
		{"spec.targetRefs[0].group", `"apps"`, "spec.targetRefs[0].group", "group must be empty for a Service"},
		{"spec.targetRefs[0].namespace", `"other"`, "spec.targetRefs[0].namespace", "unknown field"},
		{"spec.targetRefs[0]", `{"kind":"Gateway","name":"agents"}`, "spec.targetRefs[0].group", "gateway.networking.k8s.io for a Gateway"},
		{"spec.targetRefs[0]", `{"kind":"ServiceEntry","group":"networking.istio.io","name":"x"}`, "", ""},
		{"spec.targetRefs[0]", `{"kind":"Service","group":"","name":"x"}`, "", ""},
	}...)
}

// base reads the base objects as kubectl does, without the server's defaults.
func (s *server) base(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := s.show(t, "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "testdata/base.yaml")
	base := map[string]map[string]any{}
	for d := jsontext.NewDecoder(strings.NewReader(out)); ; {
		var o map[string]any
		switch err := json.UnmarshalDecode(d, &o); {
		case errors.Is(err, io.EOF):
			return base
		case err != nil:
			t.Fatal(err)
		}
		base[o["kind"].(string)] = o
	}
}

var step = regexp.MustCompile(`^([A-Za-z]+)((?:\[[0-9]+\])*)$`)

// set puts a value at a path, or takes away what is there.
func set(t *testing.T, object map[string]any, path string, v any, remove bool) {
	t.Helper()
	var at any = object
	var keys []any
	for part := range strings.SplitSeq(path, ".") {
		m := step.FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("%q is no path", path)
		}
		keys = append(keys, m[1])
		for i := range strings.SplitSeq(strings.Trim(m[2], "[]"), "][") {
			if n, err := strconv.Atoi(i); err == nil {
				keys = append(keys, n)
			}
		}
	}
	for i, k := range keys {
		last := i == len(keys)-1
		switch at := at.(type) {
		case []any:
			if n := k.(int); last {
				at[n] = v
				return
			}
		case map[string]any:
			name := k.(string)
			if _, there := at[name]; last && remove && !there {
				t.Fatalf("%s is not there", path)
			}
			if last && remove {
				delete(at, name)
				return
			}
			if last {
				at[name] = v
				return
			}
		}
		if at = child(at, k); at == nil {
			t.Fatalf("%s leads nowhere at %v", path, k)
		}
	}
}

func child(at, key any) any {
	switch at := at.(type) {
	case []any:
		return at[key.(int)]
	case map[string]any:
		return at[key.(string)]
	}
	return nil
}

func clone(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// list is n elements as JSON; a verb in the element is for its number.
func list(n int, element string) string {
	elements := make([]string, n)
	for i := range elements {
		if elements[i] = element; strings.Contains(element, "%") {
			elements[i] = fmt.Sprintf(element, i)
		}
	}
	return "[" + strings.Join(elements, ",") + "]"
}

// long is a text of n characters as JSON.
func long(n int) string { return `"` + strings.Repeat("x", n) + `"` }

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
