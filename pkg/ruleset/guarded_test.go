package ruleset_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
)

const publicKeys = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// issuers is an AgentAuthentication for Service bank/mcp with one issuer, whose keys are somewhere.
func issuers(keys v1alpha1.JWKS) config.Authentication {
	o := &v1alpha1.AgentAuthentication{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "issuers"}}
	o.Spec.TargetRefs = []v1alpha1.TargetRef{target("Service", "mcp")}
	o.Spec.Issuers = []v1alpha1.Issuer{{Issuer: "https://idp.example", Audiences: []string{"mcp"}, Algorithms: []v1alpha1.SignatureAlgorithm{"EdDSA"}, JWKS: keys}}
	return config.Authentication{Object: o}
}

// asking is a policy with CUSTOM for Service bank/mcp.
func asking(backend v1alpha1.BackendRef) config.Policy {
	p := object("bank", "ask", v1alpha1.Custom, "pay", target("Service", "mcp"))
	p.Object.Spec.ExternalAuthorization = &v1alpha1.ExternalAuthorization{BackendRef: backend}
	return p
}

// What an object refers to in a cluster: what is not there, or not permitted, closes what the object is for, and nothing else.
func TestClusterReferences(t *testing.T) {
	inMap := v1alpha1.JWKS{ConfigMapRef: &v1alpha1.ConfigMapKeyRef{Name: "keys", Key: "jwks"}}
	at := func(namespace string) v1alpha1.JWKS {
		return v1alpha1.JWKS{Remote: &v1alpha1.RemoteJWKS{Endpoint: v1alpha1.Endpoint{BackendRef: &v1alpha1.BackendRef{Name: "keys", Namespace: namespace, Port: 8080}}}}
	}
	data := func(d *config.Data) map[config.DataRef]*config.Data {
		return map[config.DataRef]*config.Data{{Kind: "ConfigMap", Namespace: "bank", Name: "keys"}: d}
	}
	declared := map[mesh.Host]*mesh.Declared{
		{Namespace: "identity", Hostname: "keys.identity.svc.cluster.local"}: {Object: mesh.Ref{Kind: "Service", Namespace: "identity", Name: "keys"}},
		{Namespace: "bank", Hostname: "opa.bank.svc.cluster.local"}:          {Object: mesh.Ref{Kind: "Service", Namespace: "bank", Name: "opa"}},
	}
	grant := []*config.ReferenceGrant{{
		Namespace: "identity", From: []config.GrantFrom{{Group: "waymark.dev", Kind: "AgentAuthentication", Namespace: "bank"}}, To: []config.GrantTo{{Kind: "Service"}},
	}}
	const without = "unauthenticated bank/issuers the call has no token"
	for _, tt := range []struct {
		name    string
		cluster config.Cluster
		want    string // for a call of Service bank/mcp
	}{
		{"a ConfigMap", config.Cluster{Authentications: []config.Authentication{issuers(inMap)},
			Data: data(&config.Data{Entries: map[string][]byte{"jwks": []byte(publicKeys)}})}, without},
		{"a ConfigMap without the entry", config.Cluster{Authentications: []config.Authentication{issuers(inMap)}, Data: data(&config.Data{})},
			"policy_error bank/issuers the AgentAuthentication cannot be used: spec.issuers[0].jwks.configMapRef: ConfigMap bank/keys has no entry jwks"},
		{"a ConfigMap that cannot be read", config.Cluster{Authentications: []config.Authentication{issuers(inMap)}, Data: data(&config.Data{Problem: "it is forbidden"})},
			"policy_error bank/issuers the AgentAuthentication cannot be used: spec.issuers[0].jwks.configMapRef: it is forbidden"},
		{"a ConfigMap with something else in it", config.Cluster{Authentications: []config.Authentication{issuers(inMap)},
			Data: data(&config.Data{Entries: map[string][]byte{"jwks": []byte("{}")}})}, "policy_error bank/issuers the AgentAuthentication cannot be used: spec.issuers: "},
		{"a Service of another namespace", config.Cluster{Authentications: []config.Authentication{issuers(at("identity"))}, Declared: declared},
			"policy_error bank/issuers the AgentAuthentication cannot be used: spec.issuers[0].jwks.remote.endpoint.backendRef: Service identity/keys: " +
				"a reference into another namespace needs a ReferenceGrant there, from AgentAuthentication of group waymark.dev in namespace bank"},
		{"a Service of another namespace, which permits it", config.Cluster{Authentications: []config.Authentication{issuers(at("identity"))}, Declared: declared, Grants: grant}, without},
		{"a Service that is not there, and a grant", config.Cluster{Authentications: []config.Authentication{issuers(at("identity"))}, Grants: grant},
			"policy_error bank/issuers the AgentAuthentication cannot be used: spec.issuers[0].jwks.remote.endpoint.backendRef: there is no Service identity/keys"},
		{"CUSTOM", config.Cluster{Policies: []config.Policy{asking(v1alpha1.BackendRef{Name: "opa", Port: 9191})}, Declared: declared},
			"policy_error bank/ask the external authorization service gave no answer: "},
		{"CUSTOM without its service", config.Cluster{Policies: []config.Policy{asking(v1alpha1.BackendRef{Name: "opa", Port: 9191})}},
			"policy_error bank/ask the AgentAuthorizationPolicy cannot be used: spec.externalAuthorization.backendRef: there is no Service bank/opa"},
		{"CUSTOM of another namespace, for which there is no grant", config.Cluster{
			Policies: []config.Policy{asking(v1alpha1.BackendRef{Name: "keys", Namespace: "identity", Port: 9191})}, Declared: declared, Grants: grant},
			"policy_error bank/ask the AgentAuthorizationPolicy cannot be used: spec.externalAuthorization.backendRef: Service identity/keys: a reference into another namespace needs a ReferenceGrant"},
		{"CUSTOM with a mistake", config.Cluster{Policies: []config.Policy{broken(asking(v1alpha1.BackendRef{Name: "opa", Port: 9191}))}, Declared: declared},
			"policy_error bank/ask the policy cannot be used: spec.rules[0].when[0].cel: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &land{attached: map[call.Service]mesh.Attached{}}
			mcp, other := l.attach(kubeService("bank", "mcp")), l.attach(kubeService("bank", "other"))
			r := assemble(t, l, nil, tt.cluster)
			if got := judged(t, r, mcp, "pay"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := judged(t, r, other, "pay"); got != "pass" {
				t.Errorf("another service: got %s, want pass", got)
			}
			if bad := strings.Contains(tt.want, "cannot be used"); bad != (len(r.Problems()) == 1) {
				t.Errorf("problems: %q", r.Problems())
			}
		})
	}
}

// A secret that changes makes another generation, so that streams are judged again; its content is in no generation.
func TestClusterDataIsInTheGeneration(t *testing.T) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	generation := func(version, content string) string {
		return assemble(t, l, nil, config.Cluster{Data: map[config.DataRef]*config.Data{
			{Kind: "Secret", Namespace: "bank", Name: "s"}: {Version: version, Entries: map[string][]byte{"k": []byte(content)}},
		}}).Generation()
	}
	if generation("1", "a") == generation("2", "a") {
		t.Error("another version of a Secret is the same generation")
	}
	if generation("1", "a") != generation("1", "b") {
		t.Error("the generation depends on the content of a Secret")
	}
}
