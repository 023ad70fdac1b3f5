package hbone

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ErrAuthority is wrapped by the errors of [ParseAuthority].
var ErrAuthority = errors.New("hbone: authority must be ip:port, [ipv6]:port or host:port")

// maxHost is the longest host name (RFC 1035, section 2.3.4, without the final dot).
const maxHost = 253

// ParseAuthority parses the :authority of a CONNECT request (contract ambient 4.2): "ip:port", "[ipv6]:port" or
// "host:port". For the first two addr is the address and host its canonical text; for a name addr is the zero Addr and
// host the name as spelled. It refuses a missing or zero port, leading zeros and signs, user information, paths, zone
// identifiers, IPv6 without brackets, IPv4 in IPv6 spelling, and names beyond letters, digits, "-", "_" and single dots.
func ParseAuthority(s string) (host string, addr netip.Addr, port uint16, err error) {
	host, digits, err := splitAuthority(s)
	if err != nil {
		return "", netip.Addr{}, 0, err
	}
	if port, err = parsePort(digits); err != nil {
		return "", netip.Addr{}, 0, badAuthority(s, err.Error())
	}
	if s[0] == '[' || looksNumeric(host) {
		if addr, err = netip.ParseAddr(host); err != nil || addr.Is6() != (s[0] == '[') {
			return "", netip.Addr{}, 0, badAuthority(s, "not an IP address")
		}
		switch {
		case addr.Zone() != "":
			return "", netip.Addr{}, 0, badAuthority(s, "zone identifier")
		case addr.Is4In6():
			return "", netip.Addr{}, 0, badAuthority(s, "IPv4 address in IPv6 spelling")
		}
		return addr.String(), addr, port, nil
	}
	if why := checkHost(host); why != "" {
		return "", netip.Addr{}, 0, badAuthority(s, why)
	}
	return host, netip.Addr{}, port, nil
}

func splitAuthority(s string) (host, port string, err error) {
	if s == "" {
		return "", "", badAuthority(s, "empty")
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", badAuthority(s, "no port")
	}
	host, port = s[:i], s[i+1:]
	if host == "" {
		return "", "", badAuthority(s, "no host")
	}
	if host[0] != '[' {
		return host, port, nil
	}
	if host[len(host)-1] != ']' {
		return "", "", badAuthority(s, "no port")
	}
	return host[1 : len(host)-1], port, nil
}

// parsePort accepts one spelling per port.
func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, errors.New("no port")
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errors.New("port is not a number")
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case err != nil:
		return 0, errors.New("port is over 65535")
	case n == 0:
		return 0, errors.New("port is 0")
	case s[0] == '0':
		return 0, errors.New("port has leading zeros")
	}
	return uint16(n), nil
}

// looksNumeric reports whether the last label of a name is all digits or a "0x" number: some resolver reads every such
// name as an IPv4 address, so it must be one in the usual spelling.
func looksNumeric(host string) bool {
	label := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

func checkHost(host string) string {
	if len(host) > maxHost {
		return "host is longer than 253 bytes"
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "host label is empty or longer than 63 bytes"
		}
		for i := range len(label) {
			if !hostByte(label[i]) {
				return "character that no host name has"
			}
		}
	}
	return ""
}

func hostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func badAuthority(s, why string) error {
	if len(s) > 128 {
		s = s[:128] + "…"
	}
	return fmt.Errorf("%w: %q: %s", ErrAuthority, s, why)
}
