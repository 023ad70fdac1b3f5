package mesh

import "strings"

// Protocol is what a port speaks, as far as its owner declared it. The zero value is Unknown.
type Protocol string

// The protocols. Everything but TCP, TLS and Unknown is served as HTTP.
const (
	Unknown Protocol = ""      // not declared: the first bytes decide
	HTTP    Protocol = "http"  // HTTP/1.1, or HTTP/2 without TLS if the client starts with its preface
	HTTP2   Protocol = "http2" // HTTP/2 without TLS, to the backend too
	GRPC    Protocol = "grpc"  // HTTP/2 without TLS, to the backend too
	TCP     Protocol = "tcp"   // raw bytes
	TLS     Protocol = "tls"   // raw bytes that start with a ClientHello
	MCP     Protocol = "mcp"   // HTTP that carries the Model Context Protocol
	A2A     Protocol = "a2a"   // HTTP that carries the Agent2Agent protocol
)

func (p Protocol) String() string {
	if p == Unknown {
		return "unknown"
	}
	return string(p)
}

// Agent reports whether p is one of the protocols whose messages are decoded.
func (p Protocol) Agent() bool { return p == MCP || p == A2A }

// ProtocolOf reads the appProtocol of a Kubernetes Service port: Kubernetes' and Istio's values, and those that name an agent
// protocol in the field (contract mcp-a2a, section 14). What it does not know is Unknown, never an error: such a port is
// sniffed.
func ProtocolOf(appProtocol string) Protocol {
	switch strings.ToLower(appProtocol) {
	case "mcp", "agentgateway.dev/mcp", "agentgateway.dev/mcp-sse", "kgateway.dev/mcp", "kgateway.dev/mcp-sse":
		return MCP
	case "a2a", "agentgateway.dev/a2a", "kgateway.dev/a2a":
		return A2A
	case "kubernetes.io/h2c":
		return HTTP2
	case "kubernetes.io/ws":
		return HTTP
	case "kubernetes.io/wss":
		return TLS
	}
	p, _ := ParseProtocol(appProtocol)
	return p
}

// ParseProtocol reads the protocol of an Istio port, in any case (Istio compares them so), and says whether it is one that
// can be carried here. The HTTP family, TCP and what Istio treats as TCP (Mongo, Redis, MySQL), and TLS are; UDP is not,
// because no tunnel exists for it. The empty string is Unknown.
func ParseProtocol(s string) (p Protocol, ok bool) {
	switch strings.ToLower(s) {
	case "":
		return Unknown, true
	case "http", "grpc-web":
		return HTTP, true
	case "http2":
		return HTTP2, true
	case "grpc":
		return GRPC, true
	case "tcp", "mongo", "redis", "mysql":
		return TCP, true
	case "tls", "https":
		return TLS, true
	}
	return Unknown, false
}

// ProtocolOfName reads the protocol from the name of a port, "<protocol>" or "<protocol>-<anything>"; besides Istio's it
// knows mcp and a2a. A name that says nothing is Unknown.
func ProtocolOfName(name string) Protocol {
	if name == "grpc-web" || strings.HasPrefix(name, "grpc-web-") {
		return HTTP
	}
	prefix, _, _ := strings.Cut(strings.ToLower(name), "-")
	switch prefix {
	case "mcp":
		return MCP
	case "a2a":
		return A2A
	}
	p, _ := ParseProtocol(prefix)
	return p
}

// ServerFirst reports whether a port belongs to a protocol in which the server speaks first (SMTP, DNS over TCP, MySQL,
// MongoDB). Waiting for the client's first byte would block those, so an undeclared one is TCP (istio/istio
// pkg/config/kube/conversion.go).
func ServerFirst(port uint16) bool {
	switch port {
	case 25, 53, 3306, 27017:
		return true
	}
	return false
}

// Own reports whether a port is one of the mesh's own on every workload: ztunnel's listeners and a waypoint's. Nothing is
// ever forwarded to one, or a caller could talk to the data plane itself (contract ambient, section 5.3).
func Own(port uint16) bool {
	switch port {
	case 15000, 15001, 15006, 15008, 15020, 15021, 15022, 15053, 15080, 15090:
		return true
	}
	return false
}
