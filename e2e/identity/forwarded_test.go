package identity_test

import (
	"net/http"
	"strings"
	"testing"
)

// What a caller says of itself never reaches a server; what its certificate says does, if the Gateway asks for it.
func TestForwardedClientCert(t *testing.T) {
	for _, asked := range []bool{false, true} {
		w := newWorld(t)
		tools := &backend{}
		idp, agw := newIssuer(t, "https://idp.example.com"), newIssuer(t, "https://agw-sts.example.com")
		keys := http.NewServeMux()
		keys.Handle("/realms/company/keys", idp)
		keys.Handle("/sts/keys", agw)
		for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
			w.place("tools", name, tools)
		}
		w.place("identity", "keys", keys)
		name, want := "{name: agents, namespace: tools}", []string(nil)
		if asked {
			name = `{name: agents, namespace: tools, annotations: {ambient.istio.io/xfcc-include-client-identity: "true"}}`
			want = []string{"By=spiffe://cluster.local/ns/tools/sa/agents;URI=spiffe://cluster.local/ns/agents/sa/agent"}
		}
		w.startWith("operators", "", "gateway.yaml", "{name: agents, namespace: tools}", name)
		c := w.client("agent", "10.96.1.1:3000")
		forged := []string{}
		for _, spelling := range []string{
			"X-Forwarded-Client-Cert", "x-forwarded-client-cert", "X-FORWARDED-CLIENT-CERT", "X_Forwarded_Client_Cert", "x_forwarded_client_cert",
			"X-Forwarded_Client-Cert", "X-User-Id", "x_user_id", "X-Forwarded-User", "x_forwarded_user", "X-AUTH-REQUEST-EMAIL", "X-Auth_Request-Email",
		} {
			forged = append(forged, spelling, "URI=spiffe://forged")
		}
		if got := w.call(c, "github-mcp:3000", "get_me", idp.token(t, nil), forged...); got.code != "" {
			t.Fatalf("got %+v", got)
		}
		header, _ := tools.seen()
		for name, lines := range header {
			for _, l := range lines {
				if strings.Contains(l, "forged") {
					t.Errorf("%s: %s reached the server", name, l)
				}
			}
		}
		if got := header["X-Forwarded-Client-Cert"]; len(got) != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("asked %v: got %q, want %q", asked, got, want)
		}
	}
}
