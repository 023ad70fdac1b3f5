package mcp_test

import (
	"net/http"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

const (
	tokenForm    = "grant_type=authorization_code&code=c&redirect_uri=http%3A%2F%2Flocalhost%3A1%2Fcb&code_verifier=v"
	registration = `{"redirect_uris":["http://localhost:1/cb"],"client_name":"a","grant_types":["authorization_code"]}`
)

func form(path, body string) *request {
	r := legacy().set("Content-Type", "application/x-www-form-urlencoded").unset("Mcp-Protocol-Version").set("Accept", "application/json")
	r.Path, r.body = path, body
	return r
}

func register(body string) *request {
	return form("/register", body).set("Content-Type", "application/json")
}

func metadataOf(path string) *request {
	r := get("application/json", "")
	r.Path = path
	return r
}

// How a client authenticates is plain HTTP that passes as it came (contract 9.1).
func TestAuthorization(t *testing.T) {
	consent := get("text/html", "").unset("Mcp-Protocol-Version")
	consent.Path, consent.Query = "/authorize", "response_type=code&client_id=a"
	for _, tt := range []struct {
		name string
		r    *request
	}{
		{"token", form("/token", tokenForm)},
		{"token_with_charset", form("/token", tokenForm).set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")},
		{"token_under_a_path", form("/tenant/token", tokenForm)},
		{"token_with_a_revision", form("/token", tokenForm).set("Mcp-Protocol-Version", "2025-03-26")},
		{"consent_given", form("/authorize", "decision=yes")},
		{"consent_page", consent},
		{"register", register(registration)},
		{"resource", metadataOf("/.well-known/oauth-protected-resource").unset("Mcp-Protocol-Version")},
		{"resource_under_a_path", metadataOf("/.well-known/oauth-protected-resource/public/mcp")},
		{"server", metadataOf("/.well-known/oauth-authorization-server")},
		{"server_of_an_issuer_with_a_path", metadataOf("/.well-known/oauth-authorization-server/tenant")},
		{"openid", metadataOf("/.well-known/openid-configuration")},
		{"openid_of_an_issuer_with_a_path", metadataOf("/.well-known/openid-configuration/tenant")},
		{"openid_under_an_issuer", metadataOf("/tenant/.well-known/openid-configuration")},
		{"metadata_for_a_revision_to_come", metadataOf("/.well-known/oauth-protected-resource").set("Mcp-Protocol-Version", "2027-01-01")},
	} {
		m := tt.r.message(t, mcp.Options{})
		if c := filled(m); c.Intent != call.Plumbing || c.Method != tt.r.Method || c.Target.Name != "" || c.Version != "" {
			t.Errorf("%s: %s %s %v %q, want plumbing", tt.name, c.Method, c.Intent, c.Target, c.Version)
		}
		if got := string(m.Encode(nil)); got != tt.r.body {
			t.Errorf("%s: forwarded %q", tt.name, got)
		}
		if m.Listens() || m.Opens() || m.Ends() {
			t.Errorf("%s: taken for a part of the transport", tt.name)
		}
		answer := reply{200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, "\x1f\x8b"}
		if got := answer.to(m).Mode(); got != mcp.Passthrough {
			t.Errorf("%s: mode %d, want the answer to pass", tt.name, got)
		}
		if r := m.Deny(mcp.Denial{Code: call.EntitlementDenied}); r.Status != 403 {
			t.Errorf("%s: denied with %d, want 403", tt.name, r.Status)
		}
	}
}

// What some server could run as a message is a message, whatever its path.
func TestNoAuthorization(t *testing.T) {
	with := func(member string) *request { return register(strings.Replace(registration, "{", "{"+member+",", 1)) }
	elsewhere := legacy()
	elsewhere.Path = "/register"
	long := form("/token", strings.Repeat("a", 5<<20))
	for _, tt := range []struct {
		name   string
		r      *request
		status int // 0 if it is read as a message
	}{
		{"call_at_register", elsewhere, 0},
		{"form_elsewhere", form("/mcp", tokenForm), 415},
		{"json_labelled_as_form", form("/token", legacyBody), 415},
		{"json_behind_a_bom", form("/token", "\xef\xbb\xbf"+legacyBody), 415},
		{"utf16", form("/token", "{\x00\"\x00"), 415},
		{"compressed", form("/token", tokenForm).set("Content-Encoding", "gzip"), 415},
		{"text", form("/token", tokenForm).set("Content-Type", "text/plain"), 415},
		{"two_types", form("/token", tokenForm).set("Content-Type", "application/x-www-form-urlencoded", "application/json"), 415},
		{"other_charset", form("/token", tokenForm).set("Content-Type", "application/x-www-form-urlencoded; charset=utf-7"), 415},
		{"in_a_session", form("/token", tokenForm).set("Mcp-Session-Id", "s"), 415},
		{"with_a_method", form("/token", tokenForm).set("Mcp-Method", "tools/call"), 415},
		{"form_at_register", form("/register", tokenForm), 415},
		{"over_the_limit", long, 413},
		{"registration_elsewhere", register(registration).with("", ""), 0},
		{"method", with(`"method":"tools/call"`), 400},
		{"METHOD", with(`"METHOD":"tools/call"`), 400},
		{"params_with_long_s", with(`"paramſ":{}`), 400},
		{"escaped_jsonrpc", with(`"json\u0072pc":"2.0"`), 400},
		{"method_before_nul", with(`"method\u0000x":"tools/call"`), 400},
		{"duplicate", with(`"redirect_uris":[]`), 400},
		{"no_redirects", register(`{"client_name":"a"}`), 400},
		{"redirects_no_array", register(`{"redirect_uris":"http://localhost/"}`), 400},
		{"array", register("[" + registration + "]"), 400},
	} {
		if tt.name == "registration_elsewhere" {
			tt.r.Path, tt.status = "/mcp", 400
		}
		m, r := tt.r.decode(mcp.Options{})
		switch {
		case tt.status == 0 && (m == nil || filled(m).Target.Name != "read"):
			t.Errorf("%s: not judged as the call it is: %+v", tt.name, r)
		case tt.status != 0 && (r == nil || r.Status != tt.status):
			t.Errorf("%s: %+v, want a refusal with %d", tt.name, r, tt.status)
		}
	}
	for _, path := range []string{"/.well-known/oauth-protected-resourceful", "/x/.well-known/oauth-protected-resource", "/authorized", "/.well-known"} {
		r := metadataOf(path).unset("Mcp-Protocol-Version")
		if c := filled(r.message(t, mcp.Options{})); c.Intent != call.Use || c.Protocol != call.HTTP {
			t.Errorf("%s: %s %s, want it judged as the page it is", path, c.Protocol, c.Intent)
		}
	}
	stream := get("text/event-stream", "").unset("Mcp-Protocol-Version")
	stream.Path = "/authorize"
	if !stream.message(t, mcp.Options{}).Listens() {
		t.Error("a stream at /authorize is taken for a page")
	}
}
