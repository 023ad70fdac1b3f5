package config

import (
	"encoding/base64"
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
	kindAuthn    = "AgentAuthentication"
	kindExchange = "TokenExchange"
	kindCatalog  = "ToolCatalog"
	kindRequests = "RequestAuthentication"
	kindMap      = "ConfigMap"
	kindSecret   = "Secret"
)

// versions are the values of apiVersion under which each kind is known.
func versions(kind string) []string {
	switch kind {
	case kindGateway:
		return []string{"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"}
	case kindService, kindWorkload:
		return []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"}
	case kindPolicy, kindAuthn, kindExchange, kindCatalog:
		return []string{"waymark.dev/v1alpha1"}
	case kindRequests:
		return []string{"security.istio.io/v1", "security.istio.io/v1beta1"}
	case kindMap, kindSecret:
		return []string{"v1"}
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
	data map[string]string // of a ConfigMap or Secret
}

// holds reports whether objects of a kind hold data instead of a spec.
func holds(kind string) bool { return kind == kindMap || kind == kindSecret }

// envelope is what every object has. Fields that only an API server or a controller writes are no configuration, and are
// refused as unknown.
type envelope struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       any      `json:"spec"`

	Data       map[string]string `json:"data"`       // of a Secret in base64
	StringData map[string]string `json:"stringData"` // of a Secret as it is
	Type       string            `json:"type"`
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
	problems = append(problems, o.readData(e)...)
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
		add("kind", "%q is not a kind that can be read from files: those are Gateway, ServiceEntry, WorkloadEntry, "+
			"AgentAuthorizationPolicy, AgentAuthentication, TokenExchange, RequestAuthentication, ConfigMap and Secret", cut(e.Kind, maxWord))
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
	if o.spec == nil && !holds(e.Kind) {
		add("spec", "is missing")
	}
	return problems
}

// readData takes the entries of a ConfigMap or Secret. What they hold never gets into a problem.
func (o *object) readData(e envelope) Problems {
	var problems Problems
	if !holds(e.Kind) {
		for _, field := range []string{"data", "stringData", "type"} {
			if _, n := child(o.root, field); n != nil {
				problems = append(problems, o.problem(field, "unknown field"))
			}
		}
		return problems
	}
	if o.spec != nil {
		problems = append(problems, o.problem("spec", "unknown field"))
	}
	o.data = e.StringData
	if e.Kind == kindMap {
		if e.StringData != nil || e.Type != "" {
			problems = append(problems, o.problem("", "stringData and type belong to a Secret"))
		}
		o.data = e.Data
		return problems
	}
	if o.data == nil {
		o.data = map[string]string{}
	}
	for key, value := range e.Data {
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			problems = append(problems, o.problem(join("data", key), "is not base64: write it under stringData as it is"))
		}
		if _, twice := o.data[key]; twice {
			problems = append(problems, o.problem(join("data", key), "is under stringData too"))
		}
		o.data[key] = string(b)
	}
	return problems
}

func given(s string) string {
	if s == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", cut(s, maxWord))
}
