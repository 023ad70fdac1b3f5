package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// parseURL accepts the plain spelling of a URL of that scheme only.
func parseURL(scheme, s string) (*url.URL, error) {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '\\' {
			return nil, fmt.Errorf("URL has byte %#x", s[i])
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("URL is unreadable")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != scheme || u.Opaque != "" || host == "":
		return nil, fmt.Errorf("URL is not %s", scheme)
	case u.User != nil || u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("URL has user information or a fragment")
	case strings.Contains(host, "%") || strings.HasSuffix(host, ".") || host != strings.ToLower(host):
		return nil, errors.New("host has a zone, an escape, a trailing dot or upper case")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return nil, errors.New("URL has no good port")
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.String() != host {
			return nil, errors.New("host is an address in an odd spelling")
		}
		return u, nil
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return nil, errors.New("host is no name")
		}
	}
	if last := host[strings.LastIndexByte(host, '.')+1:]; last[0] >= '0' && last[0] <= '9' { // decimal, octal, hex, short forms
		return nil, errors.New("host is an address in an odd spelling")
	}
	return u, nil
}
