package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	security "istio.io/api/security/v1beta1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// Config is everything a directory says, validated. It must not be changed.
type Config struct {
	Gateway   static.Gateway // which waypoint this is
	Services  []static.Service
	Workloads []static.Workload
	Policies  []*v1alpha1.AgentAuthorizationPolicy

	Authentications []*v1alpha1.AgentAuthentication
	Requests        []*RequestAuthentication
	Exchanges       []*v1alpha1.TokenExchange
	Catalogs        []*v1alpha1.ToolCatalog

	Objects []Source // where each object stands, in the order of the files

	generation string
	objects    map[static.Ref]*object
}

// RequestAuthentication is Istio's kind of that name, with its targets as ours have them.
type RequestAuthentication struct {
	Namespace, Name string
	TargetRefs      []v1alpha1.TargetRef
	Spec            *security.RequestAuthentication
}

// Entry returns one entry of a ConfigMap or a Secret of the directory.
func (c *Config) Entry(kind, namespace, name, key string) ([]byte, error) {
	o := c.objects[static.Ref{Kind: kind, Namespace: namespace, Name: name}]
	if o == nil {
		return nil, fmt.Errorf("there is no %s %s/%s", kind, namespace, name)
	}
	value, ok := o.data[key]
	if !ok {
		return nil, fmt.Errorf("%s %s/%s has no entry %s", kind, namespace, name, key)
	}
	return []byte(value), nil
}

// HostOf returns the hostname of what a backendRef in an object of a namespace names: a ServiceEntry, or a Service, which in
// a directory is the ServiceEntry that has its host.
func (c *Config) HostOf(namespace string, ref v1alpha1.BackendRef) (string, error) {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	for _, s := range c.Services {
		for _, host := range s.Spec.Hosts {
			switch {
			case s.Namespace != namespace:
			case ref.Kind == kindService && s.Name == ref.Name, ref.Kind != kindService && isService(host, namespace, ref.Name):
				return host, nil
			}
		}
	}
	if ref.Kind == kindService {
		return "", fmt.Errorf("there is no ServiceEntry %s/%s", namespace, ref.Name)
	}
	return "", fmt.Errorf("there is no ServiceEntry with the host of Service %s/%s", namespace, ref.Name)
}

// Problem places a text at a field of an object.
func (c *Config) Problem(kind, namespace, name, field, text string) Problem {
	if o := c.objects[static.Ref{Kind: kind, Namespace: namespace, Name: name}]; o != nil {
		return o.problem(field, "%s", text)
	}
	return Problem{Object: kind + " " + namespace + "/" + name, Field: field, Text: text}
}

// Source says where an object stands.
type Source struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Line      int    `json:"line"`
}

// Generation names the content: the first 12 hexadecimal digits of a SHA-256 over all objects. Comments, layout, order and
// the split into files make no difference.
func (c *Config) Generation() string { return c.generation }

// Load reads a directory. It returns a Config, or every Problem of the directory and no Config.
func Load(dir string) (*Config, Problems) {
	files, problems := readFiles(dir)
	return load(files, problems)
}

// LoadObjects reads a directory that is not a waypoint's: a token service's, which has no Gateway. Each object is checked by itself;
// what objects refer to is not looked for.
func LoadObjects(dir string) (*Config, Problems) {
	files, problems := readFiles(dir)
	return loadObjects(files, problems, func(*loader) {})
}

func load(files []file, problems Problems) (*Config, Problems) {
	return loadObjects(files, problems, (*loader).check)
}

func loadObjects(files []file, problems Problems, check func(*loader)) (*Config, Problems) {
	l := &loader{config: &Config{}, first: map[static.Ref]*object{}, problems: problems}
	l.unreadable = len(problems) > 0
	for _, f := range files {
		docs, problems := documents(f)
		if len(docs) == 0 && len(problems) == 0 { // most likely a file caught while it is being written
			problems = Problems{{File: f.name, Text: "has no object in it"}}
		}
		l.problems = append(l.problems, problems...)
		l.unreadable = l.unreadable || len(problems) > 0
		for _, d := range docs {
			l.problems = append(l.problems, l.add(d)...)
		}
	}
	check(l)
	if len(l.problems) > 0 {
		l.problems.sort()
		return nil, l.problems
	}
	l.config.generation, l.config.objects = generation(l.objects), l.first
	return l.config, nil
}

// generation hashes the objects in an order of their own; each is one JSON value, so that none can run into the next.
func generation(objects []*object) string {
	values := make([]string, len(objects))
	for i, o := range objects {
		values[i] = string(o.encode(o.root, nil))
	}
	slices.Sort(values)
	h := sha256.New()
	for _, v := range values {
		h.Write([]byte(v + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
