package static

import (
	"maps"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/mesh"
)

// byPort is what one annotation says: one value for every port, or values port by port.
type byPort[T comparable] struct {
	every T
	on    map[uint16]T
}

// readByPort reads "mcp" (every port) or "3000=mcp,9090=http". It returns what is wrong with it, where expected says
// what could have been there.
func readByPort[T comparable](value string, parse func(string) (T, bool), expected string) (b byPort[T], text string) {
	if v, ok := parse(value); ok {
		return byPort[T]{every: v}, ""
	}
	b.on = map[uint16]T{}
	for item := range strings.SplitSeq(value, ",") {
		number, word, ok := strings.Cut(item, "=")
		v, known := parse(word)
		port, err := mesh.ParsePort(number)
		if !ok || !known || err != nil {
			return byPort[T]{}, quoted(item) + " is neither " + expected
		}
		if _, twice := b.on[port]; twice {
			return byPort[T]{}, "port " + number + " is given twice"
		}
		b.on[port] = v
	}
	return b, ""
}

// of returns the value for a port; zero if nothing is said of it.
func (b byPort[T]) of(port uint16) T {
	if v, ok := b.on[port]; ok {
		return v
	}
	return b.every
}

// check reports ports that the object does not have.
func (b byPort[T]) check(r report, name string, ports []port) {
	for _, number := range slices.Sorted(maps.Keys(b.on)) {
		if !slices.ContainsFunc(ports, func(p port) bool { return p.number == number }) {
			r.add(annotation(name), "port %d is not a port of the service", number)
		}
	}
}
