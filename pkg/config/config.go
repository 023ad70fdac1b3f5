package config

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// Config is everything a directory says, validated. It must not be changed.
type Config struct {
	Gateway   static.Gateway // which waypoint this is
	Services  []static.Service
	Workloads []static.Workload
	Policies  []*v1alpha1.AgentAuthorizationPolicy
	Objects   []Source // where each object stands, in the order of the files

	generation string
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

func load(files []file, problems Problems) (*Config, Problems) {
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
	l.check()
	if len(l.problems) > 0 {
		l.problems.sort()
		return nil, l.problems
	}
	l.config.generation = generation(l.objects)
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
