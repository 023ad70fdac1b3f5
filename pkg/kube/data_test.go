package kube_test

import (
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/config"
)

const (
	authentications = "waymark.dev/v1alpha1/agentauthentications"
	exchanges       = "waymark.dev/v1alpha1/tokenexchanges"
	secrets         = "v1/secrets"
	configMaps      = "v1/configmaps"
	grants          = "gateway.networking.k8s.io/v1/referencegrants"
)

const keysFromMap = `{"metadata":{"name":"issuers","namespace":"bank","uid":"1"},"spec":{"issuers":[
	{"issuer":"https://a.example","audiences":["x"],"jwks":{"configMapRef":{"name":"keys","key":"jwks"}}},
	{"issuer":"https://b.example","audiences":["x"],"jwks":{"remote":{"endpoint":{"url":"https://b.example/keys","caCertificates":[{"name":"roots","key":"ca.crt"},{"name":"keys","key":"ca"}]}}}}
]}}`

const exchangeWithSecret = `{"metadata":{"name":"trade","namespace":"bank","uid":"2"},"spec":{"exchange":{"endpoint":{"url":"https://sts.example/token"},
	"clientAuthentication":{"type":"ClientSecretBasic","clientID":"w","secretRef":{"name":"client","key":"secret"}}}}}`

