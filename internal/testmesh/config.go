package testmesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// hbonePort is the annotation that moves a workload's tunnel away from port 15008, so that several fit on one machine.
const hbonePort = "waymark.dev/hbone-port"

// Placement is where the workload of a WorkloadEntry really runs.
type Placement struct {
	App    netip.AddrPort // the application
	Tunnel netip.AddrPort // its inbound stand-in; the zero value leaves the tunnel as the file has it
}

// CopyConfig copies the YAML files of a configuration directory and moves the WorkloadEntries named in at (by
// metadata.name) to where they run. Files without such an entry are copied byte for byte. A name in at that no file has
// is an error.
func CopyConfig(src, dst string, at map[string]Placement) error {
	var files []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(src, pattern))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return fmt.Errorf("testmesh: no *.yaml and no *.yml in %s", src)
	}
	moved := map[string]bool{}
	for _, f := range files {
		if err := copyFile(f, filepath.Join(dst, filepath.Base(f)), at, moved); err != nil {
			return err
		}
	}
	for name := range at {
		if !moved[name] {
			return fmt.Errorf("testmesh: %s has no WorkloadEntry %q", src, name)
		}
	}
	return nil
}

func copyFile(from, to string, at map[string]Placement, moved map[string]bool) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	docs, err := documents(text)
	if err != nil {
		return fmt.Errorf("testmesh: %s: %w", from, err)
	}
	changed := false
	for _, d := range docs {
		name, ok := workloadEntry(d)
		p, wanted := at[name]
		if !ok || !wanted {
			continue
		}
		move(d, p)
		moved[name], changed = true, true
	}
	if changed {
		if text, err = encode(docs); err != nil {
			return err
		}
	}
	return os.WriteFile(to, text, 0o600)
}

func documents(text []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, &n)
	}
}

func encode(docs []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	for _, d := range docs {
		if err := e.Encode(d); err != nil {
			return nil, err
		}
	}
	err := e.Close()
	return out.Bytes(), err
}

func workloadEntry(doc *yaml.Node) (name string, ok bool) {
	if len(doc.Content) == 0 {
		return "", false
	}
	kind, meta := member(doc.Content[0], "kind"), member(doc.Content[0], "metadata")
	if kind == nil || meta == nil || kind.Value != "WorkloadEntry" {
		return "", false
	}
	n := member(meta, "name")
	if n == nil {
		return "", false
	}
	return n.Value, true
}

// move sets the address, every named port and, where there is a tunnel, the port of that.
func move(doc *yaml.Node, p Placement) {
	meta, spec := member(doc.Content[0], "metadata"), member(doc.Content[0], "spec")
	set(spec, "address", p.App.Addr().String(), "!!str")
	if ports := member(spec, "ports"); ports != nil {
		for i := 1; i < len(ports.Content); i += 2 {
			ports.Content[i].Value = strconv.Itoa(int(p.App.Port()))
		}
	}
	if !p.Tunnel.IsValid() {
		return
	}
	annotations := member(meta, "annotations")
	if annotations == nil {
		annotations = &yaml.Node{Kind: yaml.MappingNode}
		meta.Content = append(meta.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "annotations"}, annotations)
	}
	set(annotations, hbonePort, strconv.Itoa(int(p.Tunnel.Port())), "!!str")
}

// member returns the value of a key in a mapping, or nil.
func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; mapping != nil && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func set(mapping *yaml.Node, key, value, tag string) {
	if n := member(mapping, key); n != nil {
		n.Value, n.Tag = value, tag
		return
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key},
		&yaml.Node{Kind: yaml.ScalarNode, Value: value, Tag: tag})
}
