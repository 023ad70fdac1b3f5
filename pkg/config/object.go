package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"waymark.dev/waypoint/pkg/mesh"
)

// The kinds that are read here.
const (
	kindGateway  = "Gateway"
	kindService  = "ServiceEntry"
	kindWorkload = "WorkloadEntry"
	kindPolicy   = "AgentAuthorizationPolicy"
)

// versions are the values of apiVersion under which each kind is known.
func versions(kind string) []string {
	switch kind {
	case kindGateway:
		return []string{"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"}
	case kindService, kindWorkload:
		return []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"}
	case kindPolicy:
		return []string{"waymark.dev/v1alpha1"}
	}
	return nil
}

// object is one Kubernetes object: its envelope decoded, its spec still a tree.
type object struct {
	*document
	Kind        string
	Namespace   string
	Name        string
	Labels      map[string]string
	Annotations map[string]string

	spec *yaml.Node
}

// envelope is what every object has. Fields that only an API server or a controller writes are no configuration, and are
// refused as unknown.
type envelope struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       any      `json:"spec"`
}

type metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func (o *object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// problem places a text at a field of the object.
func (o *object) problem(field, format string, args ...any) Problem {
	line, column := o.locate(field)
	return Problem{File: o.file, Line: line, Column: column, Object: o.title(), Field: bounded(field), Text: fmt.Sprintf(format, args...)}
}

// readObject decodes the envelope of a document. With problems it returns no object.
func readObject(d *document) (*object, Problems) {
	o := &object{document: d}
	if d.root.Kind != yaml.MappingNode {
		return nil, Problems{o.problem("", "a document has to be one object")}
	}
	o.Kind = d.text("kind")
	if n := len(d.encode(d.root, nil)); n > maxObjectBytes {
		return nil, Problems{o.problem("", "the object has %d bytes as JSON, over the limit of %d", n, maxObjectBytes)}
	}
	var e envelope
	problems := o.decode(d.root, "", &e)
	o.Namespace, o.Name = e.Metadata.Namespace, e.Metadata.Name
	o.Labels, o.Annotations = e.Metadata.Labels, e.Metadata.Annotations
	_, o.spec = child(d.root, "spec")
	for _, p := range o.checkEnvelope(e) {
		if !problems.cover(p.Field) {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return o, nil
}

func (o *object) checkEnvelope(e envelope) Problems {
	var problems Problems
	add := func(field, format string, args ...any) {
		problems = append(problems, o.problem(field, format, args...))
	}
	known := versions(e.Kind)
	switch {
	case e.Kind == "":
		add("kind", "is missing")
	case known == nil:
		add("kind", "%q is not a kind that can be read from files: those are Gateway, ServiceEntry, WorkloadEntry and "+
			"AgentAuthorizationPolicy", cut(e.Kind, maxWord))
		return problems
	case !slices.Contains(known, e.APIVersion):
		add("apiVersion", "%s is not a version of %s: write %s", given(e.APIVersion), e.Kind, strings.Join(known, " or "))
	}
	switch {
	case e.Metadata.Name == "":
		add("metadata.name", "is missing")
	case !mesh.ValidName(e.Metadata.Name):
		add("metadata.name", "%q is not a name of a-z, 0-9, - and .", cut(e.Metadata.Name, maxWord))
	}
	switch {
	case e.Metadata.Namespace == "":
		add("metadata.namespace", "is missing: a directory has no current namespace")
	case !mesh.ValidLabel(e.Metadata.Namespace):
		add("metadata.namespace", "%q is not a name of a-z, 0-9 and -", cut(e.Metadata.Namespace, maxWord))
	}
	if o.spec == nil {
		add("spec", "is missing")
	}
	return problems
}

func given(s string) string {
	if s == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", cut(s, maxWord))
}
