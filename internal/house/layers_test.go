package house_test

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "waymark.dev/waypoint/"

// layer is where a package stands. A package may import the layers that reach allows its own layer, and the packages of
// its own layer that are listed as its friends. It may never import a higher layer, and never a neighbour that is not a
// friend: policy stages do not know one another, and neither do the codecs.
type layer struct {
	level   int
	friends string
}

const (
	values   = 0 // nouns
	wire     = 1 // bytes in and out
	judgment = 2 // verdicts, from nouns alone
	assembly = 3 // files and objects become a ruleset
	service  = 4 // traffic
	process  = 5 // programs
	outside  = 6 // tests, the demo, the peers they need: imports anything, and production never imports it
)

// reach lists the lower layers that each layer may import. Judgment reaches past the wire on purpose: a stage sees no
// HTTP, no TLS and no codec.
var reach = map[int][]int{
	values:   {},
	wire:     {values},
	judgment: {values},
	assembly: {values, wire, judgment},
	service:  {values, wire, judgment, assembly},
	process:  {values, wire, judgment, assembly, service},
	outside:  {values, wire, judgment, assembly, service, process},
}

// layers is the table of ARCHITECTURE.md. A new package is a new line here.
var layers = map[string]layer{
	"pkg/identity":     {values, ""},
	"pkg/call":         {values, "pkg/identity"},
	"pkg/api/v1alpha1": {values, ""},

	"pkg/identity/chain":  {values, "pkg/identity pkg/call pkg/api/v1alpha1"},
	"pkg/identity/rights": {values, "pkg/identity"},

	"pkg/jsonrpc":        {wire, ""},
	"pkg/sse":            {wire, ""},
	"pkg/mcp":            {wire, "pkg/jsonrpc pkg/sse"},
	"pkg/identity/certs": {wire, ""},
	"pkg/hbone":          {wire, "pkg/identity/certs"},
	"pkg/mesh":           {wire, ""},
	"pkg/session":        {wire, ""},
	"pkg/mesh/static":    {wire, "pkg/mesh"},
	"pkg/mesh/wds":       {wire, "pkg/mesh"},

	"pkg/identity/certs/istioca": {wire, "pkg/identity/certs"},
	"pkg/identity/certs/spire":   {wire, "pkg/identity/certs"},

	"pkg/identity/jwks": {wire, "pkg/jsonrpc"},
	"pkg/fetch":         {wire, ""},
	"pkg/oauth":         {wire, ""},

	"pkg/policy":       {judgment, ""},
	"pkg/policy/authz": {judgment, "pkg/policy"},
	"pkg/policy/audit": {judgment, "pkg/policy"},
	"pkg/policy/urls":  {judgment, "pkg/policy"},

	"pkg/policy/authn":    {judgment, "pkg/policy"},
	"pkg/policy/extauthz": {judgment, "pkg/policy"},
	"pkg/policy/exchange": {judgment, "pkg/policy"},

	"pkg/config":  {assembly, ""},
	"pkg/ruleset": {assembly, "pkg/config"},
	"pkg/kube":    {assembly, "pkg/config"},

	"pkg/proxy": {service, ""},
	"pkg/sts":   {service, ""},
	"pkg/admin": {service, ""},

	"pkg/app":      {process, ""},
	"cmd/waypoint": {process, "pkg/app"},

	"pkg/identity/certs/certstest": {outside, ""},
	"pkg/identity/jwks/jwkstest":   {outside, ""},
	"internal/testmesh":            {outside, "pkg/identity/certs/certstest"},
	"internal/house":               {outside, ""},
	"internal/mcpmatrix":           {outside, ""},
	"internal/tally":               {outside, ""},
}

// modules are the other modules of the repository. Everything in them is outside, and imports what it likes.
var modules = []string{"cmd/demo", "e2e", "tools"}

// standard lists what layer 0 may import besides the standard library, so that everything can import layer 0.
var standard = map[string][]string{
	"pkg/api/v1alpha1": {"k8s.io/apimachinery/"},
}

func TestImportsFollowTheLayers(t *testing.T) {
	seen := map[string]bool{}
	sources(t, func(name string, content []byte) {
		if source, test := goFile(name); !source || test {
			return
		}
		pkg := path.Dir(name)
		seen[pkg] = true
		for _, imported := range imports(t, name, content) {
			if problem := judge(pkg, imported); problem != "" {
				t.Errorf("%s: %s", name, problem)
			}
		}
	})
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("the layer table has a line for %s, which does not exist", pkg)
		}
	}
}

