package v1alpha1_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

// Every field, as it is spelled in a file.
const everything = `{"kind":"AgentAuthorizationPolicy","apiVersion":"waymark.dev/v1alpha1","metadata":{"name":"p","namespace":"bank","annotations":{"istio.io/dry-run":"true"},"generation":1},` +
	`"spec":{"targetRefs":[{"group":"networking.istio.io","kind":"ServiceEntry","name":"s"}],"action":"DENY","rules":[{` +
	`"from":[{"source":{"principals":["a"],"notPrincipals":["a"],"namespaces":["a"],"notNamespaces":["a"],"serviceAccounts":["a"],"notServiceAccounts":["a"],"ipBlocks":["a"],"notIpBlocks":["a"]}}],` +
	`"to":[{"operation":{"protocols":["mcp"],"methods":["a"],"notMethods":["a"],"tools":["a"],"notTools":["a"],"resources":["a"],"notResources":["a"],"prompts":["a"],"notPrompts":["a"],` +
	`"hosts":["a"],"notHosts":["a"],"ports":["1"],"notPorts":["1"],"paths":["a"],"notPaths":["a"],` +
	`"arguments":[{"pointer":"/a","values":["a"],"notValues":["a"],"min":"1","max":"2.50","present":false}]}}],` +
	`"when":[{"key":"source.ip","values":["a"],"notValues":["a"]},{"cel":"true"}]}]}}`

func TestEveryFieldSurvives(t *testing.T) {
	var p v1alpha1.AgentAuthorizationPolicy
	if err := json.Unmarshal([]byte(everything), &p, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	want := jsontext.Value(everything)
	if err := want.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	if err := (*jsontext.Value)(&got).Canonicalize(); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{`500`: "500", `-1`: "-1", `"0.25"`: "0.25", `123456789012345678901234567890`: "123456789012345678901234567890", `"x"`: "x"} {
		var d v1alpha1.Decimal
		if err := json.Unmarshal([]byte(text), &d); err != nil || string(d) != want {
			t.Errorf("%s: got %q, %v, want %q", text, d, err, want)
		}
	}
	for _, text := range []string{`0.25`, `1e3`, `1E3`, `true`, `null`, `[1]`, `{}`} {
		d := v1alpha1.Decimal("before")
		err := json.Unmarshal([]byte(text), &d)
		if err == nil || !strings.Contains(err.Error(), `must be a whole number, or a decimal number in quotes such as "0.25"`) {
			t.Errorf("%s: got %q, %v, want an error", text, d, err)
		}
	}
}

func TestGroupVersion(t *testing.T) {
	if got := v1alpha1.GroupVersion().String(); got != "waymark.dev/v1alpha1" {
		t.Errorf("got %s", got)
	}
}
