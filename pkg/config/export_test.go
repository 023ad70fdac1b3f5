package config

import (
	"maps"
	"slices"
)

// LoadText is Load of files that are in memory already: fuzzing has no time for a disk.
func LoadText(files map[string][]byte) (*Config, Problems) {
	var read []file
	for _, name := range slices.Sorted(maps.Keys(files)) {
		read = append(read, file{name, files[name]})
	}
	return load(read, nil)
}
