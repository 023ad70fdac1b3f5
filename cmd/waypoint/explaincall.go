package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
	"waymark.dev/waypoint/pkg/ruleset"
)

// defaultVersion is the revision of MCP that a caller is taken to speak.
const defaultVersion = "2025-11-25"

// question is a call that somebody might make. Its JSON is what --call reads.
type question struct {
	Caller    string            `json:"caller"`
	Service   string            `json:"service"`
	Method    string            `json:"method"`
	Tool      string            `json:"tool"`
	Resource  string            `json:"resource"`
	Prompt    string            `json:"prompt"`
	Arguments jsontext.Value    `json:"arguments"`
	Claims    jsontext.Value    `json:"claims"`
	Headers   map[string]string `json:"headers"`
	Source    string            `json:"source"`
	Path      string            `json:"path"`
	Version   string            `json:"version"`
}

func (q *question) empty() bool {
	return q.Caller+q.Service+q.Method+q.Tool+q.Resource+q.Prompt+q.Source+q.Path+q.Version == "" && q.Arguments == nil && q.Headers == nil && q.Claims == nil
}

func (q *question) unmarshal(text []byte) error {
	return json.Unmarshal(text, q, json.RejectUnknownMembers(true))
}

func (q *question) addHeader(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("is not name=value")
	}
	if q.Headers == nil {
		q.Headers = map[string]string{}
	}
	if _, twice := q.Headers[name]; twice {
		return errors.New("is given twice")
	}
	q.Headers[name] = value
	return nil
}

// destination finds what is called: the way a tunnel does for host:port and ip:port, by name for namespace/name.
func (q *question) destination(rules *ruleset.Ruleset) (*mesh.Destination, error) {
	namespace, name, named := strings.Cut(q.Service, "/")
	if !named {
		return rules.View().Resolve(q.Service)
	}
	name, number, withPort := strings.Cut(name, ":")
	for _, a := range rules.Attached() {
		if a.Service.Namespace != namespace || a.Service.Name != name && a.Object.Name != name {
			continue
		}
		if !withPort {
			d, err := onlyPort(a)
			if err != nil {
				return nil, fmt.Errorf("--service %s: %w", q.Service, err)
			}
			return d, nil
		}
		return rules.View().Resolve(authorityOf(a, number))
	}
	return nil, fmt.Errorf("%w: %s", mesh.ErrNotAttached, q.Service)
}

// onlyPort picks the port that is meant when none is named.
func onlyPort(a static.Attached) (*mesh.Destination, error) {
	if len(a.Ports) == 1 {
		return a.Ports[0], nil
	}
	agent := slices.DeleteFunc(slices.Clone(a.Ports), func(d *mesh.Destination) bool { return !d.Protocol.Agent() })
	if len(agent) == 1 {
		return agent[0], nil
	}
	return nil, errors.New("say which port: namespace/name:port")
}

// authorityOf is what a tunnel to one port of a service or workload would name.
func authorityOf(a static.Attached, port string) string {
	if a.Service.Hostname != "" {
		return a.Service.Hostname + ":" + port
	}
	return net.JoinHostPort(a.Address.String(), port)
}

// built is a call as the waypoint would have read it: message is nil for what is not MCP, refusal is set for what could not
// be read.
type built struct {
	asked   string // the method of what could not be read
	call    *call.Call
	message *mcp.Message
	refusal *mcp.Response
}

// build makes the call out of the bytes that would arrive, with the codec of the server.
func (q *question) build(caller identity.ID, dest *mesh.Destination) (*built, error) {
	c := &call.Call{
		ID: "explain", Received: time.Now(), Direction: call.ToServer, Principal: caller,
		Route: call.Route{Name: dest.Service.String(), Service: dest.Service},
	}
	if q.Source != "" {
		addr, err := netip.ParseAddr(q.Source)
		if err != nil {
			return nil, fmt.Errorf("--source: %w", err)
		}
		c.Source = netip.AddrPortFrom(addr, 0)
	}
	if dest.Protocol == mesh.TCP || dest.Protocol == mesh.TLS {
		return q.buildRaw(c, dest)
	}
	body, err := q.request(c, dest)
	if err != nil {
		return nil, err
	}
	if dest.Protocol != mesh.MCP && !mcp.Matches(&c.HTTP, body) {
		c.Protocol, c.Method = call.HTTP, c.HTTP.Method
		return &built{call: c}, nil
	}
	m, refusal := mcp.Decode(&c.HTTP, body, mcp.Options{Style: mcp.Style(dest.Style)})
	if refusal != nil {
		c.Protocol = call.MCP
		return &built{asked: q.asked(), call: c, refusal: refusal}, nil
	}
	m.Fill(c)
	return &built{call: c, message: m}, nil
}

