package mcpmatrix

import (
	"net/http"
)

// Transport is how a message gets to a server.
type Transport string

// The transports.
const (
	Legacy   Transport = "streamable 2025-06-18"
	Modern   Transport = "streamable 2026-07-28"
	Original Transport = "HTTP+SSE 2024-11-05" // a POST whose answer comes on the stream of a GET
)

// Want is what must become of a message.
type Want struct {
	Forward bool // it arrives, byte for byte
	Status  int  // of the refusal
	Code    int  // of the JSON-RPC error in it, 0 for one as text
}

// Request is one POST.
type Request struct {
	Name   string
	Header http.Header
	Body   []byte
	Want   Want
}

// base is a message that is as it should be.
type base struct {
	method string // "" for a client's answer
	mirror string // what Mcp-Name repeats, "" if nothing
	root   *node
}

// Requests returns the whole matrix of one transport: every way in which one member of a message can be misspelled, and every
// way in which a body as a whole can. Each request differs from a good one in one thing.
func Requests(t Transport) (list []Request) {
	for _, b := range bases(t) {
		list = append(list, b.request(t, "as it should be", b.root.text(nil, ""), Want{Forward: true}))
		list = append(list, b.members(t)...)
		list = append(list, b.bodies(t)...)
	}
	return list
}

func (b *base) request(t Transport, name, body string, want Want) Request {
	return Request{Name: b.name() + "/" + name, Header: b.header(t), Body: []byte(body), Want: want}
}

func (b *base) name() string {
	if b.method == "" {
		return "answer"
	}
	return b.method
}

func (b *base) header(t Transport) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	switch t {
	case Legacy:
		h["Mcp-Protocol-Version"] = []string{"2025-06-18"}
	case Modern:
		h["Mcp-Protocol-Version"] = []string{"2026-07-28"}
		h["Mcp-Method"] = []string{b.method}
		if b.mirror != "" {
			h["Mcp-Name"] = []string{b.mirror}
		}
	}
	return h
}

// members spells each member of the message in each way.
func (b *base) members(t Transport) (list []Request) {
	ways := mutations()
	b.root.all(func(n *node) {
		for _, m := range ways {
			if spelled, ok := m.spell(n); ok {
				list = append(list, b.request(t, n.name+"/"+m.name, b.root.text(n, spelled), n.verdict(m.class, t)))
			}
		}
	})
	return list
}

// The refusals of the strict reader.
var (
	notJSON = Want{Status: 400, Code: -32700}
	invalid = Want{Status: 400, Code: -32600}
	badName = Want{Status: 400, Code: -32602}
	media   = Want{Status: 415, Code: -32600}
)

// verdict is what must become of a message one member of which is spelled in a way of class c.
func (n *node) verdict(c class, t Transport) Want {
	switch {
	case c == unreadable:
		return notJSON
	case c == duplicate || c == excessive || c == deep && !n.nests:
		return invalid
	case (c == twin || c == nulName) && n.place != free:
		return invalid
	case c == nulValue:
		return n.nulVerdict(t)
	}
	return Want{Forward: true}
}

// nulVerdict is what must become of a NUL in the member's value.
func (n *node) nulVerdict(t Transport) Want {
	switch n.means {
	case marker, identity:
		return invalid
	case method, target:
		return badName
	case kind:
		if t != Modern {
			return Want{Status: 200, Code: -32602}
		}
		return badName
	case revision:
		return Want{Status: 400, Code: -32020}
	}
	return Want{Forward: true}
}

// bases are messages of every shape that a client of the transport sends.
func bases(t Transport) []*base {
	if t == Modern {
		return modernBases()
	}
	return legacyBases()
}

// message is an envelope; a notification has no id.
func message(id *node, name string, params *node) *node {
	return object(envelope, "",
		leaf(envelope, "jsonrpc", `"2.0"`).mean(marker), id, leaf(envelope, "method", `"`+name+`"`).mean(method), params)
}

func number() *node { return leaf(envelope, "id", "1").mean(identity) }
func word() *node   { return leaf(envelope, "id", `"id-1"`).mean(identity) }

func calling(id *node, name, mirror string, params ...*node) *base {
	return &base{method: name, mirror: mirror, root: message(id, name, object(envelope, "params", params...))}
}

func named(name, value string) *node { return leaf(parameter, name, `"`+value+`"`).mean(target) }

func legacyMeta() *node {
	return object(parameter, "_meta", leaf(free, "progressToken", `"p"`)).nesting()
}

