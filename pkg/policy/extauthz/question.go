package extauthz

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"errors"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf8"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// question tells the service of a call.
func (s *Stage) question(c *call.Call) (*auth.CheckRequest, error) {
	extensions, err := s.extensions(c)
	if err != nil {
		return nil, err
	}
	a := &auth.AttributeContext{
		Source:            &auth.AttributeContext_Peer{Address: address(c.Source), Principal: c.Principal.String()},
		Destination:       &auth.AttributeContext_Peer{Address: socket(c.Route.Service.Hostname, c.Route.Service.Port)},
		Request:           &auth.AttributeContext_Request{Time: timestamppb.New(c.Received)},
		ContextExtensions: extensions,
	}
	if c.Protocol != call.TCP {
		if a.Request.Http, err = s.http(c); err != nil {
			return nil, err
		}
	}
	return &auth.CheckRequest{Attributes: a}, nil
}

// http tells of the HTTP request. The query stays here: it is no part of what is judged, and secrets hide in queries.
func (s *Stage) http(c *call.Call) (*auth.AttributeContext_HttpRequest, error) {
	headers := make(map[string]string, len(s.Headers))
	for _, name := range s.Headers {
		if lines := c.HTTP.Header[textproto.CanonicalMIMEHeaderKey(name)]; len(lines) > 0 {
			headers[strings.ToLower(name)] = strings.Join(lines, ",")
		}
	}
	for name, value := range headers {
		if !utf8.ValidString(value) {
			return nil, errors.New("the header " + name + " is not valid UTF-8, so that the external authorization service cannot be told")
		}
	}
	if !utf8.ValidString(c.HTTP.Path) || !utf8.ValidString(c.HTTP.Host) || !utf8.ValidString(c.HTTP.Method) {
		return nil, errors.New("the request line is not valid UTF-8, so that the external authorization service cannot be told")
	}
	return &auth.AttributeContext_HttpRequest{
		Id: c.ID, Method: c.HTTP.Method, Host: c.HTTP.Host, Path: c.HTTP.Path, Headers: headers, Size: -1,
	}, nil
}

func (s *Stage) extensions(c *call.Call) (map[string]string, error) {
	intent := c.Intent
	if intent == "" {
		intent = call.Use
	}
	m := map[string]string{"waymark.intent": string(intent)}
	for name, value := range map[string]string{
		"protocol": string(c.Protocol), "version": c.Version, "method": c.Method,
		"target_kind": string(c.Target.Kind), "target": c.Target.Name,
		"service": c.Route.Service.String(), "port": strconv.Itoa(int(c.Route.Service.Port)),
		"principal": c.Principal.String(),
	} {
		if value != "" {
			m["waymark."+name] = value
		}
	}
	if c.Claims != nil {
		m["waymark.issuer"] = c.Claims.Issuer
		m["waymark.scope"] = strings.Join(c.Claims.Scope, " ")
	}
	if len(c.Chain) > 0 {
		m["waymark.user"] = c.Chain[0].Subject
		m["waymark.chain"], m["waymark.chain_verified"] = chain(c.Chain)
	}
	if c.Arguments != nil && s.Arguments != ArgumentsNone {
		sum := sha256.Sum256(c.Arguments)
		m["waymark.arguments_sha256"] = hex.EncodeToString(sum[:])
	}
	if c.Arguments != nil && s.Arguments == ArgumentsFull {
		m["waymark.arguments"] = string(c.Arguments)
	}
	for name, value := range m {
		if !utf8.ValidString(value) {
			return nil, errors.New(name + " is not valid UTF-8, so that the external authorization service cannot be told")
		}
	}
	return m, nil
}

// chain writes the names of a chain as a JSON array: no name can be taken for two, whatever is in it.
func chain(hops []identity.Hop) (names, verified string) {
	out, all := []byte{'['}, true
	for i, hop := range hops {
		if i > 0 {
			out = append(out, ',')
		}
		out, _ = jsontext.AppendQuote(out, hop.Subject) // what is not UTF-8 is written as U+FFFD, which is no name
		all = all && hop.Verified
	}
	return string(append(out, ']')), strconv.FormatBool(all)
}

func address(a netip.AddrPort) *core.Address {
	if !a.IsValid() {
		return nil
	}
	return socket(a.Addr().Unmap().String(), a.Port())
}

func socket(host string, port uint16) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: host, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}
