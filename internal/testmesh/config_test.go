package testmesh_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waymark.dev/waypoint/internal/testmesh"
)

const placed = `# a comment that stays
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: one
spec:
  address: 10.0.0.1
  ports:
    mcp: 3000
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: two
  annotations:
    waymark.dev/hbone-port: "15008"
spec:
  address: 10.0.0.2
`

const untouched = "apiVersion: waymark.dev/v1alpha1\nkind:   AgentAuthorizationPolicy # odd   spacing\n"

func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"mesh.yaml": placed, "policy.yaml": untouched, "README.md": "not configuration"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCopyConfig(t *testing.T) {
	src, dst := directory(t), t.TempDir()
	err := testmesh.CopyConfig(src, dst, map[string]testmesh.Placement{
		"one": {App: netip.MustParseAddrPort("127.0.0.1:4000"), Tunnel: netip.MustParseAddrPort("127.0.0.1:4001")},
		"two": {App: netip.MustParseAddrPort("127.0.0.1:5000"), Tunnel: netip.MustParseAddrPort("127.0.0.1:5001")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		"10.0.0.1", "127.0.0.1", "10.0.0.2", "127.0.0.1", "mcp: 3000", "mcp: 4000", `"15008"`, `"5001"`,
		"name: one\n", "name: one\n  annotations:\n    waymark.dev/hbone-port: \"4001\"\n",
	).Replace(placed)
	if got := read(t, dst, "mesh.yaml"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := read(t, dst, "policy.yaml"); got != untouched {
		t.Errorf("the policy was changed to:\n%s", got)
	}
	if got, want := read(t, src, "mesh.yaml"), placed; got != want {
		t.Errorf("the source was changed to:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(dst, "README.md")); err == nil {
		t.Error("a file that is no configuration was copied")
	}
}

func TestCopyConfigRefuses(t *testing.T) {
	src := directory(t)
	at := map[string]testmesh.Placement{"three": {App: netip.MustParseAddrPort("127.0.0.1:1")}}
	err := testmesh.CopyConfig(src, t.TempDir(), at)
	if got, want := errorText(err), "testmesh: "+src+` has no WorkloadEntry "three"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	empty := t.TempDir()
	err = testmesh.CopyConfig(empty, t.TempDir(), nil)
	if got, want := errorText(err), "testmesh: no *.yaml and no *.yml in "+empty; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
