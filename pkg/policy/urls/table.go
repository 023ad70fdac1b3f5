package urls

import (
	"fmt"
	"slices"
	"strings"
)

// table is what an operator listed.
type table struct {
	exact []place
	below []place // their hosts start with the dot
}

func newTable(hosts []string) (table, error) {
	var t table
	for _, host := range hosts {
		p, below, why := parseEntry(host)
		list := &t.exact
		if below {
			list = &t.below
		}
		if why == "" && slices.Contains(*list, p) {
			why = "is listed twice"
		}
		if why != "" {
			return table{}, fmt.Errorf("%q %s", clip(host), why)
		}
		*list = append(*list, p)
	}
	return t, nil
}

// parseEntry reads one host of a list, or says what is wrong with it.
func parseEntry(entry string) (p place, below bool, why string) {
	authority, ok := strings.CutPrefix(entry, "http://")
	p.scheme = "http"
	if !ok {
		authority, p.scheme = strings.TrimPrefix(entry, "https://"), "https"
	}
	authority, below = strings.CutPrefix(authority, "*.")
	if authority != strings.ToLower(authority) {
		return place{}, false, "is not in lower case"
	}
	if strings.Contains(authority, "://") {
		return place{}, false, "has a scheme that is neither https nor http"
	}
	p, why = p.at(authority)
	switch {
	case why != "":
		return place{}, false, "is not host, *.domain, host:port or http://host:port: " + why
	case below && international(p.host):
		return place{}, false, "covers internationalised names: list each of them"
	case below:
		p.host = "." + p.host
	}
	return p, below, ""
}

// open reports whether nothing is listed.
func (t *table) open() bool { return len(t.exact) == 0 && len(t.below) == 0 }

// refuses returns why a URL that leads to p may not be shown, or nothing.
func (t *table) refuses(p place) string {
	switch {
	case slices.Contains(t.exact, p):
		return ""
	case international(p.host):
		return fmt.Sprintf("%q is internationalised, and such a host has to be listed", p)
	case t.open() && p.scheme != "https":
		return fmt.Sprintf("%q is not https", p)
	case t.open() && p.port != 443:
		return fmt.Sprintf("%q has a port, and such a host has to be listed", p)
	case t.open() || slices.ContainsFunc(t.below, p.isBelow):
		return ""
	}
	return fmt.Sprintf("%q is not listed", p)
}

func (p place) isBelow(q place) bool {
	return p.scheme == q.scheme && p.port == q.port && strings.HasSuffix(p.host, q.host)
}

// clip bounds what an error repeats.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}
