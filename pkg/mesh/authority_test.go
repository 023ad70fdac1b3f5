package mesh_test

import (
	"errors"
	"net/netip"
	"testing"

	"waymark.dev/waypoint/pkg/mesh"
)

func TestParseAuthority(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		in   string
		want mesh.Authority
		err  string
	}{
		{in: "10.96.0.10:3000", want: mesh.Authority{Addr: addr("10.96.0.10"), Port: 3000}},
		{in: "[fd00::1]:1", want: mesh.Authority{Addr: addr("fd00::1"), Port: 1}},
		{in: "company-mcp:65535", want: mesh.Authority{Host: "company-mcp", Port: 65535}},
		{in: "A.Example:80", want: mesh.Authority{Host: "a.example", Port: 80}},
		{in: "1a.2:80", err: `mesh: the authority is not host:port: "1a.2:80" has no valid host`},
		{in: "a.0x7f:80", err: `mesh: the authority is not host:port: "a.0x7f:80" has no valid host`},
		{in: "", err: `mesh: the authority is not host:port: "" has no port`},
		{in: ":80", err: `mesh: the authority is not host:port: ":80" has no port`},
		{in: "a", err: `mesh: the authority is not host:port: "a" has no port`},
		{in: "a:", err: `mesh: the authority is not host:port: "a:": "" is not a port from 1 to 65535`},
		{in: "a:0", err: `mesh: the authority is not host:port: "a:0": "0" is not a port from 1 to 65535`},
		{in: "a:080", err: `mesh: the authority is not host:port: "a:080": "080" is not a port from 1 to 65535`},
		{in: "a:+80", err: `mesh: the authority is not host:port: "a:+80": "+80" is not a port from 1 to 65535`},
		{in: "a:65536", err: `mesh: the authority is not host:port: "a:65536": "65536" is not a port from 1 to 65535`},
		{in: "u@a:80", err: `mesh: the authority is not host:port: "u@a:80" has no valid host`},
		{in: "a/b:80", err: `mesh: the authority is not host:port: "a/b:80" has no valid host`},
		{in: "fd00::1:80", err: `mesh: the authority is not host:port: "fd00::1:80" has no valid host`},
		{in: "[10.0.0.1]:80", err: `mesh: the authority is not host:port: "[10.0.0.1]:80" has no valid host`},
		{in: "[fd00::1%eth0]:80", err: `mesh: the authority is not host:port: "[fd00::1%eth0]:80" has no valid host`},
		{in: "[::ffff:10.0.0.1]:80", err: `mesh: the authority is not host:port: "[::ffff:10.0.0.1]:80" has no valid host`},
		{in: "[fd00:0::1]:80", err: `mesh: the authority is not host:port: "[fd00:0::1]:80" has no valid host`},
		{in: "[fd00::1:80", err: `mesh: the authority is not host:port: "[fd00::1:80" has no valid host`},
		{in: "010.0.0.1:80", err: `mesh: the authority is not host:port: "010.0.0.1:80" has no valid host`},
		{in: "a..b:80", err: `mesh: the authority is not host:port: "a..b:80" has no valid host`},
		{in: "-a:80", err: `mesh: the authority is not host:port: "-a:80" has no valid host`},
	} {
		got, err := mesh.ParseAuthority(tt.in)
		if got != tt.want || text(err) != tt.err {
			t.Errorf("ParseAuthority(%q) = %v, %q, want %v, %q", tt.in, got, text(err), tt.want, tt.err)
		}
		if err != nil && !errors.Is(err, mesh.ErrAuthority) {
			t.Errorf("ParseAuthority(%q): the error does not wrap ErrAuthority", tt.in)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What is accepted has one spelling: it prints as it was written, apart from the case of a host, and parses again to the
// same value. The standard library agrees about where it leads.
func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"10.96.0.10:3000", "[fd00::1]:1", "company-mcp.bank:80", "a:0", "[::ffff:1.2.3.4]:1", "1.2.3:4", "A:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mesh.ParseAuthority(s)
		if err != nil {
			if a != (mesh.Authority{}) {
				t.Fatalf("ParseAuthority(%q) = %v with the error %v", s, a, err)
			}
			return
		}
		again, err := mesh.ParseAuthority(a.String())
		if err != nil || again != a {
			t.Fatalf("%q parsed as %v, which parses as %v, %v", s, a, again, err)
		}
		std, err := netip.ParseAddrPort(s)
		if isAddr := err == nil; isAddr != a.Addr.IsValid() {
			t.Fatalf("%q: an address for us: %v, for net/netip: %v", s, a.Addr.IsValid(), isAddr)
		}
		if a.Addr.IsValid() && std != netip.AddrPortFrom(a.Addr, a.Port) {
			t.Fatalf("%q: we read %v, net/netip %v", s, a, std)
		}
	})
}
