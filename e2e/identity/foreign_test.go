package identity_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// foreign are tokens that another implementation made, one of each algorithm, and the keys to verify them with.
type foreign struct {
	Keys   jsontext.Value `json:"keys"`
	Tokens []struct {
		Alg   string `json:"alg"`
		Token string `json:"token"`
	} `json:"tokens"`
}

func TestForeignIssuers(t *testing.T) {
	t.Run("npm jose", func(t *testing.T) {
		n, dir := modules(t)
		out, err := n.Script(t.Context(), filepath.Join(dir, "jose.mjs")).Output()
		if err != nil {
			t.Fatal(err)
		}
		callWith(t, out)
	})
	// Made by Debian's python3-jwcrypto: the tokens end in 2100, and nobody has the private keys.
	t.Run("python3-jwcrypto", func(t *testing.T) {
		b, err := os.ReadFile("testdata/python3-jwcrypto-1.1.0.json")
		if err != nil {
			t.Fatal(err)
		}
		callWith(t, b)
	})
}

// modules is a folder with what is in testdata and the packages of npm: modules find packages by where they lie.
func modules(t *testing.T) (peers.Node, string) {
	t.Helper()
	n := peers.NeedNode(t)
	dir := t.TempDir()
	if err := errors.Join(os.CopyFS(dir, os.DirFS("testdata")), os.Symlink(n.Path(), filepath.Join(dir, "node_modules"))); err != nil {
		t.Fatal(err)
	}
	return n, dir
}

// callWith calls with every token, and with every token under the signature of the one before it.
func callWith(t *testing.T, made []byte) {
	t.Helper()
	var f foreign
	if err := json.Unmarshal(made, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Tokens) != 10 {
		t.Fatalf("%d tokens", len(f.Tokens))
	}
	w := newWorld(t)
	w.place("tools", "github-mcp", &backend{})
	w.place("tools", "advisors-mcp", &backend{})
	w.place("tools", "company-mcp", &backend{})
	w.place("identity", "keys", &backend{})
	w.startWith("operators", fmt.Sprintf(foreignPolicy, `{"keys":`+string(f.Keys)+`}`), "policies.yaml", operatorsIssuers, "")
	c := w.client("agent", "10.96.1.1:3000")
	for i, tok := range f.Tokens {
		if got := w.call(c, "github-mcp:3000", "get_me", tok.Token); got.code != "" {
			t.Errorf("%s: %s: %s", tok.Alg, got.code, got.reason)
		}
		other := f.Tokens[(i+len(f.Tokens)-1)%len(f.Tokens)].Token
		mixed := tok.Token[:strings.LastIndexByte(tok.Token, '.')] + other[strings.LastIndexByte(other, '.'):]
		if got := w.call(c, "github-mcp:3000", "get_me", mixed); got.code != "token_invalid" {
			t.Errorf("%s with another signature: %+v", tok.Alg, got)
		}
	}
}

// operatorsIssuers is how examples/operators begins its issuers: foreignPolicy has others.
const operatorsIssuers = `# Whose tokens are believed. Without a good one there is no call at all. The keys come from a Service, through the mesh.
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: issuers, namespace: tools}
spec:
  mode: Strict
  issuers:
    - issuer: https://idp.example.com
      audiences: [tools]
      algorithms: [RS256, ES256, EdDSA]
      jwks:
        remote:
          endpoint:
            backendRef: {name: keys, namespace: identity, port: 8080}
            path: /realms/company/keys
          refreshInterval: 5m
    - issuer: https://agw-sts.example.com
      audiences: [tools]
      algorithms: [ES256, EdDSA]
      jwks:
        remote:
          endpoint:
            backendRef: {name: keys, namespace: identity, port: 8080}
            path: /sts/keys
---
`

const foreignPolicy = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: issuers, namespace: tools}
spec:
  issuers:
    - issuer: https://idp.example.com
      audiences: [tools]
      algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]
      jwks:
        inline: '%s'
`
