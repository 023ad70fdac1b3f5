package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	domain   = identity.RequireTrustDomain("cluster.local")
	waypoint = identity.RequireID("spiffe://cluster.local/ns/bank/sa/agents")
	teller   = identity.RequireID("spiffe://cluster.local/ns/agents/sa/teller-agent")
)

// example copies the example configuration, so that a test may edit it.
func example(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/company-mcp")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, ca *certstest.CA, dir string) *app.App {
	t.Helper()
	a, err := app.New(app.Options{
		ConfigDir: dir, Listen: "127.0.0.1:0", Health: "127.0.0.1:0", Certificates: certs.Static(ca.Issue(waypoint)), Audit: io.Discard,
		Poll: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(within(t)); err != nil {
			t.Error(err)
		}
	})
	return a
}

// until polls: what it waits for happens on its own time, and within the test's.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for ctx := within(t); !holds(); {
		if ctx.Err() != nil {
			t.Fatalf("%s did not happen", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func ready(a *app.App) (int, string) {
	resp, err := http.Get("http://" + a.HealthAddr().String() + "/healthz/ready")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestNewNamesEveryProblem(t *testing.T) {
	dir := example(t)
	bad := "apiVersion: waymark.dev/v1alpha1\nkind: AgentAuthorizationPolicy\nmetadata: {name: x, namespace: bank}\nspec: {action: PERMIT, rule: []}\n"
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := app.New(app.Options{ConfigDir: dir, Certificates: certs.Static(certstest.NewCA(domain).Issue(waypoint)), Audit: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "bad.yaml:4:") || !strings.Contains(err.Error(), "spec.rule") {
		t.Errorf("got %v", err)
	}
}

// Without a readable bundle there is no readiness and no handshake; with one there are both.
func TestNotReadyWithoutCertificates(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(domain)
	files, err := certs.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(app.Options{ConfigDir: example(t), Listen: "127.0.0.1:0", Health: "127.0.0.1:0", Certificates: files, Audit: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- a.Start(within(t)) }()
	select {
	case err := <-started:
		t.Fatalf("started without a certificate: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := ca.WriteFiles(dir, waypoint); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if status, body := ready(a); status != http.StatusOK {
		t.Errorf("got %d %q, want 200", status, body)
	}
	if err := a.Stop(within(t)); err != nil {
		t.Error(err)
	}
}

// A reload fully happens or did not happen.
func TestReload(t *testing.T) {
	dir := example(t)
	a := start(t, certstest.NewCA(domain), dir)
	before := a.Rules()
	file := filepath.Join(dir, "zz.yaml")
	bad := "apiVersion: waymark.dev/v1alpha1\nkind: AgentAuthorizationPolicy\nmetadata: {name: x, namespace: bank}\nspec: {action: DENY, rules: [{when: [{cel: nonsense.field}]}]}\n"
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // twenty polls
	if a.Rules() != before {
		t.Fatal("a configuration with a problem in it was taken into use")
	}
	good := strings.Replace(bad, "nonsense.field", "mcp.methodName == 'ping'", 1)
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the reload", func() bool { return a.Rules().Generation() != before.Generation() })
	if status, _ := ready(a); status != http.StatusOK {
		t.Errorf("not ready after a reload: %d", status)
	}
}

// Stop lets a tunnel that is open end by itself, and takes no new one.
func TestStopDrains(t *testing.T) {
	ca := certstest.NewCA(domain)
	dir := example(t)
	a := start(t, ca, dir)
	pool := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(ca.Issue(teller))})
	defer pool.Close()
	target := hbone.Target{Addr: a.Addr(), Expect: []identity.ID{waypoint}, Authority: "10.96.0.10:3000"}
	conn, err := pool.Dial(within(t), target)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n") // a request that is not complete
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(within(t)) }()
	until(t, "unreadiness", func() bool { status, _ := ready(a); return status == http.StatusServiceUnavailable })
	select {
	case err := <-stopped:
		t.Fatalf("stopped over an open tunnel: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := pool.Dial(within(t), target); err == nil {
		t.Error("a tunnel was opened while draining")
	}
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	var refused *hbone.DialError
	if _, err := pool.Dial(within(t), target); !errors.As(err, &refused) {
		t.Errorf("got %v, want a DialError", err)
	}
}