// entry is what a picture has of an entry, or why it has none.
func entry(c *config.Cluster, kind, namespace, name, key string) string {
	b, err := c.Entry(kind, namespace, name, key)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestReferences(t *testing.T) {
	s := start(t)
	s.put(configMaps, `{"metadata":{"name":"keys","namespace":"bank","uid":"k"},"data":{"jwks":"{}"},"binaryData":{"ca":"AAEC"}}`)
	s.put(configMaps, `{"metadata":{"name":"keys","namespace":"other","uid":"o"},"data":{"jwks":"not this"}}`)
	s.put(secrets, `{"metadata":{"name":"client","namespace":"bank","uid":"s"},"data":{"secret":"aHVudGVyMg=="}}`)
	s.put(secrets, `{"metadata":{"name":"another","namespace":"bank","uid":"n"},"data":{"secret":"bm90IHRoaXM="}}`)
	s.put(authentications, keysFromMap)
	s.put(exchanges, exchangeWithSecret)
	f := following(t, s)
	f.await("the first picture", func() bool { return f.count() > 0 })

	// the first picture has everything: nobody is refused because something had not been read yet
	f.mu.Lock()
	first := f.pictures[0]
	f.mu.Unlock()
	check := func(c *config.Cluster, want map[string]string) {
		t.Helper()
		for at, text := range want {
			part := strings.Fields(at)
			if got := entry(c, part[0], "bank", part[1], part[2]); got != text {
				t.Errorf("%s: got %q, want %q", at, got, text)
			}
		}
	}
	check(first, map[string]string{
		"ConfigMap keys jwks": "{}", "ConfigMap keys ca": "\x00\x01\x02", "ConfigMap keys no": "ConfigMap bank/keys has no entry no",
		"ConfigMap roots ca.crt": "there is no ConfigMap bank/roots", "Secret client secret": "hunter2",
		"Secret another secret": "Secret bank/another has not been read",
	})
	if len(first.Data) != 3 {
		t.Errorf("%d objects are known, want the 3 that are referred to", len(first.Data))
	}

	s.put(secrets, `{"metadata":{"name":"client","namespace":"bank","uid":"s"},"data":{"secret":"YmV0dGVy"}}`)
	s.put(configMaps, `{"metadata":{"name":"roots","namespace":"bank","uid":"r"},"data":{"ca.crt":"PEM"}}`)
	f.await("what changed", func() bool {
		return entry(f.last(), "Secret", "bank", "client", "secret") == "better" && entry(f.last(), "ConfigMap", "bank", "roots", "ca.crt") == "PEM"
	})
	s.remove(configMaps, "bank/keys")
	f.await("what is gone", func() bool {
		return entry(f.last(), "ConfigMap", "bank", "keys", "jwks") == "there is no ConfigMap bank/keys"
	})

	// what nobody refers to any more is not followed
	s.remove(exchanges, "bank/trade")
	f.await("one reference less", func() bool { return len(f.last().Data) == 2 })
	if log := f.log.String(); strings.Contains(log, "hunter2") || strings.Contains(log, "better") || strings.Contains(log, "aHVudGVyMg") {
		t.Errorf("the log has a secret in it:\n%s", log)
	}
}

// What cannot be read closes what needs it, and nothing else waits for it.
func TestReferencesRefused(t *testing.T) {
	s := start(t)
	s.change(func() { s.refused["list secrets"] = true })
	s.put(secrets, `{"metadata":{"name":"client","namespace":"bank","uid":"s"},"data":{"secret":"aHVudGVyMg=="}}`)
	s.put(exchanges, exchangeWithSecret)
	s.put(policies, `{"metadata":{"name":"p","namespace":"bank"},"spec":{"action":"DENY"}}`)
	f := following(t, s)
	f.await("a picture", func() bool { return f.count() > 0 })
	want := `Secret bank/client cannot be read: list and watch on secrets are needed: failed to list Secret: secrets is forbidden: User "w" cannot list resource "secrets"`
	if got := entry(f.last(), "Secret", "bank", "client", "secret"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(f.last().Policies) != 1 || f.source.Ready() != nil {
		t.Errorf("%d policies, ready: %v", len(f.last().Policies), f.source.Ready())
	}
	s.change(func() { s.refused["list secrets"] = false })
	f.await("the secret", func() bool { return entry(f.last(), "Secret", "bank", "client", "secret") == "hunter2" })
	s.change(func() { s.refused["list secrets"], s.refused["watch secrets"] = true, true })
	s.compact()
	s.put(policies, `{"metadata":{"name":"q","namespace":"bank"},"spec":{"action":"DENY"}}`)
	f.await("another change", func() bool { return len(f.last().Policies) == 2 })
	if got := entry(f.last(), "Secret", "bank", "client", "secret"); got != "hunter2" {
		t.Errorf("what was known is not known any more: %s", got)
	}
}

func TestReferenceGrants(t *testing.T) {
	s := start(t)
	f := following(t, s)
	for i, spec := range []string{
		`{"from":[{"group":"waymark.dev","kind":"AgentAuthentication","namespace":"bank"},{"group":"waymark.dev","kind":"TokenExchange","namespace":"bank"}],"to":[{"group":"","kind":"Service"}]}`,
		`{"from":[{"group":"waymark.dev","kind":"AgentAuthentication","namespace":"audit"}],"to":[{"group":"","kind":"Service","name":"keys"},{"group":"networking.istio.io","kind":"ServiceEntry","name":"idp"}]}`,
		`{"from":[{"group":"waymark.dev","kind":"AgentAuthentication","namespace":7}],"to":[{"group":"","kind":"Service","name":7}]}`,
		`{"from":"everybody","to":"everything"}`,
	} {
		s.put(grants, fmt.Sprintf(`{"metadata":{"name":"g%d","namespace":"identity"},"spec":%s}`, i, spec))
	}
	f.await("two grants", func() bool { return f.last() != nil && len(f.last().Grants) == 2 })
	from := func(group, kind, namespace string) config.GrantFrom {
		return config.GrantFrom{Group: group, Kind: kind, Namespace: namespace}
	}
	to := func(group, kind, name string) config.GrantTo {
		return config.GrantTo{Group: group, Kind: kind, Name: name}
	}
	const ours, an, tx = "waymark.dev", "AgentAuthentication", "TokenExchange"
	for _, tt := range []struct {
		from      config.GrantFrom
		namespace string
		to        config.GrantTo
		want      bool
	}{
		{from(ours, an, "bank"), "identity", to("", "Service", "keys"), true},
		{from(ours, tx, "bank"), "identity", to("", "Service", "other"), true},
		{from(ours, an, "bank"), "identity", to("networking.istio.io", "ServiceEntry", "idp"), false},
		{from(ours, an, "bank"), "other", to("", "Service", "keys"), false},
		{from(ours, an, "mallory"), "identity", to("", "Service", "keys"), false},
		{from("other.dev", an, "bank"), "identity", to("", "Service", "keys"), false},
		{from(ours, an, "audit"), "identity", to("", "Service", "keys"), true},
		{from(ours, an, "audit"), "identity", to("", "Service", "other"), false},
		{from(ours, an, "audit"), "identity", to("networking.istio.io", "ServiceEntry", "idp"), true},
		{from(ours, tx, "audit"), "identity", to("", "Service", "keys"), false},
	} {
		if got := f.last().Permits(tt.from, tt.namespace, tt.to); got != tt.want {
			t.Errorf("%v to %s %v: got %v, want %v", tt.from, tt.namespace, tt.to, got, tt.want)
		}
	}
}
