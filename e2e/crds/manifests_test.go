package crds_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// may lists what a waypoint reads, in every namespace.
var may = strings.Fields(`
	agentaudits.waymark.dev agentauthentications.waymark.dev agentauthorizationpolicies.waymark.dev agentguards.waymark.dev
	agentlimits.waymark.dev approvalrequests.waymark.dev quarantines.waymark.dev tokenexchanges.waymark.dev
	toolcatalogs.waymark.dev services serviceentries.networking.istio.io destinationrules.networking.istio.io
	authorizationpolicies.security.istio.io requestauthentications.security.istio.io telemetries.telemetry.istio.io
	gateways.gateway.networking.k8s.io httproutes.gateway.networking.k8s.io grpcroutes.gateway.networking.k8s.io
	tcproutes.gateway.networking.k8s.io tlsroutes.gateway.networking.k8s.io`)

// mayNot lists what would make a waypoint that was taken over a danger to the cluster.
var mayNot = []string{
	"get secrets", "list secrets", "get configmaps", "list pods", "create pods", "create serviceaccounts/token",
	"create approvalrequests.waymark.dev", "update approvalrequests.waymark.dev/status", "patch agentguards.waymark.dev/status",
	"update agentauthorizationpolicies.waymark.dev", "delete quarantines.waymark.dev", "update gateways.gateway.networking.k8s.io",
	"list nodes", "impersonate users",
}

// testManifests installs the example waypoint, and asks what its service account may do.
func (s *server) testManifests(t *testing.T) {
	if s.can(t, "list", "services") {
		t.Error("the service account may read without the example's binding, so that nothing can be shown here")
	}
	if out := s.show(t, "apply", "-k", filepath.Join(root, "manifests", "example")); strings.Contains(out, "Warning") {
		t.Errorf("the example waypoint is applied with warnings:\n%s", out)
	}
	for _, resource := range may {
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			reads := verb == "get" || verb == "list" || verb == "watch"
			if got := s.can(t, verb, resource); got != reads {
				t.Errorf("%s %s: %v, want %v", verb, resource, got, reads)
			}
		}
	}
	for _, question := range mayNot {
		if verb, resource, _ := strings.Cut(question, " "); s.can(t, verb, resource) {
			t.Errorf("the waypoint may %s", question)
		}
	}
	s.checkWaypoint(t)
	s.checkByHand(t)
}

// checkByHand does what the page says an operator does in the place of a controller.
func (s *server) checkByHand(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "cluster.md"))
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^kubectl (-n bank patch gateway agents [^\\]*)\\\n *-p '(.*)'$`).FindStringSubmatch(string(text))
	if command == nil {
		t.Fatal("docs/cluster.md does not say how the status is written by hand")
	}
	s.show(t, append(strings.Fields(command[1]), "-p", command[2])...)
	got := s.show(t, "get", "gateway/agents", "-n", "bank", "-o", "jsonpath={.status.addresses[0].type} {.status.addresses[0].value}")
	if want := "Hostname agents.bank.svc.cluster.local"; got != want {
		t.Errorf("the Gateway has the address %q, want %q", got, want)
	}
}

// can asks the API server what the example's service account may do, in another namespace than its own.
func (s *server) can(t *testing.T, verb, resource string) bool {
	t.Helper()
	resource, subresource, _ := strings.Cut(resource, "/")
	resource, group, _ := strings.Cut(resource, ".")
	review := s.must(t, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", asJSON, map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
		"spec": map[string]any{
			"user": "system:serviceaccount:bank:agents", "groups": []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:bank"},
			"resourceAttributes": map[string]any{"namespace": "default", "verb": verb, "group": group, "resource": resource, "subresource": subresource},
		},
	})
	return review["status"].(map[string]any)["allowed"] == true
}

// checkWaypoint holds the example against what istiod and ztunnel ask of a waypoint (contract ambient, sections 1.1 to 1.3).
func (s *server) checkWaypoint(t *testing.T) {
	tests := []struct{ object, path, want string }{
		{"gatewayclass/waymark-waypoint", "{.spec.controllerName}", "waymark.dev/waypoint-controller"},
		{"gateway/agents", "{.spec.gatewayClassName}", "waymark-waypoint"},
		{"gateway/agents", "{range .spec.listeners[*]}{.name} {.port} {.protocol};{end}", "mesh 15008 HBONE;"},
		{"gateway/agents", "{.spec.addresses}{.metadata.labels['topology\\.istio\\.io/network']}", ""},
		{"service/agents", "{range .spec.ports[*]}{.name} {.port} {.appProtocol};{end}", "status-port 15021 tcp;mesh 15008 hbone;"},
		{"service/agents", "{.metadata.labels.istio\\.io/use-waypoint}", "none"},
		{"service/agents", "{.metadata.annotations.networking\\.istio\\.io/traffic-distribution}", "PreferClose"},
		{"deployment/agents", "{.spec.template.metadata.labels.gateway\\.networking\\.k8s\\.io/gateway-name}", "agents"},
		{"deployment/agents", "{.spec.template.metadata.labels.istio\\.io/dataplane-mode}", "none"},
		{"deployment/agents", "{.spec.template.metadata.labels.istio\\.io/use-waypoint}", "none"},
		{"deployment/agents", "{.spec.template.metadata.labels.sidecar\\.istio\\.io/inject}", "false"},
		{"deployment/agents", "{.spec.template.spec.containers[0].args}", `["serve"]`},
		{"deployment/agents", "{.spec.template.spec.containers[0].env[*].name}", "POD_NAME POD_NAMESPACE INSTANCE_IP SERVICE_ACCOUNT NODE_NAME GATEWAY_NAME NETWORK CLUSTER_ID"},
		{"deployment/agents", "{.spec.template.spec.containers[0].securityContext.capabilities.drop}", `["ALL"]`},
		{"deployment/agents", "{.spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem}", "true"},
		{"deployment/agents", "{.spec.template.spec.securityContext.runAsNonRoot} {.spec.template.spec.securityContext.runAsUser}", "true 1337"},
		{"deployment/agents", "{.spec.template.spec.containers[0].readinessProbe.httpGet.path}", "/healthz/ready"},
		{"deployment/agents", "{.spec.template.spec.volumes[0].projected.sources[0].serviceAccountToken.audience}", "istio-ca"},
		{"deployment/agents", "{.spec.template.spec.volumes[1].projected.sources[0].configMap.name}", "istio-ca-root-cert"},
		{"deployment/agents", "{.spec.template.spec.terminationGracePeriodSeconds}", "35"},
		{"poddisruptionbudget/agents", "{.spec.minAvailable}", "1"},
	}
	for _, tt := range tests {
		if got := s.show(t, "get", tt.object, "-n", "bank", "-o", "jsonpath="+tt.path); got != tt.want {
			t.Errorf("%s %s\n got %q\nwant %q", tt.object, tt.path, got, tt.want)
		}
	}
}
