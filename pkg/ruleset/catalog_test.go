package ruleset_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/ruleset"
)

func catalog(name string, defaults v1alpha1.RiskTier, tools map[string]v1alpha1.RiskTier, refs ...v1alpha1.TargetRef) config.Catalog {
	c := &v1alpha1.ToolCatalog{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: name}}
	c.Spec.TargetRefs = refs
	if defaults != "" {
		c.Spec.Defaults = &v1alpha1.ToolDefaults{RiskTier: defaults}
	}
	for tool, tier := range tools {
		c.Spec.Tools = append(c.Spec.Tools, v1alpha1.CatalogTool{Name: tool, RiskTier: tier})
	}
	return config.Catalog{Object: c}
}

// unread is one of which no more than the targets is known.
func unread(refs ...v1alpha1.TargetRef) config.Catalog {
	c := catalog("u", "", nil, refs...)
	c.Problem = "spec.tools[0].riskTier: is none"
	return c
}

// A token that an issuer's keys verify is asked about as well where the risk of the tool is worth it: unknown risk is.
func TestIntrospectionByRisk(t *testing.T) {
	key := jwkstest.NewKey()
	in := issuers(v1alpha1.JWKS{Inline: string(key.Set())})
	in.Object.Spec.Issuers[0].Algorithms = []v1alpha1.SignatureAlgorithm{"ES256"}
	in.Object.Spec.Introspection = &v1alpha1.Introspection{
		Endpoint: v1alpha1.Endpoint{BackendRef: &v1alpha1.BackendRef{Name: "idp", Port: 8080}}, Tokens: "All", CacheFor: "0s",
		RiskTiers: []v1alpha1.RiskTier{v1alpha1.RiskHigh, v1alpha1.RiskCritical},
		ClientAuthentication: v1alpha1.ClientAuthentication{
			Type: v1alpha1.ClientSecretBasic, ClientID: "w", SecretRef: &v1alpha1.SecretKeyRef{Name: "client", Key: "secret"},
		},
	}
	keyless := in
	keyless.Object = in.Object.DeepCopy()
	keyless.Object.Spec.Issuers, keyless.Object.Spec.Introspection.Audiences = nil, []string{"mcp"}

	var asked atomic.Int32
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"active":false}`) // it was revoked
	}))
	defer idp.Close()
	authorities := &ruleset.Authorities{Dial: func(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", idp.Listener.Addr().String())
	}}
	defer authorities.Close()
	l := &land{attached: map[call.Service]mesh.Attached{}}
	mcp := l.attach(kubeService("bank", "mcp"))
	const withoutKeys = "low, and nobody else verifies it"
	for _, tt := range []struct {
		name     string
		catalogs []config.Catalog
		tool     string // "" is a resource
		asks     bool
	}{
		{"no catalog", nil, "pay", true},
		{"high", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskHigh})}, "pay", true},
		{"low", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow})}, "pay", false},
		{"another tool", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow})}, "Pay", true},
		{"low by default", []config.Catalog{catalog("c", v1alpha1.RiskLow, nil)}, "pay", false},
		{"listed without a tier", []config.Catalog{catalog("c", v1alpha1.RiskLow, map[string]v1alpha1.RiskTier{"pay": ""})}, "pay", false},
		{"listed without a tier or a default", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": ""})}, "pay", true},
		{"high by default and low", []config.Catalog{catalog("c", v1alpha1.RiskHigh, map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow})}, "pay", false},
		{"two catalogs: the higher one counts", []config.Catalog{
			catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow}), catalog("d", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskCritical})}, "pay", true},
		{"another service's catalog", []config.Catalog{catalog("c", v1alpha1.RiskLow, nil, target("Service", "other"))}, "pay", true},
		{"this service's catalog", []config.Catalog{catalog("c", v1alpha1.RiskLow, nil, target("Service", "mcp"))}, "pay", false},
		{"beside one that cannot be read", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow}), unread()}, "pay", true},
		{"beside one that cannot be read, of another service", []config.Catalog{catalog("c", "", map[string]v1alpha1.RiskTier{"pay": v1alpha1.RiskLow}), unread(target("Service", "other"))}, "pay", false},
		{"no tool", nil, "", false},
		{withoutKeys, []config.Catalog{catalog("c", v1alpha1.RiskLow, nil)}, "pay", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := in
			if tt.name == withoutKeys {
				in = keyless
			}
			before := asked.Load()
			token := key.Sign(map[string]any{"iss": "https://idp.example", "sub": "alice", "aud": "mcp", "exp": time.Now().Add(time.Hour).Unix(), "jti": tt.name}) // that it is no good is remembered
			c := config.Cluster{
				Gateway: config.ClusterGateway{Namespace: "agents-system", Name: "agents", Found: true}, Authentications: []config.Authentication{in}, Catalogs: tt.catalogs,
				Declared: map[mesh.Host]*mesh.Declared{{Namespace: "bank", Hostname: "idp.bank.svc.cluster.local"}: {Object: mesh.Ref{Kind: "Service", Namespace: "bank", Name: "idp"}}},
				Data:     map[config.DataRef]*config.Data{{Kind: "Secret", Namespace: "bank", Name: "client"}: {Entries: map[string][]byte{"secret": []byte("x")}}},
			}
			r, err := ruleset.Assemble(&c, l, ruleset.Deps{
				Audit: audit.New(&bytes.Buffer{}, audit.Options{}), TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")}, Authorities: authorities,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if bad := slices.ContainsFunc(tt.catalogs, func(c config.Catalog) bool { return c.Problem != "" }); bad != (len(r.Problems()) == 1) {
				t.Errorf("what is told of objects that cannot be read: %q", r.Problems())
			}
			cl := toolCall("spiffe://cluster.local/ns/agents/sa/teller-agent", tt.tool)
			if tt.tool == "" {
				cl.Method, cl.Target = "resources/read", call.Target{Kind: call.Resource, Name: "file:///x"}
			}
			cl.Route, cl.HTTP.Header = call.Route{Service: mcp}, http.Header{"Authorization": {"Bearer " + token}}
			o := r.Pipeline(mcp).Inspect(t.Context(), cl) // whoever asks learns that the token was revoked
			if want := map[bool]call.Code{true: call.TokenInvalid}[tt.asks]; o.Verdict.Code != want {
				t.Errorf("got %q: %s, want %q", o.Verdict.Code, o.Verdict.Reason, want)
			}
			if got := asked.Load() > before; got != tt.asks {
				t.Errorf("asked: %t, want %t", got, tt.asks)
			}
		})
	}
}