// TestArchitectureTellsTheSameLayers compares the table that people read with the one that is enforced.
func TestArchitectureTellsTheSameLayers(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-5]) [a-z]+ \| ([^|]*) \|`).FindAllStringSubmatch(string(page), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			pkg := name[1]
			if !strings.HasPrefix(pkg, "cmd/") {
				pkg = "pkg/" + pkg
			}
			told[pkg] = int(row[1][0] - '0')
		}
	}
	held := map[string]int{}
	for pkg, l := range layers {
		if l.level != outside {
			held[pkg] = l.level
		}
	}
	if !maps.Equal(told, held) {
		t.Errorf("ARCHITECTURE.md tells\n%v, but the layers are\n%v", told, held)
	}
}

// judge says what is wrong with pkg importing imported, if anything is.
func judge(pkg, imported string) string {
	if inModules(pkg) {
		return ""
	}
	from, ok := layers[pkg]
	if !ok {
		return pkg + " is not in the layer table: add a line"
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours {
		if from.level == values && strings.Contains(imported, ".") && !hasPrefix(imported, standard[pkg]) {
			return "layer 0 imports the standard library only, not " + imported
		}
		return ""
	}
	to, ok := layers[target]
	switch {
	case inModules(target):
		return imported + " belongs to a module that only tests and the demo use"
	case !ok:
		return target + " is not in the layer table: add a line"
	case slices.Contains(reach[from.level], to.level), slices.Contains(strings.Fields(from.friends), target):
		return ""
	case to.level == outside:
		return target + " is for tests and the demo, never for production"
	}
	return pkg + " (layer " + strconv.Itoa(from.level) + ") must not import " + target +
		" (layer " + strconv.Itoa(to.level) + ")"
}

func TestJudgeRefuses(t *testing.T) {
	tests := []struct{ pkg, imported, want string }{
		{"pkg/call", module + "pkg/identity", ""},
		{"pkg/identity", module + "pkg/call", "pkg/identity (layer 0) must not import pkg/call (layer 0)"},
		{"pkg/identity", "golang.org/x/net/idna", "layer 0 imports the standard library only, not golang.org/x/net/idna"},
		{"pkg/policy/authz", module + "pkg/policy", ""},
		{"pkg/policy/authz", module + "pkg/policy/audit", "pkg/policy/authz (layer 2) must not import pkg/policy/audit (layer 2)"},
		{"pkg/policy/authz", module + "pkg/mcp", "pkg/policy/authz (layer 2) must not import pkg/mcp (layer 1)"},
		{"pkg/mcp", module + "pkg/proxy", "pkg/mcp (layer 1) must not import pkg/proxy (layer 4)"},
		{"pkg/app", module + "pkg/identity/certs/certstest", "pkg/identity/certs/certstest is for tests and the demo, never for production"},
		{"pkg/app", module + "cmd/demo/company", module + "cmd/demo/company belongs to a module that only tests and the demo use"},
		{"pkg/proxy", module + "pkg/util", "pkg/util is not in the layer table: add a line"},
		{"pkg/util", "fmt", "pkg/util is not in the layer table: add a line"},
		{"cmd/demo", module + "internal/testmesh", ""},
	}
	for _, tt := range tests {
		if got := judge(tt.pkg, tt.imported); got != tt.want {
			t.Errorf("judge(%s, %s)\n got %q\nwant %q", tt.pkg, tt.imported, got, tt.want)
		}
	}
}

// TestNoLooseJSON keeps encoding/json v1 away from bytes that a peer sent: it takes the last of two equal names, folds
// case and repairs bad UTF-8, each of which is a way to make a policy judge something other than what runs.
func TestNoLooseJSON(t *testing.T) {
	sources(t, func(name string, content []byte) {
		source, test := goFile(name)
		if !source || test || !strings.HasPrefix(name, "pkg/") || strings.HasPrefix(path.Base(name), "zz_generated") {
			return
		}
		if slices.Contains(imports(t, name, content), "encoding/json") {
			t.Errorf("%s imports encoding/json: use encoding/json/v2, or pkg/jsonrpc for what a peer sent", name)
		}
	})
}

func imports(t *testing.T, name string, content []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, imported)
	}
	return paths
}

func inModules(pkg string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return pkg == m || strings.HasPrefix(pkg, m+"/") })
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
