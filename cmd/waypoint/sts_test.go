package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
)

// locked is a writer that a test reads while a program writes.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *locked) await(t *testing.T, pattern string) []string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(l.String()); m != nil {
			return m
		}
	}
	t.Fatalf("%s did not come:\n%s", pattern, l)
	return nil
}

const stsObjects = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: users, namespace: home}
spec:
  issuers:
    - issuer: https://idp.example.com
      audiences: [agent-butler]
      jwks: {inline: '%s'}
  chain: {transactionClaim: request.id}
---
apiVersion: waymark.dev/v1alpha1
kind: TokenExchange
metadata: {name: story, namespace: home}
spec:
  grants:
    - name: butler
      clients: [cluster.local/ns/agents/sa/agent-butler]
      audiences: [%s]
      scopes: [training]
`

// The whole program: keys from a directory, a certificate per client, grants that change while it runs, a clean stop.
func TestSTS(t *testing.T) {
	mesh := testmesh.New(identity.RequireTrustDomain("cluster.local"))
	defer mesh.Close()
	dir := t.TempDir()
	for _, sub := range []string{"certs", "keys", "config"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := mesh.WriteCertificates(filepath.Join(dir, "certs"), mesh.ID("identity", "sts")); err != nil {
		t.Fatal(err)
	}
	user := jwkstest.NewKey()
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signing)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keys", "first.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	objects := filepath.Join(dir, "config", "objects.yaml")
	write(t, objects, fmt.Sprintf(stsObjects, user.Set(), "agent-coach"))

	ctx, stop := context.WithCancel(t.Context())
	var out, log locked
	ended := make(chan int, 1)
	go func() {
		ended <- runSTS(ctx, []string{
			"--config", filepath.Join(dir, "config"), "--certs", filepath.Join(dir, "certs"), "--keys", filepath.Join(dir, "keys"),
			"--issuer", "https://sts.example.com", "--subjects", "home/users", "--listen", "127.0.0.1:0", "--actor-by-account",
		}, nil, &out, &log)
	}()
	base := "https://" + log.await(t, `address=(\S+)`)[1]
	butler, thief := stsClient(t, mesh, "agent-butler"), stsClient(t, mesh, "thief")

	subject := userToken(user)
	token, code := trade(t, butler, base, subject, "agent-coach")
	if code != "" || strings.Count(token, ".") != 2 {
		t.Fatalf("got %q %q\n%s", token, code, out.String())
	}
	if claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1]); err != nil || !strings.Contains(string(claims), `"txn":"t-7"`) {
		t.Errorf("the new token is of another transaction: %s, %v", claims, err)
	}
	if _, code := trade(t, thief, base, subject, "agent-coach"); code != "unauthorized_client" {
		t.Errorf("the thief got %q", code)
	}
	if _, code := trade(t, butler, base, subject, "agent-driver"); code != "invalid_target" {
		t.Errorf("another audience: %q", code)
	}
	write(t, objects, fmt.Sprintf(stsObjects, user.Set(), "agent-driver"))
	log.await(t, "grants in force")
	if _, code := trade(t, butler, base, subject, "agent-driver"); code != "" {
		t.Errorf("after the change: %q", code)
	}
	write(t, objects, "kind: nonsense")
	log.await(t, "the grants in force stay")
	if _, code := trade(t, butler, base, subject, "agent-driver"); code != "" {
		t.Errorf("after a mistake: %q", code)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d\n%s", code, log.String())
	}
	if n := strings.Count(out.String(), "\n"); n != 5 || strings.Contains(out.String(), subject) || strings.Contains(out.String(), token) {
		t.Errorf("%d records, or a token in one:\n%s", n, out.String())
	}
}

// userToken is alice's, for Butler.
func userToken(k *jwkstest.Key) string {
	return k.Sign(map[string]any{
		"iss": "https://idp.example.com", "sub": "alice", "aud": "agent-butler", "scope": "training", "request": map[string]string{"id": "t-7"}, "iat": time.Now().Unix(),
		"exp": time.Now().Add(time.Hour).Unix(), "may_act": map[string]string{"sub": "agent-butler"},
	})
}

func stsClient(t *testing.T, mesh *testmesh.Mesh, account string) *http.Client {
	t.Helper()
	m, err := mesh.Certificates(mesh.ID("agents", account)).Current()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{m.Certificate}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} //nolint:gosec // loopback, and the name is no DNS name
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func trade(t *testing.T, c *http.Client, base, subject, audience string) (token, code string) {
	t.Helper()
	resp, err := c.PostForm(base+"/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {audience},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.UnmarshalRead(resp.Body, &a); err != nil {
		t.Fatal(err)
	}
	return a.Token, a.Error
}

// write replaces a file at once, as careful editors do.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name+".next", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".next", name); err != nil {
		t.Fatal(err)
	}
}
