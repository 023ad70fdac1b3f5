package house_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const (
	// oldestGo is the first release without HTTP/2 crashes that a peer can trigger (CVE-2026-97032 and others).
	oldestGo = "go1.27.4"
	// maxBinary is how much a node pulls before a waypoint starts. Typed clientsets are what makes such binaries fat.
	maxBinary = 45_000_000
)

// TestBinary builds the production binary as `make build` does and looks at what came out.
func TestBinary(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not here, and the recipe of the binary is in the Makefile")
	}
	binary := filepath.Join(t.TempDir(), "waypoint")
	build := exec.Command("make", "build", "BIN="+binary)
	build.Dir = root
	// Variables of a make that runs this test are not for the make it starts.
	build.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "MFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if version.Compare(info.GoVersion, oldestGo) < 0 {
		t.Errorf("built with %s, want %s or newer", info.GoVersion, oldestGo)
	}
	for _, dep := range info.Deps {
		if strings.HasPrefix(dep.Path, "github.com/modelcontextprotocol/") {
			t.Errorf("carries the module %s, which only tests and the demo may need", dep.Path)
		}
	}

	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) >= maxBinary {
		t.Errorf("%d bytes, want less than %d", len(content), maxBinary)
	}
	t.Logf("%d bytes, %s", len(content), info.GoVersion)
	// The runtime keeps the names of functions and files even of a stripped binary. Of Istio only the messages are wanted, and
	// typed clients of every kind of Kubernetes are what would make it fat.
	for _, foreign := range []string{
		module + "internal/testmesh", module + "pkg/identity/certs/certstest", module + "pkg/identity/jwks/jwkstest", module + "cmd/demo",
		"istio.io/istio/pkg/hbone", "istio.io/istio/pilot", "k8s.io/client-go/kubernetes", "k8s.io/api/core/v1",
	} {
		if bytes.Contains(content, []byte(foreign)) {
			t.Errorf("carries %s, which has no place in it", foreign)
		}
	}
	if !bytes.Contains(content, []byte(module+"pkg/hbone")) {
		t.Errorf("has no trace of %spkg/hbone, so that the check above proves nothing", module)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(here)) {
		t.Errorf("carries the path %s it was built in", here)
	}
	if runtime.GOOS == "linux" {
		static(t, binary)
	}
}

// static fails if the binary needs a dynamic linker: it runs FROM scratch.
func static(t *testing.T, binary string) {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("needs a dynamic linker: it was built with cgo")
		}
	}
	if s := f.Section(".symtab"); s != nil {
		t.Error("is not stripped")
	}
}
