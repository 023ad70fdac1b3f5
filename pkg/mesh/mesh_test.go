package mesh_test

import (
	"errors"
	"net/netip"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
)

func TestProtocolOf(t *testing.T) {
	for in, want := range map[string]mesh.Protocol{
		"": mesh.Unknown, "MCP": mesh.MCP, "mcp": mesh.MCP, "agentgateway.dev/mcp": mesh.MCP, "kgateway.dev/MCP-sse": mesh.MCP,
		"agentgateway.dev/mcp-sse": mesh.MCP, "kgateway.dev/mcp": mesh.MCP, "kgateway.dev/mcp-sse": mesh.MCP,
		"kgateway.dev/a2a": mesh.A2A, "agentgateway.dev/a2a": mesh.A2A, "a2a": mesh.A2A,
		"kubernetes.io/h2c": mesh.HTTP2, "kubernetes.io/ws": mesh.HTTP, "kubernetes.io/wss": mesh.TLS,
		"http": mesh.HTTP, "HTTP2": mesh.HTTP2, "grpc": mesh.GRPC, "grpc-web": mesh.HTTP, "https": mesh.TLS, "tls": mesh.TLS,
		"tcp": mesh.TCP, "redis": mesh.TCP, "mongo": mesh.TCP, "mysql": mesh.TCP,
		"udp": mesh.Unknown, "example.com/mcp": mesh.Unknown, "mcp ": mesh.Unknown,
		"agentgateway.dev/mcp-path": mesh.Unknown, "agentgateway.dev/": mesh.Unknown, "kagent.dev/mcp": mesh.Unknown,
	} {
		if got := mesh.ProtocolOf(in); got != want {
			t.Errorf("ProtocolOf(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestProtocolOfName(t *testing.T) {
	for in, want := range map[string]mesh.Protocol{
		"": mesh.Unknown, "web": mesh.Unknown, "http": mesh.HTTP, "http-web": mesh.HTTP, "httpweb": mesh.Unknown,
		"grpc": mesh.GRPC, "grpc-web": mesh.HTTP, "grpc-web-x": mesh.HTTP, "mcp": mesh.MCP, "mcp-tools": mesh.MCP,
		"a2a-x": mesh.A2A, "tcp-db": mesh.TCP, "https": mesh.TLS, "udp-dns": mesh.Unknown,
	} {
		if got := mesh.ProtocolOfName(in); got != want {
			t.Errorf("ProtocolOfName(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestPickByWeight(t *testing.T) {
	at := netip.MustParseAddrPort
	a, b, c := at("10.0.0.1:80"), at("10.0.0.2:80"), at("10.0.0.3:80")
	next := uint64(0)
	d := mesh.Destination{
		Service:   call.Service{Namespace: "bank", Name: "company-mcp", Port: 80},
		Endpoints: []mesh.Endpoint{{Address: a, Weight: 2}, {Address: b}, {Address: c, Weight: 3}},
		Choice:    func(n uint64) uint64 { return next % n },
	}
	for _, tt := range []struct {
		choice uint64
		tried  []netip.AddrPort
		want   netip.AddrPort
	}{
		{0, nil, a}, {1, nil, a}, {2, nil, b}, {3, nil, c}, {5, nil, c}, {6, nil, a},
		{0, []netip.AddrPort{a}, b}, {1, []netip.AddrPort{a}, c},
		{0, []netip.AddrPort{a, b}, c}, {2, []netip.AddrPort{a, b, at("10.0.0.9:80")}, c},
	} {
		next = tt.choice
		if got, err := d.Pick(tt.tried...); err != nil || got.Address != tt.want {
			t.Errorf("choice %d, tried %v: got %v, %v, want %v", tt.choice, tt.tried, got.Address, err, tt.want)
		}
	}
	_, err := d.Pick(a, b, c)
	if got, want := text(err), "mesh: no endpoint of bank/company-mcp port 80: 3 known, 3 tried already"; got != want || !errors.Is(err, mesh.ErrNoEndpoint) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Without a Choice every endpoint is chosen sooner or later, and nothing else is.
func TestPickAtRandom(t *testing.T) {
	d := mesh.Destination{Endpoints: []mesh.Endpoint{
		{Address: netip.MustParseAddrPort("10.0.0.1:80")}, {Address: netip.MustParseAddrPort("10.0.0.2:80")},
	}}
	seen := map[netip.AddrPort]bool{}
	for range 1000 {
		e, err := d.Pick()
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Address] = true
	}
	if len(seen) != 2 {
		t.Errorf("got %v after 1000 choices, want both endpoints", seen)
	}
}
