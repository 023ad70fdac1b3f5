package urls_test

import (
	"encoding/json/v2"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/urls"
)

func stage(t testing.TB, hosts ...string) *urls.Stage {
	t.Helper()
	s, err := urls.New(urls.Options{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// elicitation is what a server asks of a client, whichever message it came in.
func elicitation(params string) *call.Call {
	return &call.Call{
		Protocol: call.MCP, Version: "2025-11-25", Direction: call.ToClient, Method: "elicitation/create",
		Intent: call.Use, Arguments: []byte(params),
	}
}

func shows(t testing.TB, url string) *call.Call {
	t.Helper()
	text, err := json.Marshal(map[string]string{"mode": "url", "message": "m", "elicitationId": "e", "url": url})
	if err != nil {
		t.Fatal(err)
	}
	return elicitation(string(text))
}

// said is the reason of a denial, and nothing of a pass.
func said(t testing.TB, v policy.Verdict, err error) string {
	t.Helper()
	switch {
	case err != nil:
		t.Fatal(err)
	case v.Action == policy.Pass:
		return ""
	case v.Action != policy.Deny || v.Code != call.GuardRejected || v.Reason == "":
		t.Fatalf("got %+v, want a pass or a denial with code and reason", v)
	}
	return v.Reason
}

func refusal(t testing.TB, s *urls.Stage, url string) string {
	t.Helper()
	v, err := s.Inspect(t.Context(), shows(t, url))
	reason, ok := strings.CutPrefix(said(t, v, err), "the elicitation is refused: ")
	if !ok && reason != "" {
		t.Fatalf("got the reason %q", reason)
	}
	return reason
}

const (
	noScheme   = "its scheme is neither https nor http"
	noSlashes  = "two slashes have to follow its scheme"
	noHost     = "it has no host"
	user       = "it has user information"
	address    = "its host is an IP address"
	notDNS     = "its host is not a DNS name of letters, digits and hyphens"
	badPort    = "its port is not a number from 1 to 65535"
	control    = "it has a blank or a control character"
	backslash  = "it has a backslash"
	escape     = "it has a percent sign that begins no escape"
	notASCII   = "it has a character that is not ASCII"
	tooLong    = "its host is too long for a DNS name"
	unlisted   = `"https://login.example.com" is not listed`
	strangePun = `"https://xn--80ak6aa92e.com" is internationalised, and such a host has to be listed`
)

// What has one reading is shown, and everything else is refused for the first thing that is wrong with it.
func TestForm(t *testing.T) {
	s := stage(t)
	for _, tt := range []struct{ url, want string }{
		{"https://login.example.com", ""},
		{"https://login.example.com/", ""},
		{"https://login.example.com:443/a/b?state=1#done", ""},
		{"HTTPS://Login.Example.COM/", ""},
		{"https://login.example.com?state=1", ""},
		{"https://login.example.com#done", ""},
		{"https://login.example.com/?mail=me@example.com", ""},
		{"https://login.example.com/@team/https://other.example", ""},
		{"https://login.example.com/%2e%2e/%00", ""}, // the path is the server's own business
		{"https://localhost/", ""},
		{"https://r3---sn-a.example.com/", ""},
		{"https://1password.example.1a/", ""},
		{"https://0x7f.0.0.1g/", ""},
		{"https://" + strings.Repeat("a", 63) + ".example/", ""},

		{"", noScheme},
		{"login.example.com", noScheme},
		{"/login", noScheme},
		{"//login.example.com/", noScheme},
		{"javascript:alert(1)", noScheme},
		{"data:text/html,x", noScheme},
		{"file:///etc/passwd", noScheme},
		{"httpss://login.example.com/", noScheme},
		{"view-source:https://login.example.com/", noScheme},
		{"blob:https://login.example.com/1", noScheme},
		{"http://login.example.com/", `"http://login.example.com" is not https`},
		{"http://login.example.com:443/", `"http://login.example.com:443" is not https`},

		{"https:login.example.com", noSlashes},
		{"https:/login.example.com", noSlashes},
		{"https:", noSlashes},
		{"https:///login.example.com/", noHost},
		{"https:////login.example.com/", noHost},
		{"https://", noHost},
		{"https://?login.example.com", noHost},
		{"https://#login.example.com", noHost},
		{"https://:443/", noHost},

		{"https://login.example.com@evil.example/", user},
		{"https://a:b@evil.example/", user},
		{"https://@evil.example/", user},
		{"https://login.example.com?@evil.example/", user},
		{"https://login.example.com#@evil.example/", user},
		{"https://login.example.com:443@evil.example", user},

		{"https://127.0.0.1/", address},
		{"https://127.1/", address},
		{"https://2130706433/", address},
		{"https://0x7f000001/", address},
		{"https://0X7F.0x0.0.0X1/", address},
		{"https://0177.0.0.1/", address},
		{"https://0x/", address},
		{"https://evil.example.1/", address}, // a browser fails here, and others look it up
		{"https://999.999.999.999/", address},
		{"https://[::1]/", address},
		{"https://[::ffff:127.0.0.1]:443/", address},
		{"https://[fe80::1%25eth0]/", address},
		{"https://[::1", address},
		{"https://::1/", noHost},
		{"https://fe80::1/", badPort},

		{"https://login.example.com./", notDNS},
		{"https://login..example.com/", notDNS},
		{"https://.example.com/", notDNS},
		{"https://./", notDNS},
		{"https://-login.example.com/", notDNS},
		{"https://login-.example.com/", notDNS},
		{"https://log_in.example.com/", notDNS},
		{"https://login%2eexample.com/", notDNS},
		{"https://login.example.com%00.evil.example/", notDNS},
		{"https://%6cogin.example.com/", notDNS},
		{"https://login.example.com;evil.example/", notDNS},
		{"https://login.example.com,evil.example/", notDNS},
		{"https://login.example.com&evil.example/", notDNS},
		{"https://*.example.com/", notDNS},
		{"https://login.example.com]/", notDNS},
		{"https://" + strings.Repeat("a", 64) + ".example/", notDNS},
		{"https://" + strings.Repeat("a.", 126) + "bc/", tooLong},

		{"https://login.example.com:/", badPort},
		{"https://login.example.com:0/", badPort},
		{"https://login.example.com:0443/", badPort},
		{"https://login.example.com:+443/", badPort},
		{"https://login.example.com:65536/", badPort},
		{"https://login.example.com:https/", badPort},
		{"https://login.example.com:443:443/", badPort},
		{"https://login.example.com:8443/", `"https://login.example.com:8443" has a port, and such a host has to be listed`},

		{" https://login.example.com/", control},
		{"https://login.example.com/ ", control},
		{"https://login.example.com /", control},
		{"https://login.example.com/a b", control},
		{"ht\ttps://login.example.com/", control},
		{"https://login.exa\nmple.com/", control},
		{"https://login.example.com/\r\nSet-Cookie: a", control},
		{"https://login.example.com\x00.evil.example/", control},
		{"\x01https://login.example.com/", control},
		{"https://login.example.com/\x7f", control},
		{"https://login.example.com/#a%", escape}, {"https://login.example.com/?%4g", escape}, {"https://login.example.com/%zz", escape},
		{`https:\\login.example.com/`, backslash},
		{`https://evil.example\@login.example.com/`, backslash},
		{`https://evil.example\.login.example.com/`, backslash},
		{`https:/\login.example.com/`, backslash},
		{`https://login.example.com/\..\evil`, backslash},

		{"https://\u0430pple.example/", notASCII},                  // Cyrillic
		{"https://login.example\uff0ecom/", notASCII},              // a full stop of another script
		{"https://login\u3002example.com/", notASCII},              // another
		{"https://evil.example\uff0flogin.example.com/", notASCII}, // a slash
		{"https://login.example.com\uff20evil.example/", notASCII},
		{"https://\u2460\u2461\u2466.0.0.1/", notASCII}, // digits in circles
		{"https://login.example.com\u00ad/", notASCII},  // nobody sees it
		{"https://login.example.com/\u202egro.live//", notASCII},
		{"https://login.example.com/\u00e4", notASCII},
		{"\ufeffhttps://login.example.com/", notASCII},
		{"https\uff1a//login.example.com/", notASCII},

		{"https://xn--80ak6aa92e.com/", strangePun},
		{"https://XN--80AK6AA92E.com/", strangePun},
		{"https://login.xn--p1ai/", `"https://login.xn--p1ai" is internationalised, and such a host has to be listed`},
	} {
		if got := refusal(t, s, tt.url); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.url, got, tt.want)
		}
	}
}

func TestListedHosts(t *testing.T) {
	s := stage(t, "login.example.com", "*.corp.example", "https://login.example.com:8443", "http://localhost:8080", "http://*.test",
		"pay.example:444", "xn--bcher-kva.example")
	for _, tt := range []struct{ url, want string }{
		{"https://login.example.com/x", ""},
		{"https://LOGIN.example.com:443/x", ""},
		{"https://login.example.com:8443/x", ""},
		{"https://a.corp.example/", ""},
		{"https://b.a.corp.example/", ""},
		{"http://localhost:8080/cb", ""},
		{"http://localhost:8080?id=1", ""},
		{"http://a.test/", ""},
		{"http://a.test:80/", ""},
		{"https://pay.example:444/", ""},
		{"https://xn--bcher-kva.example/", ""},

		{"http://login.example.com/x", `"http://login.example.com" is not listed`},
		{"https://login.example.com:80/x", `"https://login.example.com:80" is not listed`},
		{"https://login.example.com.evil.example/", `"https://login.example.com.evil.example" is not listed`},
		{"https://evil-login.example.com/", `"https://evil-login.example.com" is not listed`},
		{"https://a.login.example.com/", `"https://a.login.example.com" is not listed`},
		{"https://corp.example/", `"https://corp.example" is not listed`},
		{"https://evilcorp.example/", `"https://evilcorp.example" is not listed`},
		{"https://a.corp.example.evil.example/", `"https://a.corp.example.evil.example" is not listed`},
		{"https://a.corp.example:8443/", `"https://a.corp.example:8443" is not listed`},
		{"http://a.corp.example/", `"http://a.corp.example" is not listed`},
		{"https://xn--a.corp.example/", `"https://xn--a.corp.example" is internationalised, and such a host has to be listed`},
		{"https://a.xn--bcher-kva.example/", `"https://a.xn--bcher-kva.example" is internationalised, and such a host has to be listed`},
		{"http://localhost/", `"http://localhost" is not listed`},
		{"https://localhost:8080/", `"https://localhost:8080" is not listed`},
		{"https://a.test/", `"https://a.test" is not listed`},
		{"https://pay.example/", `"https://pay.example" is not listed`},
		{"https://login.example.com@evil.example/", user},
		{"https://127.0.0.1/", address},
		{"https://login.example.com./", notDNS},
	} {
		if got := refusal(t, s, tt.url); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.url, got, tt.want)
		}
	}
}

