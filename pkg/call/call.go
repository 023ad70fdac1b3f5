package call

import (
	"encoding/json/jsontext"
	"net/http"
	"net/netip"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

// Protocol says which codec decoded the call. Calls that are not agent traffic are judged too: plain HTTP requests with
// their HTTP method, raw connections with no method at all.
type Protocol string

// The protocols a policy can name.
const (
	MCP  Protocol = "mcp"
	A2A  Protocol = "a2a"
	HTTP Protocol = "http"
	TCP  Protocol = "tcp" // raw bytes and TLS that we do not terminate
)

// Direction says who asks.
type Direction string

const (
	ToServer Direction = "to-server"
	ToClient Direction = "to-client" // a server may ask too: sampling, elicitation, roots
)

// Kind says what a call names.
type Kind string

// Target kinds. None is for calls that name nothing (initialize, ping, plain HTTP).
const (
	None     Kind = ""
	Tool     Kind = "tool"
	Resource Kind = "resource"
	Prompt   Kind = "prompt"
	Skill    Kind = "skill"
	Task     Kind = "task"
)

// Target is what a call names: a tool by name, a resource by URI.
type Target struct {
	Kind Kind
	Name string
}

// Intent is what a method does to its target; the rows of a protocol's method table carry it. A policy that allows a tool
// by name implies the plumbing without which no client could use it, and only that.
type Intent string

const (
	Use      Intent = "use"      // reads, runs or changes something: judged by every part of a rule
	List     Intent = "list"     // asks what there is; the answer is filtered by the same rules that judge Use
	Plumbing Intent = "plumbing" // handshake, ping, progress, cancellation, opening and closing of streams
)

// Service is where a call is going, as the mesh names it.
type Service struct {
	Namespace string
	Name      string // the first label of Hostname, or the workload's name
	Hostname  string // fully qualified, for example company-mcp.bank.svc.cluster.local; empty for a bare workload
	Port      uint16 // the service port, or the workload port when addressed directly
}

func (s Service) String() string { return s.Namespace + "/" + s.Name }

// Route is how the call leaves us.
type Route struct {
	Name    string
	Service Service
	Backend string // the chosen endpoint's address, once there is one
}

// Request is the HTTP request that carried the call, as it will be sent upstream. Path is the only path there is: what a policy
// reads here is what the backend receives.
type Request struct {
	Method string
	Host   string
	Path   string // the raw request target without its query
	Query  string // the raw query without "?"
	Header http.Header
}

// Call is one decoded message that somebody wants delivered. Stages must not modify it.
type Call struct {
	ID        string // ours, unique; ties together log lines, audit record, trace and ticket
	Received  time.Time
	Protocol  Protocol
	Version   string // negotiated protocol version, "" if unknown
	Direction Direction
	Method    string // exactly as on the wire: "tools/call"; the HTTP method for plain HTTP; "" for raw TCP
	Intent    Intent // zero means Use
	Target    Target
	Arguments jsontext.Value // exactly as received; nil if the message had none
	Session   string         // the protocol's own session, if it has one; bearer-like: never logged in clear

	Principal identity.ID      // who opened the tunnel: proven by mTLS, never by a header
	Proof     string           // SHA-256 of the certificate that proved it, base64url as in x5t#S256 (RFC 8705 section 3.1)
	Claims    *identity.Claims // verified token, or nil
	Chain     []identity.Hop   // delegation, user first
	Source    netip.AddrPort   // TCP peer of the tunnel: the client pod's address
	Route     Route
	HTTP      Request
	Trace     Trace
}

// Trace is the W3C trace context of the call: the message's own if it has one, else that of the HTTP request that carried it.
// Where both are there and differ, Link is the HTTP request's traceparent. All may be empty.
type Trace struct {
	Parent string
	State  string
	Link   string
}

// Reply is one decoded item that flows back; a stream is a sequence of them.
type Reply struct {
	Seq    int
	Final  bool           // the answer itself; false for progress and notices
	Body   jsontext.Value // result or params, exactly as received
	Err    jsontext.Value // the JSON-RPC error object, if that is the answer
	Items  []Item         // the entries of a list result, in order; nil for everything else
	Asks   []*Call        // what the server asks of the client: instead of an answer, within one, or in an error that names it
	Notice *Call          // what the server tells the client unasked, if that is what the item is: its method, and nothing else of it
	Links  []Link         // the resources that a result points to instead of carrying them

	// Shared says that a cache may show the reply to other callers. A stage whose answer depends on the caller answers it
	// with a Rewrite, be it to the same Body: a codec marks what it encodes anew as meant for one caller.
	Shared bool
}

// Link is a URI in a result that a client or its user may follow by itself, past every proxy.
type Link struct{ URI string }

// Item is one entry of a list result and where it stands in Reply.Body.
type Item struct {
	Target     Target
	Start, End int  // byte offsets into Reply.Body
	Faulty     bool // its name could not be read in exactly one way: nobody may be shown it
}

// Without returns r.Body with the entries that drop selects cut out, and how many were. Bytes of the others stay as they
// came. It returns the body itself when nothing is cut.
func (r *Reply) Without(drop func(Item) bool) (jsontext.Value, int) {
	cut := 0
	kept := make([]bool, len(r.Items))
	for i, it := range r.Items {
		kept[i] = !it.Faulty && !drop(it)
		if !kept[i] {
			cut++
		}
	}
	if cut == 0 {
		return r.Body, 0
	}
	out := make(jsontext.Value, 0, len(r.Body))
	out = append(out, r.Body[:r.Items[0].Start]...)
	first := true
	for i, it := range r.Items {
		if !kept[i] {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, r.Body[it.Start:it.End]...)
	}
	return append(out, r.Body[r.Items[len(r.Items)-1].End:]...), cut
}
