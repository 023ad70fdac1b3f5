package urls_test

import (
	"encoding/json/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// saying is a reason: where the URL leads, or nothing of it.
var saying = regexp.MustCompile(`^("https?://[a-z0-9.-]+(:[0-9]+)?" )?[A-Za-z0-9, ]+$`)

var dnsName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// hostile are the seeds: what one reader takes for another host than the next.
var hostile = []string{
	"https://listed.example/a?b#c", "https://a.corp.example", "http://localhost:8080/", "https://listed.example:8443", "HTTPS://LISTED.example:443/",
	"https://listed.example@evil.example/", `https://evil.example\@listed.example/`, "https:listed.example", "https:///listed.example",
	"https://listed.example?@evil.example", "https://listed.example#@evil.example/", "https://0x7f.1/", "https://[::1]:8080/", "https://listed.example./",
	"\thttps://listed.example/", "ht\ntps://evil.example/", "//listed.example/", "https://listed%2eexample/", "https://xn--listed.corp.example/",
	"https://\u2460.example/", "file:///a", `\\listed.example`, "https://listed.example:0443/", "http:\\\\evil.example", "https://listed.example%00.evil.example",
}

// What is shown has one reading: a browser, net/url and we go to the same host, which is a DNS name and listed.
func FuzzElicitation(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	open, listed := stage(f), stage(f, "listed.example", "listed.example:8443", "*.corp.example", "http://localhost:8080")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := json.Marshal(s); err != nil {
			return // no JSON has it
		}
		for _, tt := range []struct {
			reason  string
			permits func(reading) bool
		}{
			{refusal(t, open, s), func(r reading) bool { return r.scheme == "https" && r.port == "" && plain(r.host) }},
			{refusal(t, listed, s), isListed},
		} {
			browser, _ := asABrowser(s)
			program, ok := asNetURL(s)
			if tt.reason == "" && (!ok || browser != program || !dnsName.MatchString(browser.host) || !tt.permits(browser)) {
				t.Errorf("%q is shown: a browser reads %v, net/url reads %v (%v)", s, browser, program, ok)
			}
			if tt.reason != "" && !saying.MatchString(tt.reason) {
				t.Errorf("%q: the reason %q repeats more than the origin", s, tt.reason)
			}
		}
	})
}

// Whatever a link looks like: one that passes does not lead a browser, nor a Go program, to a host that is not listed.
func FuzzLink(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	listed := stage(f, "listed.example", "listed.example:8443", "*.corp.example", "http://localhost:8080")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := listed.InspectReply(t.Context(), &call.Call{}, links(s))
		if err != nil {
			t.Fatal(err)
		}
		if v.Action != policy.Pass {
			return
		}
		if r, web := asABrowser(s); web && !isListed(r) {
			t.Errorf("%q passes: a browser reads %v", s, r)
		}
		if r, web := asNetURL(s); web && !isListed(r) {
			t.Errorf("%q passes: net/url reads %v", s, r)
		}
	})
}

func isListed(r reading) bool {
	switch r.scheme {
	case "http":
		return r.host == "localhost" && r.port == "8080"
	case "https":
		return r.host == "listed.example" && (r.port == "" || r.port == "8443") ||
			r.port == "" && strings.HasSuffix(r.host, ".corp.example") && plain(r.host)
	}
	return false
}

// plain reports whether no label of a host stands for one in another script.
func plain(host string) bool {
	return !slices.ContainsFunc(strings.Split(host, "."), func(l string) bool { return strings.HasPrefix(l, "xn--") })
}

// FuzzParameters holds the reader of parameters against a decoder that folds case and lets the last member win, as some
// SDKs do: what passes shows nothing else to it.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		`{"mode":"url","url":"https://listed.example/"}`, `{"Url":"https://evil.example/"}`, `{"url":"https://listed.example/","url":"https://evil.example/"}`,
		`{"url":null}`, `{"mode":"form","requestedSchema":{}}`, `{"\u0075rl":"https:\/\/listed.example"}`, `{"url":{}}`, `[]`, `{"uRL":[]}`, `{"u-r_l":"https://evil.example/"}`, ``, `{`,
	} {
		f.Add(s)
	}
	s := stage(f, "listed.example")
	f.Fuzz(func(t *testing.T, params string) {
		v, err := s.Inspect(t.Context(), elicitation(params))
		if err != nil {
			t.Fatal(err)
		}
		if v.Action != policy.Pass {
			return
		}
		var lenient struct {
			URL *string `json:"url,case:ignore"`
		}
		if json.Unmarshal([]byte(params), &lenient) != nil || lenient.URL == nil {
			return
		}
		if r, _ := asABrowser(*lenient.URL); r != (reading{scheme: "https", host: "listed.example"}) {
			t.Errorf("%s passes, and shows %q", params, *lenient.URL)
		}
	})
}