func TestElicitations(t *testing.T) {
	s := stage(t, "listed.example")
	const good, bad = `"https://listed.example/"`, `"https://login.example.com/"`
	for _, tt := range []struct{ name, params, want string }{
		{"url", `{"mode":"url","url":` + good + `}`, ""},
		{"another url", `{"mode":"url","url":` + bad + `}`, unlisted},
		{"escaped", `{"mode":"url","\u0075rl":"https:\/\/login.example.com\u002f"}`, unlisted},
		{"escaped and listed", `{"mode":"url","\u0075rl":"https:\/\/listed.example\u002f"}`, ""},
		{"escaped blank", `{"mode":"url","url":"https://listed.example\u0009/"}`, control},
		{"mode of a form", `{"mode":"form","url":` + bad + `}`, unlisted},
		{"no mode", `{"url":` + bad + `}`, unlisted},
		{"mode last", `{"url":` + bad + `,"mode":"url"}`, unlisted},
		{"form", `{"message":"m","requestedSchema":{"type":"object","properties":{"url":{"type":"string"}}}}`, ""},
		{"a URL elsewhere", `{"message":"https://evil.example/","requestedSchema":{"url":"https://evil.example/"}}`, ""},
		{"nothing", ``, ""},
		{"empty", `{}`, ""},
		{"no url", `{"mode":"url","message":"m"}`, "its mode is url, and it has none"},
		{"no url, escaped mode", `{"mode":"\u0075rl"}`, "its mode is url, and it has none"},
		{"number", `{"mode":"url","url":1}`, "its url is not text"},
		{"null", `{"url":null}`, "its url is not text"},
		{"list", `{"url":[` + good + `]}`, "its url is not text"},
		{"object", `{"url":{"url":` + good + `}}`, "its url is not text"},
		{"another case", `{"mode":"url","url":` + good + `,"URL":` + bad + `}`, "it has a member that some readers take for url"},
		{"only another case", `{"mode":"url","Url":` + good + `}`, "it has a member that some readers take for url"},
		{"with separators", `{"url_":` + good + `}`, "it has a member that some readers take for url"},
		{"twice", `{"url":` + good + `,"url":` + bad + `}`, "its parameters cannot be read"},
		{"twice, escaped", `{"url":` + good + `,"\u0075rl":` + bad + `}`, "its parameters cannot be read"},
		{"cut", `{"url":` + good, "its parameters cannot be read"},
		{"list of members", `["url",` + good + `]`, "its parameters are not an object"},
		{"no JSON", `}`, "its parameters are not an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want != "" {
				want = "the elicitation is refused: " + want
			}
			v, err := s.Inspect(t.Context(), elicitation(tt.params))
			if got := said(t, v, err); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Only what a server asks for is looked at: the same text in a call is the tool's business.
func TestOtherCallsPass(t *testing.T) {
	s := stage(t)
	const params = `{"mode":"url","url":"http://127.0.0.1/"}`
	for _, spoil := range []func(*call.Call){
		func(c *call.Call) { c.Direction = call.ToServer },
		func(c *call.Call) { c.Method = "sampling/createMessage" },
		func(c *call.Call) { c.Method = "elicitation/Create" },
	} {
		c := elicitation(params)
		spoil(c)
		v, err := s.Inspect(t.Context(), c)
		if got := said(t, v, err); got != "" {
			t.Errorf("%s %s: got %q, want a pass", c.Direction, c.Method, got)
		}
	}
	if v, err := s.Inspect(t.Context(), elicitation(params)); said(t, v, err) == "" {
		t.Error("the elicitation itself passes, so that the above proves nothing")
	}
}

func links(uris ...string) *call.Reply {
	r := &call.Reply{Final: true, Body: []byte(`{}`)}
	for _, uri := range uris {
		r.Links = append(r.Links, call.Link{URI: uri})
	}
	return r
}

func TestLinks(t *testing.T) {
	s := stage(t, "docs.example.com", "http://localhost:8080")
	c := &call.Call{Protocol: call.MCP, Direction: call.ToServer, Method: "tools/call"}
	for _, tt := range []struct{ uri, want string }{
		{"https://docs.example.com/a", ""},
		{"http://localhost:8080/a", ""},
		{"file:///logs/a", ""},
		{"skill://a/b", ""},
		{"db+postgres://user:secret@10.0.0.1/x", ""},
		{"urn:isbn:1", ""},
		{"a:b", ""},
		{"relative/path", ""},
		{"/rooted/path", ""},
		{"httpx://evil.example/", ""},
		{"", ""},

		{"https://login.example.com/?token=secret", unlisted},
		{"HTTPS://login.example.com/", unlisted},
		{"http://docs.example.com/", `"http://docs.example.com" is not listed`},
		{"https:evil.example", noSlashes},
		{" https://docs.example.com/", control},
		{"\thttps://evil.example/", control},
		{"ht\ntps://evil.example/", control},
		{"\u00a0https://evil.example/", notASCII},
		{"\ufeffhttps://evil.example/", notASCII},
		{"//evil.example/", noScheme},
		{`\\evil.example\`, backslash},
		{`/\evil.example/`, backslash},
		{"https://[::1]/", address},
	} {
		want := tt.want
		if want != "" {
			want = "a link in the result is refused: " + want
		}
		v, err := s.InspectReply(t.Context(), c, links("file:///first", tt.uri, "https://docs.example.com/last"))
		if got := said(t, v, err); got != want {
			t.Errorf("%q: got %q, want %q", tt.uri, got, want)
		}
	}
}

// Who listed no hosts did not ask for links to be read.
func TestLinksWithoutAList(t *testing.T) {
	v, err := stage(t).InspectReply(t.Context(), &call.Call{}, links("http://127.0.0.1/", "//x", "https://a@b/"))
	if got := said(t, v, err); got != "" {
		t.Errorf("got %q, want a pass", got)
	}
}

// Neither a path nor a query may end up in a log: both carry tokens.
func TestReasonsKeepSecrets(t *testing.T) {
	s := stage(t, "listed.example")
	for _, url := range []string{
		"https://evil.example/hidden?hidden#hidden", "https://hidden:hidden@evil.example/", "ftp://evil.example/hidden",
		"https:hidden", "https://[hidden]/", "https://hid_den/hidden", "https://evil.example:hidden/", "https://evil.example/\u202ehidden",
		"hidden",
	} {
		if got := refusal(t, s, url); got == "" || strings.Contains(got, "hid") || len(got) > 400 {
			t.Errorf("%q: got %q, want a reason without what was hidden", url, got)
		}
	}
	long := refusal(t, s, "https://"+strings.Repeat("a.", 120)+"example/")
	if long == "" || len(long) > 400 {
		t.Errorf("got %d bytes of reason", len(long))
	}
}

func TestNewRefuses(t *testing.T) {
	const form = " is not host, *.domain, host:port or http://host:port: "
	for _, tt := range []struct {
		hosts []string
		want  string
	}{
		{[]string{""}, `""` + form + noHost},
		{[]string{"a.example", ""}, `""` + form + noHost},
		{[]string{"*"}, `"*"` + form + notDNS},
		{[]string{"*."}, `"*."` + form + noHost},
		{[]string{"a.*.example"}, `"a.*.example"` + form + notDNS},
		{[]string{"*a.example"}, `"*a.example"` + form + notDNS},
		{[]string{"*.*.example"}, `"*.*.example"` + form + notDNS},
		{[]string{"A.example"}, `"A.example" is not in lower case`},
		{[]string{"HTTP://a.example"}, `"HTTP://a.example" is not in lower case`},
		{[]string{"b\u00fccher.example"}, `"b` + "\u00fc" + `cher.example"` + form + notDNS},
		{[]string{"a.example/"}, `"a.example/"` + form + notDNS},
		{[]string{"https://a.example/path"}, `"https://a.example/path"` + form + notDNS},
		{[]string{"ftp://a.example"}, `"ftp://a.example" has a scheme that is neither https nor http`},
		{[]string{"me@a.example"}, `"me@a.example"` + form + notDNS},
		{[]string{"a.example."}, `"a.example."` + form + notDNS},
		{[]string{"a.example:0"}, `"a.example:0"` + form + badPort},
		{[]string{"a.example:"}, `"a.example:"` + form + badPort},
		{[]string{"a.example:*"}, `"a.example:*"` + form + badPort},
		{[]string{"127.0.0.1"}, `"127.0.0.1"` + form + address},
		{[]string{"http://127.0.0.1:8080"}, `"http://127.0.0.1:8080"` + form + address},
		{[]string{"*.0x7f"}, `"*.0x7f"` + form + address},
		{[]string{"[::1]"}, `"[::1]"` + form + address},
		{[]string{"*.xn--p1ai"}, `"*.xn--p1ai" covers internationalised names: list each of them`},
		{[]string{"a.example", "https://a.example:443"}, `"https://a.example:443" is listed twice`},
		{[]string{"*.a.example", "b.example", "*.a.example"}, `"*.a.example" is listed twice`},
		{[]string{strings.Repeat("a", 300)}, `"` + strings.Repeat("a", 128) + `…"` + form + tooLong},
	} {
		s, err := urls.New(urls.Options{Hosts: tt.hosts})
		if s != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, %v, want %s", tt.hosts, s, err, tt.want)
		}
	}
}

func TestName(t *testing.T) {
	if got, want := stage(t).Name(), "urls"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
