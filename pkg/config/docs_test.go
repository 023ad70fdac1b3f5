package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/config"
)

// The page lists the annotations that there are: the text of the problem with one that there is not names them all.
func TestDocsOfAnnotations(t *testing.T) {
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `waymark.dev/([a-z-]+)` \\|").FindAllStringSubmatch(page(t), -1) {
		listed = append(listed, m[1])
	}
	_, problems := config.Load(annotated(t, "waymark.dev/unknown: x"))
	_, names, ok := strings.Cut(problems.Error(), "those of a mesh object are ")
	if !ok {
		t.Fatalf("got %v, want what there is", problems)
	}
	known := strings.Split(strings.Replace(names, " and ", ", ", 1), ", ")
	if slices.Sort(listed); !slices.Equal(listed, slices.Sorted(slices.Values(known))) {
		t.Errorf("the page lists %q, and there are %q", listed, known)
	}
}

// What the page shows can be written so.
func TestDocsOfURLHosts(t *testing.T) {
	m := regexp.MustCompile("(?m)^waymark.dev/url-hosts: .*$").FindString(page(t))
	if got := rendered(t, load(t, annotated(t, m))); m == "" || !strings.Contains(got, "  may send people to [\"login.example.com\" ") {
		t.Errorf("%q means\n%s", m, got)
	}
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// annotated is a directory with one more service, which has one annotation.
func annotated(t *testing.T, annotation string) string {
	t.Helper()
	dir := baseDir(t)
	write(t, filepath.Join(dir, "90-annotated.yaml"), fmt.Appendf(nil, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: annotated
  namespace: bank
  labels: {istio.io/use-waypoint: agents}
  annotations:
    %s
spec:
  hosts: [annotated.example]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 192.0.2.1}]
`, annotation))
	return dir
}
