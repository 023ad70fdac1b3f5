package kube_test

import (
	"encoding/base64"
	"encoding/json/v2"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
)

// references needs no more than a role that names what a policy names.
func references(t *testing.T, k *testbed.Kubernetes) {
	k.ApplyText(t, testbed.ServiceAccount("bank", "reader"), testbed.Namespace("identity", nil))
	k.Apply(t, "manifests/clusterrole.yaml")
	k.Kubectl(t, "create", "clusterrolebinding", "reader", "--clusterrole=waymark-waypoint", "--serviceaccount=bank:reader")
	for _, text := range []string{
		`{apiVersion: v1, kind: Secret, metadata: {name: sts-client, namespace: bank}, stringData: {secret: hunter2}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: another, namespace: bank}, stringData: {secret: none-of-your-business}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: roots, namespace: bank}, data: {ca.crt: PEM}}`,
		`{apiVersion: waymark.dev/v1alpha1, kind: TokenExchange, metadata: {name: trade, namespace: bank}, spec: {exchange: {
			endpoint: {url: "https://sts.example.com/token", caCertificates: [{name: roots, key: ca.crt}]}, audiences: [x],
			clientAuthentication: {type: ClientSecretBasic, clientID: w, secretRef: {name: sts-client, key: secret}}}}}`,
		`{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: keys, namespace: identity}, spec: {
			from: [{group: waymark.dev, kind: AgentAuthentication, namespace: bank}], to: [{group: "", kind: Service, name: keys}]}}`,
	} {
		apply(t, k, strings.ReplaceAll(text, "\t", " "))
	}
	f := start(t, k.KubeconfigOf(t, "bank", "reader"))
	f.ready()
	says := func(c *config.Cluster, kind, name, key string) string {
		b, err := c.Entry(kind, "bank", name, key)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	c := f.until("a picture with the exchange", func(c *config.Cluster) bool { return len(c.Exchanges) == 1 && len(c.Grants) == 1 })
	const want = `Secret bank/sts-client cannot be read: list and watch on secrets are needed: failed to list Secret: secrets "sts-client" is forbidden: ` +
		`User "system:serviceaccount:bank:reader" cannot list resource "secrets" in API group "" in the namespace "bank"`
	if got := says(c, "Secret", "sts-client", "secret"); got != want {
		t.Errorf("without a role:\ngot  %s\nwant %s", got, want)
	}
	if !c.Permits(config.GrantFrom{Group: "waymark.dev", Kind: "AgentAuthentication", Namespace: "bank"}, "identity", config.GrantTo{Kind: "Service", Name: "keys"}) {
		t.Errorf("the grant is not known: %+v", c.Grants)
	}

	// the role of docs/cluster.md
	apply(t, k, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: agents-references, namespace: bank}, rules: [
		{apiGroups: [""], resources: [secrets], resourceNames: [sts-client], verbs: [get, list, watch]},
		{apiGroups: [""], resources: [configmaps], resourceNames: [roots], verbs: [get, list, watch]}]}`)
	k.Kubectl(t, "-n", "bank", "create", "rolebinding", "agents-references", "--role=agents-references", "--serviceaccount=bank:reader")
	f.until("the secret and the roots", func(c *config.Cluster) bool {
		return says(c, "Secret", "sts-client", "secret") == "hunter2" && says(c, "ConfigMap", "roots", "ca.crt") == "PEM"
	})
	k.Kubectl(t, "-n", "bank", "patch", "secret", "sts-client", "-p", `{"stringData":{"secret":"rotated"}}`)
	f.until("the new secret", func(c *config.Cluster) bool { return says(c, "Secret", "sts-client", "secret") == "rotated" })
	k.Kubectl(t, "-n", "bank", "delete", "secret", "sts-client")
	f.until("the loss", func(c *config.Cluster) bool {
		return says(c, "Secret", "sts-client", "secret") == "there is no Secret bank/sts-client"
	})
	k.Kubectl(t, "-n", "bank", "delete", "tokenexchange", "trade")
	f.until("no references", func(c *config.Cluster) bool { return len(c.Data) == 0 })
	for _, secret := range []string{"hunter2", "rotated", "none-of-your-business"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log has %q in it:\n%s", secret, f.log)
		}
	}
	k.Kubectl(t, "delete", "clusterrolebinding", "reader")
}

// accountToken gets a token of the waypoint's own service account, as it is permitted to.
func accountToken(t *testing.T, k *testbed.Kubernetes) {
	k.ApplyText(t, testbed.ServiceAccount("bank", "prover"))
	cfg, err := kube.ConfigFrom(k.KubeconfigOf(t, "bank", "prover"))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := kube.NewTokens(cfg, "bank", "prover")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.For(t.Context(), "https://sts.example.com"); err == nil || !strings.Contains(err.Error(), `cannot create resource "serviceaccounts/token"`) {
		t.Errorf("without the right to: got %v", err)
	}
	apply(t, k, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: own-token, namespace: bank}, rules: [
		{apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [prover], verbs: [create]}]}`)
	k.Kubectl(t, "-n", "bank", "create", "rolebinding", "own-token", "--role=own-token", "--serviceaccount=bank:prover")
	var text string
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if text, err = tokens.For(t.Context(), "https://sts.example.com"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	var claims struct {
		Subject  string   `json:"sub"`
		Audience []string `json:"aud"`
	}
	part, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil || json.Unmarshal(part, &claims) != nil || claims.Subject != "system:serviceaccount:bank:prover" ||
		len(claims.Audience) != 1 || claims.Audience[0] != "https://sts.example.com" {
		t.Errorf("got the claims %s, %v", part, err)
	}
	if again, err := tokens.For(t.Context(), "https://sts.example.com"); err != nil || again != text {
		t.Errorf("the second time it is another one: %v", err)
	}
	if other, err := tokens.For(t.Context(), "https://other.example.com"); err != nil || other == text {
		t.Errorf("for another audience it is the same: %v", err)
	}
}
