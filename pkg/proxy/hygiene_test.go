package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestSplitTarget(t *testing.T) {
	tests := []struct {
		target string
		method string
		want   string // "" means accepted unchanged; else the cause
	}{
		{target: "/"}, {target: "/mcp"}, {target: "/a/b?x=/../y"}, {target: "//twice//"}, {target: "/a;v=1/b"}, {target: "/a%20b"},
		{target: "/group%2Fproject"}, {target: "/..."}, {target: "/a..b"}, {target: "/.well-known/x"}, {target: "/a%25b"}, {target: "/a\"b|{}"},
		{target: "/%C3%A9"}, {target: "*", method: "OPTIONS"},
		{target: "*", want: "the request target is not in origin form"},
		{target: "", want: "the request target is not in origin form"},
		{target: "mcp", want: "the request target is not in origin form"},
		{target: "http://company-mcp/mcp", want: "the request target is not in origin form"},
		{target: "company-mcp:3000", method: "CONNECT", want: "the request target is not in origin form"},
		{target: "/a/../b", want: "a dot segment in the path"},
		{target: "/..", want: "a dot segment in the path"},
		{target: "/./", want: "a dot segment in the path"},
		{target: "/a/.", want: "a dot segment in the path"},
		{target: "/a/%2e%2e/b", want: "a dot segment in the path"},
		{target: "/a/.%2E/b", want: "a dot segment in the path"},
		{target: "/a%2f..%2fb", want: "a dot segment in the path"},
		{target: "/a/..;x=1/b", want: "a dot segment in the path"},
		{target: "/a\\b", want: "a backslash in the path"},
		{target: "/a%5cb", want: "an escaped backslash in the path"},
		{target: "/a%5C..", want: "an escaped backslash in the path"},
		{target: "/a%00", want: "an escaped control byte in the path"},
		{target: "/a%0d%0aX:1", want: "an escaped control byte in the path"},
		{target: "/a%7F", want: "an escaped control byte in the path"},
		{target: "/a%2", want: "a malformed percent-escape in the path"},
		{target: "/a%zz", want: "a malformed percent-escape in the path"},
		{target: "/a%", want: "a malformed percent-escape in the path"},
		{target: "/a%252e%252e/b", want: "a doubly escaped byte in the path"},
		{target: "/a%252fb", want: "a doubly escaped byte in the path"},
		{target: "//a\"b", want: "a byte in a path with two leading slashes that cannot be sent as it came"},
		{target: "/a#frag", want: "a fragment in the request target"},
		{target: "/a?q#frag", want: "a fragment in the request target"},
		{target: "/a b", want: "byte 0x20 in the request target"},
		{target: "/a\x01", want: "byte 0x01 in the request target"},
		{target: "/é", want: "byte 0xc3 in the request target"},
		{target: "/a?b\x7f", want: "byte 0x7f in the request target"},
	}
	for _, tt := range tests {
		if tt.method == "" {
			tt.method = "GET"
		}
		path, query, err := splitTarget(&head{Method: tt.method, Target: tt.target})
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s %q: refused: %v", tt.method, tt.target, err)
				continue
			}
			if query != "" {
				path += "?" + query
			}
			if path != tt.target {
				t.Errorf("%s %q: got %q, want it unchanged", tt.method, tt.target, path)
			}
			u := target("e1:80", strings.SplitN(tt.target, "?", 2)[0], query)
			if got := u.RequestURI(); got != tt.target {
				t.Errorf("%s %q: would be sent as %q", tt.method, tt.target, got)
			}
			continue
		}
		if err == nil || err.cause != tt.want || err.status != 400 {
			t.Errorf("%s %q: got %v, want 400 %q", tt.method, tt.target, err, tt.want)
		}
	}
}

func TestCleanDropsHopByHopAndIdentityHeaders(t *testing.T) {
	h := http.Header{
		"Connection": {"keep-alive, X-Secret", "Upgrade"}, "Keep-Alive": {"timeout=5"}, "X-Secret": {"1"}, "Te": {"gzip, trailers"},
		"Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"x"}, "Host": {"other"},
		"X-Forwarded-Client-Cert": {"URI=spiffe://forged"}, "X_forwarded_client-Cert": {"URI=spiffe://forged"}, "Authorization": {"Bearer t"}, "X-Many": {"a", "b"},
	}
	got, err := clean(&head{Method: "GET", Target: "/x?y=1", Host: "svc:80", Proto: 1, Header: h})
	if err != nil {
		t.Fatal(err)
	}
	want := "map[Authorization:[Bearer t] Te:[trailers] X-Many:[a b]]"
	if s := fmt.Sprint(got.Header); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
	if got.Path != "/x" || got.Query != "y=1" || got.Host != "svc:80" || got.Method != "GET" {
		t.Errorf("got %+v", got)
	}
	if len(h) != 12 {
		t.Error("clean modified the head it was given")
	}
}

func TestCleanRefuses(t *testing.T) {
	many := http.Header{}
	for i := range maxHeaders + 1 {
		many.Add("X-Flood", fmt.Sprint(i))
	}
	tests := []struct {
		name   string
		header http.Header
		want   string
	}{
		{"connection_names_authorization", http.Header{"Connection": {"authorization"}}, "the Connection header names Authorization"},
		{"connection_names_mcp", http.Header{"Connection": {"close, mcp-SESSION-id"}}, "the Connection header names Mcp-Session-Id"},
		{"connection_names_forwarded", http.Header{"Connection": {"x-forwarded-for"}}, "the Connection header names X-Forwarded-For"},
		{"too_many_fields", many, "more than 100 header fields"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := clean(&head{Method: "GET", Target: "/", Header: tt.header})
			if err == nil || err.cause != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e", "/a%2f..", "//x", "/a;b", "/a%252e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, query, err := splitTarget(&head{Method: "GET", Target: s})
		if err != nil {
			return
		}
		sent := target("e1:80", path, query).RequestURI()
		if strings.TrimSuffix(sent, "?") != strings.TrimSuffix(s, "?") {
			t.Errorf("judged %q, would send %q", s, sent)
		}
		// A second reader which decodes once and resolves dots must stay on the same segments.
		if decoded, r := decodeOnce(path); r == nil {
			for seg := range strings.SplitSeq(decoded, "/") {
				if seg == ".." || seg == "." {
					t.Errorf("%q has a dot segment once decoded", s)
				}
			}
		}
	})
}
