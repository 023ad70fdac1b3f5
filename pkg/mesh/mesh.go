package mesh

import (
	"errors"
	"net/netip"

	"waymark.dev/waypoint/pkg/call"
)

// View is what is known of the mesh. It is safe for concurrent use.
type View interface {
	// Resolve finds what the authority of a tunnel names: the address of a service or workload, or the hostname of a
	// service, always with a port. Its errors wrap ErrAuthority, ErrNotAttached, ErrUnknownPort or ErrOwnPort.
	Resolve(authority string) (*Destination, error)

	// Version changes whenever Resolve may answer differently. Endpoints that come and go do not change it: a Destination
	// always picks among those of the moment.
	Version() uint64
}

// Directory is a View that also knows what is not behind this waypoint, for what the waypoint itself asks of others: keys,
// tokens, decisions.
type Directory interface {
	View
	// Locate finds a port of a service by its full hostname. Its errors wrap ErrUnknownHost or ErrUnknownPort.
	Locate(host string, port uint16) (*Destination, error)
}

// Ref names an object.
type Ref struct{ Kind, Namespace, Name string }

func (r Ref) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// Host is a hostname in a namespace: the name of a service in istiod's view. The same hostname may exist in several
// namespaces (contract ambient, section 2.4).
type Host struct{ Namespace, Hostname string }

// Attached is a service or workload that this waypoint stands in front of.
type Attached struct {
	Object   Ref          // what policies name: a Service, ServiceEntry, WorkloadEntry or Pod
	Service  call.Service // Port is 0: a policy judges every port
	URLHosts []string     // see URLHosts
	Faults   []Fault      // annotations that cannot be used: what they were to restrict is not known, so nothing passes
}

// Declared is what the objects behind a service say of it and istiod does not pass on (contract ambient, section 2.6).
type Declared struct {
	Object  Ref
	Options Options
	Faults  []Fault
	Ports   map[uint16]Protocol // by service port, as appProtocol or the name of the port says
}

// Errors a caller branches on, because each has its own status (contract ambient, section 4.6).
var (
	ErrAuthority   = errors.New("mesh: the authority is not host:port")
	ErrUnknownHost = errors.New("mesh: no such service")
	ErrNotAttached = errors.New("mesh: not attached to this waypoint")
	ErrUnknownPort = errors.New("mesh: the service has no such port")
	ErrOwnPort     = errors.New("mesh: the port belongs to the mesh itself")
	ErrNoEndpoint  = errors.New("mesh: no endpoint")
)

// Mode says what decoding may do to traffic (contract mcp-a2a, section 14).
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // the port carries an agent protocol: what is not a valid message of it is refused
	Auto    Mode = "auto"    // only what positively is an agent message is judged as one; the rest is plain HTTP
	Observe Mode = "observe" // classify and count, never change or refuse a message because of its shape
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, bool) {
	switch m := Mode(s); m {
	case Enforce, Auto, Observe:
		return m, true
	}
	return "", false
}

// DefaultMaxBody is how much of a request is read, in bytes, where nobody said otherwise: arguments decide, so a request
// is held whole before it is judged.
const DefaultMaxBody = 4 << 20

// Destination is one port of a service or workload that this waypoint stands in front of. It is immutable and safe for
// concurrent use.
type Destination struct {
	Service  call.Service
	Protocol Protocol
	HTTP2    bool // an agent protocol on a port whose backend speaks HTTP/2 only
	Mode     Mode
	MaxBody  int64  // bytes of a request's body; more is refused
	Style    string // how a refusal of a named target looks: masked, explained or result (contract mcp-a2a, section 7)
	Batches  bool   // arrays of messages are read where MCP 2025-03-26 is spoken (contract mcp-a2a, section 4.4)

	Endpoints []Endpoint
	Choice    Choice // nil chooses at random
	Picker    Picker // chooses instead of both, from endpoints that come and go
}

// Picker chooses an endpoint whose Address is none of those tried already. Its error wraps ErrNoEndpoint. It is safe for
// concurrent use.
type Picker interface {
	Pick(tried []netip.AddrPort) (Endpoint, error)
}
