package mesh

import (
	"maps"
	"slices"
	"strings"
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
		port, err := ParsePort(number)
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

// strangers returns the ports that are named and are not among the given ones.
func (b byPort[T]) strangers(ports []uint16) []uint16 {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b.on)), func(n uint16) bool { return slices.Contains(ports, n) })
}
