package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits of what is read. An object in a cluster cannot be larger than 1.5 MiB (etcd's limit), and a directory that needs
// more than this is not written by people.
const (
	maxFiles          = 1000
	maxFileBytes      = 4 << 20
	maxDirectoryBytes = 64 << 20
	maxObjectBytes    = 1 << 20 // as JSON
	maxDepth          = 64      // of lists and maps inside one another
)

// file is one file as it was read.
type file struct {
	name string
	text []byte
}

// readFiles reads the YAML files of a directory. Links are followed as long as they stay inside, because that is how
// Kubernetes mounts a ConfigMap; one that leads out of the directory is a problem.
func readFiles(dir string) ([]file, Problems) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Problems{{Text: fmt.Sprintf("cannot open the directory: %v", err)}}
	}
	defer root.Close()
	names, err := yamlNames(root)
	switch {
	case err != nil:
		return nil, Problems{{Text: fmt.Sprintf("cannot list the directory: %v", err)}}
	case len(names) == 0:
		return nil, Problems{{Text: "the directory has no *.yaml and no *.yml file"}}
	case len(names) > maxFiles:
		return nil, Problems{{Text: fmt.Sprintf("the directory has %d YAML files, over the limit of %d", len(names), maxFiles)}}
	}
	var files []file
	var problems Problems
	total := 0
	for _, name := range names {
		text, err := readFile(root, name)
		if err != nil {
			problems = append(problems, Problem{File: name, Text: err.Error()})
			continue
		}
		if total += len(text); total > maxDirectoryBytes {
			return nil, Problems{{Text: fmt.Sprintf("the files are larger than %d bytes together", maxDirectoryBytes)}}
		}
		files = append(files, file{name, text})
	}
	return files, problems
}

func yamlNames(root *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && (ext == ".yaml" || ext == ".yml") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// readFile looks before it opens: a pipe or a device would block or never end.
func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read: %w", cause(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("is not a regular file: %s", info.Mode().Type())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read: %w", cause(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read: %w", cause(err))
	case len(text) > maxFileBytes:
		return nil, fmt.Errorf("is larger than %d bytes", maxFileBytes)
	}
	return text, nil
}

// cause takes the path out of an error: the problem names the file already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
