package crds_test

import (
	"encoding/json/v2"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const create = "?fieldValidation=Strict"

// now is the time of what is written into a status.
func now() string { return time.Now().UTC().Format(time.RFC3339) }

// testDefaults creates the least that each kind accepts, and looks at what the server filled in.
func (s *server) testDefaults(t *testing.T) {
	tests := []struct{ kind, spec, want string }{
		{"AgentAuthorizationPolicy", `{}`, `{"action":"ALLOW"}`},
		{"AgentAuthentication", `{"issuers":[{"issuer":"i","audiences":["a"],"jwks":{"remote":{"endpoint":{"backendRef":{"name":"x","port":80}}}}}],"chain":{},"introspection":{"endpoint":{"url":"https://x.example"}},"externalAuthorization":{"backendRef":{"name":"opa","port":1}}}`,
			`{"mode":"Strict","token":"Forward","proofOfPossession":"IfPresent","issuers":[{"issuer":"i","audiences":["a"],"algorithms":["RS256","ES256"],"clockSkew":"10s",` +
				`"jwks":{"remote":{"endpoint":{"backendRef":{"kind":"Service","name":"x","port":80},"timeout":"5s"},"refreshInterval":"5m","maxStale":"1h"}}}],` +
				`"chain":{"match":"Exact","maxDepth":8,"transactionClaim":"txn","binding":{"type":"SPIFFEID"}},` +
				`"introspection":{"endpoint":{"url":"https://x.example","timeout":"5s"},"clientAuthentication":{"type":"MutualTLS"},"tokens":"Opaque","cacheFor":"30s"},` +
				`"externalAuthorization":{"backendRef":{"kind":"Service","name":"opa","port":1},"timeout":"1s","arguments":"None"}}`},
		{"TokenExchange", `{"exchange":{"endpoint":{"url":"https://x.example"},"audiences":["a"]}}`,
			`{"exchange":{"endpoint":{"url":"https://x.example","timeout":"5s"},"audiences":["a"],"clientAuthentication":{"type":"MutualTLS"},"subjectTokenType":"JWT","requestedTokenType":"AccessToken",` +
				`"actor":"Caller","onMissingToken":"Refuse","onFailure":"Refuse","header":{"name":"Authorization","prefix":"Bearer "},"cacheFor":"5m"}}`},
		{"TokenExchange", `{"grants":[{"name":"g","clients":["*"],"audiences":["a"]}]}`,
			`{"grants":[{"name":"g","clients":["*"],"audiences":["a"],"semantics":"Delegation","mayAct":"Required","maxDepth":8,"maxLifetime":"5m","perMinute":600}]}`},
		{"AgentGuard", `{"rules":[{"name":"a","surfaces":["Results"],"detectors":{"types":["JWT"]}},{"name":"b","surfaces":["Results"],"urls":{}},{"name":"c","surfaces":["Results"],"schema":{}},` +
			`{"name":"d","surfaces":["ToolDefinitions"],"pinning":{}},{"name":"e","surfaces":["Results"],"action":"Mask","mask":{},"webhook":{"endpoint":{"url":"https://x.example"}}}]}`,
			`{"rules":[{"name":"a","surfaces":["Results"],"action":"Reject","detectors":{"types":["JWT"],"confidence":"Medium"}},{"name":"b","surfaces":["Results"],"action":"Reject","urls":{"schemes":["https"]}},` +
				`{"name":"c","surfaces":["Results"],"action":"Reject","schema":{"source":"Catalog","onMissing":"Reject","unknownMembers":"Schema"}},` +
				`{"name":"d","surfaces":["ToolDefinitions"],"action":"Reject","pinning":{"source":"Catalog","onMissing":"Reject"}},` +
				`{"name":"e","surfaces":["Results"],"action":"Mask","mask":{"replacement":"[{type}]","keepLast":0},"webhook":{"endpoint":{"url":"https://x.example","timeout":"5s"},"onFailure":"Reject","maxBytes":1048576}}]}`},
		{"AgentLimit", `{"limits":[{"name":"a","turns":{"max":1}},{"name":"b","external":{"backendRef":{"name":"r","port":1},"domain":"d","descriptor":[{"key":"k","value":"'v'"}]}}]}`,
			`{"counting":"Waypoint","onFailure":"Replica","limits":[{"name":"a","action":"Reject","turns":{"max":1,"window":"1h"}},` +
				`{"name":"b","action":"Reject","external":{"backendRef":{"kind":"Service","name":"r","port":1},"domain":"d","descriptor":[{"key":"k","value":"'v'"}],"timeout":"100ms","onFailure":"Reject"}}]}`},
		{"ToolCatalog", `{"tools":[{"name":"a"}]}`, `{"tools":[{"name":"a"}]}`},
		{"Quarantine", `{"subject":{"tools":["a"]},"reason":"r","requestedBy":"ann"}`, `{"subject":{"tools":["a"]},"reason":"r","requestedBy":"ann"}`},
		{"ApprovalRequest", `{"call":{"protocol":"http","method":"GET","service":{"namespace":"n","name":"s","port":1}},"principal":"spiffe://t/p","policy":{"namespace":"n","name":"p"},"callID":"c","gateway":"g","expiresAt":"2030-01-01T00:00:00Z"}`,
			`{"call":{"protocol":"http","method":"GET","service":{"namespace":"n","name":"s","port":1}},"principal":"spiffe://t/p","policy":{"kind":"AgentAuthorizationPolicy","namespace":"n","name":"p"},"callID":"c","gateway":"g","expiresAt":"2030-01-01T00:00:00Z"}`},
		{"AgentAudit", `{"sinks":[{"name":"a","stdout":{}}],"fields":{}}`,
			`{"delivery":"BestEffort","sealing":"None","sinks":[{"name":"a","stdout":{},"queue":10000}],"fields":{"arguments":"Digest","results":"None"}}`},
	}
	for _, tt := range tests {
		k := kindOf(t, tt.kind)
		stored := s.must(t, http.MethodPost, k.path()+create+"&dryRun=All", asJSON, k.object("least", decoded(t, tt.spec)))
		if got, want := encoded(t, stored["spec"]), encoded(t, decoded(t, tt.want)); got != want {
			t.Errorf("%s\n got %s\nwant %s", tt.kind, got, want)
		}
	}
}

// columns are what kubectl prints of the base objects, once their status says that they are in use.
var columns = map[string][]string{
	"AgentAuthorizationPolicy": {"NAME ACTION TARGET ACCEPTED PROGRAMMED AGE", "base DENY company-mcp True False"},
	"AgentAuthentication":      {"NAME MODE ISSUER TARGET ACCEPTED PROGRAMMED AGE", "base Strict https://id.example.com company-mcp True False"},
	"TokenExchange":            {"NAME AUDIENCE FAILURE TARGET ACCEPTED PROGRAMMED AGE", "base company-mcp ForwardWithoutToken company-mcp True False"},
	"AgentGuard":               {"NAME RULE ACTION TARGET ACCEPTED PROGRAMMED AGE", "base personal-data Mask company-mcp True False"},
	"AgentLimit":               {"NAME LIMIT ACTION TARGET ACCEPTED PROGRAMMED AGE", "base calls Reject company-mcp True False"},
	"ToolCatalog":              {"NAME FIRST TOOL TARGET ACCEPTED PROGRAMMED AGE", "base transfer company-mcp True False"},
	"Quarantine":               {"NAME REASON BY EXPIRES TARGET ACCEPTED PROGRAMMED AGE", "base exports customer data to an address nobody knows ann@example.com 2030-01-01T00:00:00Z company-mcp True False"},
	"ApprovalRequest":          {"NAME TOOL CALLER STATE BY EXPIRES AGE", "base transfer spiffe://cluster.local/ns/agents/sa/coach Approved admin 2030-01-01T00:00:00Z"},
	"AgentAudit":               {"NAME DELIVERY SINK TARGET ACCEPTED PROGRAMMED AGE", "base BestEffort here company-mcp True False"},
}

// testLive keeps the base objects, and works with them as controllers and operators do.
func (s *server) testLive(t *testing.T) {
	base := s.base(t)
	for _, k := range kinds {
		object := clone(t, base[k.name])
		object["status"] = map[string]any{"conditions": []any{condition("Accepted", "False")}}
		stored := s.must(t, http.MethodPost, k.path()+create, asJSON, object)
		if stored["status"] != nil {
			t.Errorf("%s: whoever may create it may write its status: %v", k.name, stored["status"])
		}
		s.testStatus(t, k)
		out := s.show(t, "get", k.short, "-n", "bank")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		row := strings.Fields(lines[1])
		if got := strings.Join(strings.Fields(lines[0]), " "); got != columns[k.name][0] {
			t.Errorf("%s is shown under\n%s\nwant\n%s", k.name, got, columns[k.name][0])
		}
		if got := strings.Join(row[:len(row)-1], " "); got != columns[k.name][1] {
			t.Errorf("%s is shown as\n%s\nwant\n%s", k.name, got, columns[k.name][1])
		}
	}
	out := s.show(t, "get", "waymark", "-n", "bank", "-o", "name")
	got := strings.Fields(out)
	var want []string
	for _, k := range kinds {
		want = append(want, strings.ToLower(k.name)+".waymark.dev/base")
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("kubectl get waymark shows\n%q, want\n%q", got, want)
	}
}

// testStatus writes the status by its own way, and tries to change the spec by the same.
func (s *server) testStatus(t *testing.T, k kind) {
	t.Helper()
	at := k.path() + "/base"
	before := s.get(t, at)
	status := map[string]any{
		"conditions": []any{condition("Accepted", "True"), condition("Programmed", "False")},
		"ancestors": []any{map[string]any{
			"ancestorRef": map[string]any{"name": "agents"}, "controllerName": "waymark.dev/waypoint-controller",
			"conditions": []any{condition("Attached", "True")},
		}},
	}
	spec := `{"targetRefs":[{"kind":"Service","name":"another"}]}`
	if k.name == "ApprovalRequest" {
		status = map[string]any{"state": "Approved", "decidedBy": administrator, "decidedAt": now()}
		spec = `{"gateway":"another"}`
	}
	stored := s.must(t, http.MethodPatch, at+"/status"+create, asMerge, map[string]any{"status": status, "spec": decoded(t, spec)})
	if encoded(t, stored["spec"]) != encoded(t, before["spec"]) {
		t.Errorf("%s: the way to the status changes the spec", k.name)
	}
	if generation(stored) != generation(before) {
		t.Errorf("%s: the generation changes with the status", k.name)
	}
	if k.name == "ApprovalRequest" {
		return
	}
	ref := stored["status"].(map[string]any)["ancestors"].([]any)[0].(map[string]any)["ancestorRef"]
	if got, want := encoded(t, ref), `{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"agents"}`; got != want {
		t.Errorf("%s: ancestor %s, want %s", k.name, got, want)
	}
	for _, bad := range []struct{ status, field string }{
		{`{"ancestors":[{"ancestorRef":{"name":"x"},"controllerName":"no slash","conditions":[{"type":"Accepted","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}]}`, "status.ancestors[0].controllerName"},
		{`{"ancestors":[{"ancestorRef":{"name":"x"},"controllerName":"a.b/c","conditions":[]}]}`, "status.ancestors[0].conditions"},
		{`{"conditions":[{"type":"Accepted","status":"Maybe","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`, "status.conditions[0].status"},
	} {
		_, r := s.put(t, http.MethodPatch, at+"/status"+create, asMerge, map[string]any{"status": decoded(t, bad.status)})
		if r == nil || !slices.Equal(r.fields(), []string{bad.field}) {
			t.Errorf("%s: status %s: %+v, want it refused for %s", k.name, bad.status, r, bad.field)
		}
	}
}

// testImmutable tries to change what must not change, and to turn back decisions.
func (s *server) testImmutable(t *testing.T) {
	spec := func(k kind, patch, want string) {
		t.Helper()
		_, r := s.put(t, http.MethodPatch, k.path()+"/base"+create, asMerge, map[string]any{"spec": decoded(t, patch)})
		if (r == nil) != (want == "") || r != nil && !strings.Contains(r.Message, want) {
			t.Errorf("%s: %s: %+v, want %q", k.name, patch, r, want)
		}
	}
	spec(kindOf(t, "ApprovalRequest"), `{"call":{"target":"export_all"}}`, "spec cannot be changed: what was shown is what runs")
	spec(kindOf(t, "ApprovalRequest"), `{"expiresAt":"2040-01-01T00:00:00Z"}`, "spec cannot be changed")
	spec(kindOf(t, "ApprovalRequest"), `{"user":null}`, "spec cannot be changed")
	spec(kindOf(t, "Quarantine"), `{"requestedBy":"eve"}`, "requestedBy cannot be changed")
	spec(kindOf(t, "Quarantine"), `{"expiresAt":null}`, "")
	s.testDecisions(t)
}

// testDecisions walks through every pair of states.
func (s *server) testDecisions(t *testing.T) {
	k := kindOf(t, "ApprovalRequest")
	states := []string{"Pending", "Approved", "Refused", "Expired", "Spent"}
	allowed := map[string][]string{
		"Pending": {"Pending", "Approved", "Refused", "Expired"}, "Approved": {"Approved", "Spent", "Expired"},
		"Refused": {"Refused"}, "Expired": {"Expired"}, "Spent": {"Spent"},
	}
	spec := s.base(t)[k.name]["spec"]
	for from, to := range allowed {
		for _, next := range states {
			name := "from-" + strings.ToLower(from) + "-to-" + strings.ToLower(next)
			s.must(t, http.MethodPost, k.path()+create, asJSON, k.object(name, spec))
			at := k.path() + "/" + name + "/status" + create
			first := decision(from)
			s.must(t, http.MethodPatch, at, asMerge, map[string]any{"status": first})
			second := decision(next)
			maps.Copy(second, first) // who decided, and when, stays
			second["state"] = next
			_, r := s.put(t, http.MethodPatch, at, asMerge, map[string]any{"status": second})
			switch ok := slices.Contains(to, next); {
			case ok && r != nil:
				t.Errorf("%s: %s", name, r.Message)
			case !ok && (r == nil || !slices.Equal(r.fields(), []string{"status.state"})):
				t.Errorf("%s: %+v, want it refused for status.state", name, r)
			}
		}
	}
	at := k.path() + "/base/status" + create // is Approved, by the administrator
	for _, tt := range []struct{ status, field string }{
		{`null`, "status"},
		{`{"state":null}`, "status.state"},
		{`{"decidedBy":"eve"}`, "status.decidedBy"},
		{`{"decidedAt":"2020-01-01T00:00:00Z"}`, "status.decidedAt"},
		{`{"state":"Spent"}`, "status.spentAt"},
	} {
		_, r := s.put(t, http.MethodPatch, at, asMerge, map[string]any{"status": decoded(t, tt.status)})
		if r == nil || !slices.Equal(r.fields(), []string{tt.field}) {
			t.Errorf("status %s: %+v, want it refused for %s", tt.status, r, tt.field)
		}
	}
	s.must(t, http.MethodPost, k.path()+create, asJSON, k.object("undecided", spec))
	eve := map[string]any{"state": "Approved", "decidedBy": "eve", "decidedAt": now()}
	deadline := time.Now().Add(20 * time.Second) // the server takes an admission policy into use when it comes to it
	for {
		_, r := s.put(t, http.MethodPatch, k.path()+"/undecided/status"+create+"&dryRun=All", asMerge, map[string]any{"status": eve})
		if r != nil && strings.Contains(r.Message, "status.decidedBy has to be who decides: "+administrator) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a decision in another's name: %+v, want it refused", r)
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, r := s.put(t, http.MethodPatch, k.path()+"/undecided/status"+create, asMerge, map[string]any{"status": map[string]any{"state": "Approved"}})
	if r == nil || !slices.Equal(r.fields(), []string{"status.decidedBy"}) {
		t.Errorf("an approval by nobody: %+v, want it refused for status.decidedBy", r)
	}
}

// decision is a status that may stand by itself.
func decision(state string) map[string]any {
	d := map[string]any{"state": state, "decidedBy": administrator, "decidedAt": now()}
	if state == "Spent" {
		d["spentAt"] = now()
	}
	return d
}

func condition(kind, status string) map[string]any {
	return map[string]any{"type": kind, "status": status, "reason": kind, "message": "", "lastTransitionTime": now(), "observedGeneration": 1}
}

func generation(object map[string]any) any { return object["metadata"].(map[string]any)["generation"] }

func (k kind) object(name string, spec any) map[string]any {
	return map[string]any{
		"apiVersion": "waymark.dev/v1alpha1", "kind": k.name, "metadata": map[string]any{"name": name, "namespace": "bank"}, "spec": spec,
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