// buildRaw is a connection of which only its ends are known.
func (q *question) buildRaw(c *call.Call, dest *mesh.Destination) (*built, error) {
	ends := question{Caller: q.Caller, Service: q.Service, Source: q.Source}
	rest := *q
	rest.Caller, rest.Service, rest.Source = "", "", ""
	if !rest.empty() {
		return nil, fmt.Errorf("port %d of %s is %s: nothing but --caller and --source is known of a connection to it",
			dest.Service.Port, ends.Service, dest.Protocol)
	}
	c.Protocol = call.TCP
	return &built{call: c}, nil
}

// request fills in the HTTP request and returns its body.
func (q *question) request(c *call.Call, dest *mesh.Destination) ([]byte, error) {
	host := dest.Service.Hostname
	if host == "" {
		host = dest.Service.Name
	}
	c.HTTP = call.Request{Method: http.MethodPost, Path: q.Path, Host: host + ":" + strconv.Itoa(int(dest.Service.Port)), Header: http.Header{}}
	for name, value := range q.Headers {
		c.HTTP.Header.Add(name, value)
	}
	if isHTTP(q.Method) {
		if q.Tool+q.Resource+q.Prompt+q.Version != "" || q.Arguments != nil {
			return nil, fmt.Errorf("%s is an HTTP method: it has no tool, resource, prompt, arguments or version", q.Method)
		}
		c.HTTP.Method = q.Method
		setDefault(&c.HTTP.Path, "/")
		return nil, nil
	}
	setDefault(&c.HTTP.Path, "/mcp")
	return q.message(c.HTTP.Header)
}

// asked is the method, given or worked out.
func (q *question) asked() string {
	if isHTTP(q.Method) {
		return q.Method
	}
	method, _, _, _ := q.params() // request has checked the rest
	return method
}

func isHTTP(method string) bool {
	return method != "" && strings.ToUpper(method) == method && !strings.Contains(method, "/")
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// message writes the JSON-RPC message and the headers that belong to it.
func (q *question) message(h http.Header) ([]byte, error) {
	method, target, params, err := q.params()
	if err != nil {
		return nil, err
	}
	version := q.Version
	setDefault(&version, defaultVersion)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": version,
	} {
		if _, ok := h[name]; !ok {
			h.Set(name, value)
		}
	}
	if mcp.ParseVersion(version).Modern() {
		params["_meta"] = jsontext.Value(fmt.Sprintf(
			`{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":{}}`, version))
		h.Set("Mcp-Method", method)
		if target != "" {
			h.Set("Mcp-Name", target)
		}
	}
	m := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
	if !strings.HasPrefix(method, "notifications/") {
		m["id"] = 1
	}
	return json.Marshal(m, json.Deterministic(true))
}

// params works out the method and its parameters from what is named.
func (q *question) params() (method, target string, params map[string]any, err error) {
	params = map[string]any{}
	method = q.Method
	named := 0
	for _, t := range []struct{ value, member, method string }{
		{q.Tool, "name", "tools/call"}, {q.Resource, "uri", "resources/read"}, {q.Prompt, "name", "prompts/get"},
	} {
		if t.value == "" {
			continue
		}
		named++
		target, params[t.member] = t.value, t.value
		setDefault(&method, t.method)
	}
	switch {
	case named > 1:
		return "", "", nil, errors.New("a call names one of --tool, --resource and --prompt, not several")
	case method == "":
		return "", "", nil, errors.New("what is called? say --method, --tool, --resource or --prompt")
	}
	if q.Arguments != nil {
		if !q.Arguments.IsValid() || q.Arguments.Kind() != '{' {
			return "", "", nil, errors.New("--arguments is not a JSON object that everybody reads alike")
		}
		params["arguments"] = q.Arguments
	}
	return method, target, params, nil
}

func serviceName(s call.Service) string {
	if s.Hostname == "" {
		return s.String()
	}
	return s.String() + " (" + s.Hostname + ")"
}
