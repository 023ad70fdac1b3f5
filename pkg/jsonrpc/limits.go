package jsonrpc

// Limits bound one JSON text. They hold before anything is built from it. Sizes are bytes as written, so that a text of
// escapes counts for what it costs to read.
type Limits struct {
	Bytes    int // of the whole text
	Envelope int // depth of nested objects and arrays, outside of arguments and metadata
	Depth    int // depth counted from the root, inside of them
	Members  int // of one object
	Values   int // of the whole text; names do not count
	String   int // of one string
	Number   int // of one number
	Name     int // of one member name
	ID       int // of a string id
}

// RequestLimits are the defaults for what a caller sends (contract mcp-a2a 12.1): below what the strictest known server
// reads, so that a text we accept never fails there for its shape.
func RequestLimits() Limits {
	return Limits{
		Bytes: 4 << 20, Envelope: 64, Depth: 512, Members: 10_000, Values: 100_000, String: 4 << 20, Number: 64, Name: 1 << 10,
		ID: 1 << 10,
	}
}

// ResponseLimits are the defaults for what a server answers: results carry schemas that nest, tables with many values, and
// files as one string.
func ResponseLimits() Limits {
	l := RequestLimits()
	l.Bytes, l.String = 16<<20, 16<<20
	l.Envelope = l.Depth
	l.Values, l.Members = 1_000_000, 100_000
	return l
}
