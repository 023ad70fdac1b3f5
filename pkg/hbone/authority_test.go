package hbone_test

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/hbone"
)

func TestParseAuthority(t *testing.T) {
	tests := []struct {
		in   string
		host string
		port uint16
		ip   bool
	}{
		{"10.0.0.9:3000", "10.0.0.9", 3000, true},
		{"[fd00::9]:80", "fd00::9", 80, true},
		{"[FD00:0::9]:80", "fd00::9", 80, true},
		{"svc.ns.svc.cluster.local:65535", "svc.ns.svc.cluster.local", 65535, false},
		{"a:1", "a", 1, false},
		{"under_score-dash:1", "under_score-dash", 1, false},
		{"1a:1", "1a", 1, false},
		{"10.0.0.9.nip.io:1", "10.0.0.9.nip.io", 1, false},
	}
	for _, tt := range tests {
		host, addr, port, err := hbone.ParseAuthority(tt.in)
		if err != nil || host != tt.host || port != tt.port || addr.IsValid() != tt.ip {
			t.Errorf("%q: got %q, %v, %d, %v", tt.in, host, addr, port, err)
		}
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	tests := map[string]string{
		"":                    "empty",
		"a":                   "no port",
		"a:":                  "no port",
		":80":                 "no host",
		"10.0.0.9":            "no port",
		"[fd00::9]":           "no port",
		"[fd00::9]80":         "no port",
		"[fd00::9":            "no port",
		"fd00::9:80":          "character that no host name has",
		"[]:80":               "not an IP address",
		"[10.0.0.9]:80":       "not an IP address",
		"[a]:80":              "not an IP address",
		"[fe80::1%eth0]:80":   "zone identifier",
		"[::ffff:10.0.0.9]:1": "IPv4 address in IPv6 spelling",
		"a:0":                 "port is 0",
		"a:00":                "port is 0",
		"a:080":               "port has leading zeros",
		"a:65536":             "port is over 65535",
		"a:99999999999999999": "port is over 65535",
		"a:+80":               "port is not a number",
		"a:-1":                "port is not a number",
		"a:80/":               "port is not a number",
		"a:80?x":              "port is not a number",
		"a:http":              "port is not a number",
		"a: 80":               "port is not a number",
		"a:８０":                "port is not a number",
		"/a:80":               "character that no host name has",
		"a/b:80":              "character that no host name has",
		"http://a:80":         "character that no host name has",
		"user@a:80":           "character that no host name has",
		"user:pw@a:80":        "character that no host name has",
		"a b:80":              "character that no host name has",
		"a\x00:80":            "character that no host name has",
		"ä:80":                "character that no host name has",
		"a%2e:80":             "character that no host name has",
		"*:80":                "character that no host name has",
		"a..b:80":             "host label is empty or longer than 63 bytes",
		".a:80":               "host label is empty or longer than 63 bytes",
		"a.:80":               "host label is empty or longer than 63 bytes",
		"127.1:80":            "not an IP address",
		"2130706433:80":       "not an IP address",
		"0x7f000001:80":       "not an IP address",
		"0x7f.0.0.1:80":       "not an IP address",
		"010.0.0.1:80":        "not an IP address",
		"256.0.0.1:80":        "not an IP address",
		"a.0x1:80":            "not an IP address",
	}
	for in, why := range tests {
		_, _, _, err := hbone.ParseAuthority(in)
		want := "hbone: authority must be ip:port, [ipv6]:port or host:port: " + strconv.Quote(in) + ": " + why
		if err == nil || err.Error() != want || !errors.Is(err, hbone.ErrAuthority) {
			t.Errorf("%q: got error %v, want %q", in, err, want)
		}
	}
	long := strings.Repeat("a.", 126) + "aa:80"
	if _, _, _, err := hbone.ParseAuthority(long); err == nil || len(err.Error()) > 300 {
		t.Errorf("a host of 254 bytes: got error %v", err)
	}
}

// What is accepted means the same to three other parsers: net.SplitHostPort, net/url and net/netip.
func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"10.0.0.9:3000", "[fd00::9]:80", "a.b:1", "a:0", "[fe80::1%eth0]:80", "u@a:80", "127.1:80", "a:080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, addr, port, err := hbone.ParseAuthority(s)
		if err != nil {
			if host != "" || addr.IsValid() || port != 0 {
				t.Errorf("%q: results beside an error", s)
			}
			return
		}
		h, p, err := net.SplitHostPort(s)
		if err != nil || p != strconv.Itoa(int(port)) {
			t.Errorf("%q: net.SplitHostPort says %q, %q, %v", s, h, p, err)
		}
		u, err := url.Parse("https://" + s + "/")
		if err != nil || u.Host != s || u.User != nil || u.Hostname() != h || u.Port() != p {
			t.Errorf("%q: net/url says %+v, %v", s, u, err)
		}
		other, err := netip.ParseAddr(h)
		if (err == nil) != addr.IsValid() || err == nil && other != addr {
			t.Errorf("%q: netip says %v, %v, we say %v", s, other, err, addr)
		}
		again := net.JoinHostPort(host, p)
		if h2, a2, p2, err := hbone.ParseAuthority(again); err != nil || h2 != host || a2 != addr || p2 != port {
			t.Errorf("%q: its canonical form %q parses to %q, %v, %d, %v", s, again, h2, a2, p2, err)
		}
	})
}
