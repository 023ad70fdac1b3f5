package config_test

import (
	"encoding/json/v2"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// Each fixture adds to testdata/base, or replaces, files; its section "want" is what they mean.
func TestGood(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/good/*.txtar")
	if err != nil || len(fixtures) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, name := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := baseDir(t)
			want := &a.Files[len(a.Files)-1]
			for _, f := range a.Files[:len(a.Files)-1] {
				write(t, filepath.Join(dir, f.Name), f.Data)
			}
			got := rendered(t, load(t, dir))
			if *update {
				want.Data = []byte(got)
				write(t, name, txtar.Format(a))
			}
			if got != string(want.Data) {
				t.Errorf("got\n%swant\n%s", got, want.Data)
			}
		})
	}
}

func load(t testing.TB, dir string) *config.Config {
	t.Helper()
	c, problems := config.Load(dir)
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	return c
}

// rendered writes down what a configuration means: objects, what is attached and where it leads, which policies judge it.
func rendered(t testing.TB, c *config.Config) string {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "waypoint %s/%s\n", c.Gateway.Namespace, c.Gateway.Name)
	for _, o := range c.Objects {
		fmt.Fprintf(&out, "%s:%d %s %s/%s\n", o.File, o.Line, o.Kind, o.Namespace, o.Name)
	}
	view, problems := static.New(static.Objects{
		Gateway: c.Gateway, Services: c.Services, Workloads: c.Workloads, TrustDomain: identity.RequireTrustDomain("cluster.local"),
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, a := range view.Attached() {
		fmt.Fprintf(&out, "%s as %s %q\n", a.Object, a.Service, a.Service.Hostname)
		if a.URLHosts != nil {
			fmt.Fprintf(&out, "  may send people to %q\n", a.URLHosts)
		}
		for _, d := range a.Ports {
			renderPort(&out, d)
		}
		for _, p := range c.Applying(a) {
			fmt.Fprintf(&out, "  judged by %s/%s\n", p.Namespace, p.Name)
		}
	}
	for _, p := range c.Policies {
		spec, err := json.Marshal(p.Spec)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s/%s %v %s\n", p.Namespace, p.Name, p.Annotations, spec)
	}
	return out.String()
}

func renderPort(out *strings.Builder, d *mesh.Destination) {
	fmt.Fprintf(out, "  port %d %s %s", d.Service.Port, d.Protocol, d.Mode)
	if d.Batches {
		out.WriteString(" with batches")
	}
	out.WriteByte('\n')
	for _, e := range d.Endpoints {
		fmt.Fprintf(out, "    %s", e.Address)
		if e.Tunnel.IsValid() {
			fmt.Fprintf(out, " via %s as %v", e.Tunnel, e.Identities)
		}
		fmt.Fprintf(out, " (%s, weight %d)\n", e.Workload, e.Weight)
	}
}

func TestExampleDirectory(t *testing.T) {
	got := rendered(t, load(t, "../../examples/company-mcp"))
	for _, want := range []string{
		"waypoint bank/agents\n", "  port 3000 mcp enforce\n",
		"    10.244.1.10:3000 via 10.244.1.10:15008 as [spiffe://cluster.local/ns/bank/sa/company-mcp] (bank/company-mcp, weight 1)\n",
		"  judged by bank/tellers\n  judged by bank/interns\n  judged by bank/bulk-export\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%swithout\n%s", got, want)
		}
	}
}

// The generation is that of the content: layout, order, comments and the split into files do not count, and every value does.
func TestGeneration(t *testing.T) {
	dir := baseDir(t)
	first := load(t, dir).Generation()
	if len(first) != 12 {
		t.Errorf("got generation %q, want 12 digits", first)
	}
	gateway, err := os.ReadFile(filepath.Join(dir, "10-gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	service, err := os.ReadFile(filepath.Join(dir, "20-mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	one := t.TempDir()
	write(t, filepath.Join(one, "all.yml"), []byte("# all\n"+string(service)+"---\n"+string(gateway)))
	if got := load(t, one).Generation(); got != first {
		t.Errorf("in one file: got %s, want %s", got, first)
	}
	crlf := strings.ReplaceAll(string(service), "\n", "\r\n")
	write(t, filepath.Join(dir, "20-mesh.yaml"), []byte(crlf))
	if got := load(t, dir).Generation(); got != first {
		t.Errorf("with CRLF: got %s, want %s", got, first)
	}
	write(t, filepath.Join(dir, "20-mesh.yaml"), []byte(strings.Replace(string(service), "10.244.1.10", "10.244.1.11", 1)))
	if got := load(t, dir).Generation(); got == first {
		t.Errorf("after a change: got %s again", got)
	}
}
