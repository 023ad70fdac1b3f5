package extauthz

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http/httpguts"

	"waymark.dev/waypoint/pkg/policy"
)

const (
	maxEdits      = 64
	maxHeaderName = 128
	maxValue      = 8 << 10 // bytes
)

// fixed are the fields that nobody but us changes: they frame the request, lead it, or say again what was judged.
var fixed = []string{
	"accept", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "http2-settings", "keep-alive",
	"last-event-id", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// borne are the fields that carry credentials and identities. The service may take them away and cannot set them.
var borne = []string{
	"authorization", "baggage", "cookie", "forwarded", "proxy-authorization", "via", "x-forwarded-client-cert", "x-forwarded-for",
	"x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip",
}

// prefixes of fields that repeat what was judged, or speak to proxies.
var prefixes = []string{"a2a-", "mcp-", "x-envoy-", "x-waymark-"}

// headerEdits are the changes that an answer asks for; what it removes goes last, as in Envoy.
func headerEdits(h http.Header, ok *auth.OkHttpResponse) ([]policy.HeaderEdit, error) {
	set, remove := ok.GetHeaders(), ok.GetHeadersToRemove()
	if n := len(set) + len(remove); n > maxEdits {
		return nil, fmt.Errorf("there are %d, over the limit of %d", n, maxEdits)
	}
	var edits []policy.HeaderEdit
	for _, option := range set {
		edit, err := headerEdit(h, option)
		if err != nil {
			return nil, err
		}
		if edit.Remove || edit.Value != "" {
			edits = append(edits, edit)
		}
	}
	for _, name := range remove {
		plain := normal(name)
		if strings.HasPrefix(name, ":") || plain == "host" {
			continue // "these special headers will be ignored", says the protocol
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		if isFixed(plain) {
			return nil, fmt.Errorf("%q cannot be removed", name)
		}
		edits = append(edits, policy.HeaderEdit{Name: name, Remove: true})
	}
	return edits, nil
}

// headerEdit carries out one option. The old field append counts where it is set; where nothing is, a value takes the place of
// the caller's (external_auth.proto: "append defaults to false when used in this message").
func headerEdit(h http.Header, o *core.HeaderValueOption) (policy.HeaderEdit, error) {
	name, value := o.GetHeader().GetKey(), o.GetHeader().GetValue()
	if value == "" {
		value = string(o.GetHeader().GetRawValue())
	}
	if err := checkName(name); err != nil {
		return policy.HeaderEdit{}, err
	}
	if plain := normal(name); isFixed(plain) || slices.Contains(borne, plain) {
		return policy.HeaderEdit{}, fmt.Errorf("%q cannot be set", name)
	}
	if len(value) > maxValue || !httpguts.ValidHeaderFieldValue(value) || strings.TrimSpace(value) != value {
		return policy.HeaderEdit{}, fmt.Errorf("the value for %q is no header value of at most %d bytes", name, maxValue)
	}
	edit := policy.HeaderEdit{Name: name, Remove: true, Value: value}
	//lint:ignore SA1019 services that were written before append_action still say it this way
	if old := o.GetAppend(); old != nil {
		edit.Remove = !old.GetValue()
		return edit, nil
	}
	switch o.GetAppendAction() {
	case core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD: // the first is what unset looks like
		return edit, nil
	case core.HeaderValueOption_ADD_IF_ABSENT:
		if has(h, name) {
			return policy.HeaderEdit{}, nil
		}
		return edit, nil
	case core.HeaderValueOption_OVERWRITE_IF_EXISTS:
		if !has(h, name) {
			return policy.HeaderEdit{}, nil
		}
		return edit, nil
	}
	return policy.HeaderEdit{}, fmt.Errorf("%q has an unknown append action", name)
}

func checkName(name string) error {
	if len(name) > maxHeaderName || !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%q is no header name of at most %d bytes", clip(name), maxHeaderName)
	}
	return nil
}

// normal is how a name looks to the most lenient server.
func normal(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func isFixed(plain string) bool {
	return slices.Contains(fixed, plain) || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(plain, p) })
}

// has reports whether the request has a field, in any spelling.
func has(h http.Header, name string) bool {
	for got := range h {
		if policy.SameField(got, name) {
			return true
		}
	}
	return false
}