func modernMeta() *node {
	return object(parameter, "_meta",
		leaf(metadata, "io.modelcontextprotocol/protocolVersion", `"2026-07-28"`).mean(revision),
		object(metadata, "io.modelcontextprotocol/clientCapabilities", object(free, "elicitation", leaf(free, "form", "1"))),
		leaf(free, "progressToken", `"p"`)).nesting()
}

func arguments() *node {
	return object(parameter, "arguments", leaf(free, "path", `"a"`), object(free, "options", leaf(free, "k", "true"))).nesting()
}

func argument() *node {
	return object(parameter, "argument", leaf(free, "name", `"a"`), leaf(free, "value", `"b"`))
}

func implementation() *node {
	return object(parameter, "clientInfo", leaf(free, "name", `"c"`), leaf(free, "version", `"1"`))
}

func inputs() *node {
	return object(parameter, "inputResponses", object(free, "q", leaf(free, "action", `"accept"`)))
}
func state() *node { return leaf(parameter, "requestState", `"s"`) }

func referring(kindOf, name, value string) *node {
	return object(parameter, "ref", leaf(reference, "type", `"`+kindOf+`"`).mean(kind), leaf(reference, name, `"`+value+`"`).mean(target))
}

func legacyBases() []*base {
	return []*base{
		calling(number(), "initialize", "", leaf(parameter, "protocolVersion", `"2025-06-18"`), object(parameter, "capabilities", object(free, "roots", leaf(free, "listChanged", "true"))), implementation()),
		calling(number(), "tools/list", "", leaf(parameter, "cursor", `"c"`), legacyMeta()),
		calling(number(), "tools/call", "", named("name", "read"), arguments(), object(parameter, "task", leaf(free, "ttl", "1")), legacyMeta()),
		calling(word(), "resources/read", "", named("uri", "file:///a")),
		calling(number(), "resources/subscribe", "", named("uri", "file:///a")),
		calling(word(), "prompts/get", "", named("name", "review"), arguments()),
		calling(number(), "completion/complete", "", referring("ref/prompt", "name", "review"), argument(), object(parameter, "context", object(free, "arguments", leaf(free, "k", `"v"`)).nesting())),
		calling(number(), "completion/complete", "", referring("ref/resource", "uri", "file:///{a}"), argument()),
		calling(number(), "logging/setLevel", "", leaf(parameter, "level", `"debug"`)),
		calling(number(), "tasks/get", "", named("taskId", "t")),
		calling(nil, "notifications/cancelled", "", leaf(parameter, "requestId", "1"), leaf(parameter, "reason", `"r"`)),
		calling(nil, "notifications/progress", "", leaf(parameter, "progressToken", `"p"`), leaf(parameter, "progress", "1"), leaf(parameter, "total", "2"), leaf(parameter, "message", `"m"`)),
		answering(object(envelope, "result", leaf(free, "action", `"accept"`), object(free, "content", leaf(free, "sure", "true")))),
		answering(object(envelope, "error", leaf(fault, "code", "-1"), leaf(fault, "message", `"no"`), object(fault, "data", leaf(free, "why", `"x"`)).nesting())),
	}
}

func answering(outcome *node) *base {
	return &base{root: object(envelope, "", leaf(envelope, "jsonrpc", `"2.0"`).mean(marker), word(), outcome)}
}

func modernBases() []*base {
	listen := object(parameter, "notifications", leaf(wanted, "resourceSubscriptions", `["file:///a"]`), leaf(free, "toolsListChanged", "true"))
	return []*base{
		calling(number(), "server/discover", "", modernMeta()),
		calling(number(), "tools/list", "", modernMeta(), leaf(parameter, "cursor", `"c"`)),
		calling(word(), "tools/call", "read", named("name", "read"), arguments(), inputs(), state(), modernMeta()),
		calling(number(), "resources/read", "file:///a", modernMeta(), named("uri", "file:///a"), inputs(), state()),
		calling(number(), "prompts/get", "review", modernMeta(), named("name", "review"), arguments()),
		calling(number(), "completion/complete", "", modernMeta(), referring("ref/prompt", "name", "review"), argument()),
		calling(number(), "completion/complete", "", modernMeta(), referring("ref/resource", "uri", "file:///{a}"), argument()),
		calling(word(), "subscriptions/listen", "", modernMeta(), listen),
		calling(number(), "tasks/update", "t", modernMeta(), named("taskId", "t"), inputs()),
		calling(number(), "skills/get", "", modernMeta(), named("uri", "skill://a")),
		calling(nil, "notifications/progress", "", leaf(parameter, "progressToken", `"p"`), leaf(parameter, "progress", "1")),
	}
}
