package mesh

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxHostLength is the longest host name, in bytes (RFC 1035, section 2.3.4, without the final dot).
const maxHostLength = 253

// Authority is what a tunnel names. Exactly one of Addr and Host is set.
type Authority struct {
	Addr netip.Addr
	Host string // lower case
	Port uint16
}

// ParseAuthority reads ip:port, [v6]:port or host:port in its one canonical spelling. A missing port, port 0, leading zeros,
// user information, a path, an IPv4 address in IPv6 clothes, a zone, an unbracketed IPv6 address and a host that is not a
// DNS-1123 name are refused: two readers could take them for different places.
func ParseAuthority(s string) (Authority, error) {
	if len(s) > maxHostLength+len("[]:65535") {
		return Authority{}, fmt.Errorf("%w: %d bytes are too many", ErrAuthority, len(s))
	}
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Authority{}, fmt.Errorf("%w: %q has no port", ErrAuthority, s)
	}
	port, err := ParsePort(s[i+1:])
	if err != nil {
		return Authority{}, fmt.Errorf("%w: %q: %w", ErrAuthority, s, err)
	}
	a, ok := parseHost(s[:i])
	if !ok {
		return Authority{}, fmt.Errorf("%w: %q has no valid host", ErrAuthority, s)
	}
	a.Port = port
	return a, nil
}

func (a Authority) String() string {
	if a.Addr.IsValid() {
		return netip.AddrPortFrom(a.Addr, a.Port).String()
	}
	return a.Host + ":" + strconv.Itoa(int(a.Port))
}

// ParsePort reads a port from 1 to 65535 in decimal, without sign or leading zeros.
func ParsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", s)
	}
	return uint16(n), nil
}

// ParseAddr reads an IP address in its one canonical spelling: no zone, no IPv4 address mapped into IPv6, and written as
// it would be printed.
func ParseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == "" && !a.Is4In6() && a.String() == s
}

func parseHost(s string) (Authority, bool) {
	if v6, ok := strings.CutPrefix(s, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		a, valid := ParseAddr(v6)
		return Authority{Addr: a}, ok && valid && a.Is6()
	}
	if a, ok := ParseAddr(s); ok {
		return Authority{Addr: a}, a.Is4()
	}
	host := strings.ToLower(s)
	return Authority{Host: host}, ValidHost(host)
}

// ValidHost reports whether s is a DNS-1123 subdomain whose last label is not a number, so that no reader could take it for
// an address.
func ValidHost(s string) bool {
	return ValidName(s) && !numeric(s[strings.LastIndexByte(s, '.')+1:])
}

// ValidName reports whether s is a DNS-1123 subdomain: labels in lower case with dots between them, at most 253 bytes. Most
// names of Kubernetes objects are.
func ValidName(s string) bool {
	if len(s) > maxHostLength {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !ValidLabel(label) {
			return false
		}
	}
	return true
}

// ValidLabel reports whether s is a DNS-1123 label: 1 to 63 of a-z, 0-9 and "-", with "-" neither first nor last.
func ValidLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// numeric follows WHATWG URL: a last label of digits, or 0x and hexadecimal digits, makes a host an IPv4 address.
func numeric(label string) bool {
	digits, set := label, "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		digits, set = hex, "0123456789abcdef"
	}
	return strings.Trim(digits, set) == ""
}
