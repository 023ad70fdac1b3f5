package fetch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/fetch"
)

// server answers over TLS on loopback, and comes with options that reach it.
func server(t *testing.T, h http.HandlerFunc) fetch.Options {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return fetch.Options{URL: s.URL, Roots: pool, Timeout: 2 * time.Second, AllowLoopback: true}
}

func client(t *testing.T, o fetch.Options) *fetch.Client {
	t.Helper()
	c, err := fetch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func endless(w http.ResponseWriter, _ *http.Request) {
	b := make([]byte, 64<<10)
	for range (10 << 30) / len(b) {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func TestGet(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"good":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, ""},
		"status":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "fetch: status 503"},
		"created":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, "fetch: status 201"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) }, "fetch: redirects are not followed"},
		"encoded": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
		}, "fetch: the answer is encoded"},
		"declared": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10737418240")
		}, "fetch: answer too large: more than 1048576 bytes"},
		"endless": {endless, "fetch: answer too large: more than 1048576 bytes"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "fetch: the answer broke off"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			body, _, err := client(t, server(t, tt.handler)).Get(t.Context())
			if tt.want == "" {
				if err != nil || string(body) != "{}" {
					t.Fatalf("got %q, %v", body, err)
				}
				return
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestSlow(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no head": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("{"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		o := server(t, h)
		o.Timeout = 100 * time.Millisecond
		if _, _, err := client(t, o).Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer without an end costs no more than its limit.
func TestFlat(t *testing.T) {
	c := client(t, server(t, endless))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, _, err := c.Get(t.Context()); !errors.Is(err, fetch.ErrTooLarge) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if grew := (after.TotalAlloc - before.TotalAlloc) / 10; grew > 16<<20 {
		t.Errorf("%d bytes were allocated for one answer over the limit of 1 MiB", grew)
	}
}

func TestPost(t *testing.T) {
	o := server(t, func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		w.WriteHeader(400)
		_, _ = w.Write([]byte(r.Method + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("Authorization") + " " + b.String()))
	})
	status, answer, err := client(t, o).Post(t.Context(), "application/x-www-form-urlencoded", []byte("a=b"), http.Header{"Authorization": {"Basic x"}})
	if want := "POST application/x-www-form-urlencoded Basic x a=b"; err != nil || status != 400 || string(answer) != want {
		t.Errorf("got %d %q %v, want 400 %q", status, answer, err, want)
	}
}

func TestVia(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host + r.URL.String())) }))
	defer s.Close()
	o := fetch.Options{URL: "http://keys.bank.svc.cluster.local:8080/jwks?x=1", Via: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
	}, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		t.Error("a name of the mesh was looked up")
		return nil, nil
	}}
	body, _, err := client(t, o).Get(t.Context())
	if want := "keys.bank.svc.cluster.local:8080/jwks?x=1"; err != nil || string(body) != want {
		t.Errorf("got %q %v, want %q", body, err, want)
	}
}

// addresses that nothing is fetched from, as a name may lead there. A name with one bad address among good ones is refused.
const hostile = `0.0.0.0 0.1.2.3 127.0.0.1 127.1.2.3 127.255.255.255 100.64.0.1 100.127.255.255 169.254.0.1 169.254.169.254 169.254.170.2 192.0.0.1
	192.0.0.8 192.0.0.170 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
	224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 100.100.100.200 ::1 :: ::127.0.0.1 ::7f00:1 ::ffff:0:127.0.0.1 fe80::1
	fe80::a9fe:a9fe febf::1 fec0::1 feff::1 ff02::1 ff0e::1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::1 64:ff9b:1::7f00:1
	100::1 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808:: 2001::1 2001:0:7f00:1:: 2001:10::1 2001:20::1 2001:2::1 2001:db8::1 3fff::1 3fff:fff::1
	2620:4f:8000::1 fd00:ec2::254 fd00:ec2::23 5f00::1 4000::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:100.64.0.1`

// private addresses are reached only if that is allowed.
const private = `10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 fc00::1 fd12:3456::1 ::ffff:10.0.0.1 ::ffff:192.168.1.1`

func TestAddresses(t *testing.T) {
	refused := func(a string, allow bool) bool {
		var looked atomic.Int32
		c := client(t, fetch.Options{
			URL: "https://idp.example.com/keys", AllowPrivate: allow, Timeout: 300 * time.Millisecond,
			Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
				looked.Add(1)
				return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr(a)}, nil
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // what is allowed is not waited for
		defer cancel()
		_, _, err := c.Get(ctx)
		if n := looked.Load(); n > 1 {
			t.Errorf("%s: looked up %d times", a, n)
		}
		return errors.Is(err, fetch.ErrAddress)
	}
	for _, a := range strings.Fields(hostile) {
		if !refused(a, true) {
			t.Errorf("%s was not refused", a)
		}
	}
	for _, a := range strings.Fields(private) {
		if !refused(a, false) {
			t.Errorf("%s was not refused", a)
		}
		if refused(a, true) {
			t.Errorf("%s was refused although private networks are allowed", a)
		}
	}
}

// A name that leads to a good address when it is looked up first, and to a bad one later, is checked each time it is connected
// to: what was checked is what is dialled.
func TestRebinding(t *testing.T) {
	var hits, looked atomic.Int32
	o := server(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	port := o.URL[strings.LastIndexByte(o.URL, ':'):]
	answers := []string{"127.0.0.1", "169.254.169.254"}
	o.URL = "https://idp.example.com" + port
	o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(answers[min(int(looked.Add(1)), len(answers))-1])}, nil
	}
	c := client(t, o)
	_, _, _ = c.Get(t.Context()) // reaches the server, whatever becomes of its certificate
	if _, _, err := c.Get(t.Context()); !errors.Is(err, fetch.ErrAddress) || looked.Load() != 2 || hits.Load() > 1 {
		t.Errorf("got %v after %d lookups and %d hits", err, looked.Load(), hits.Load())
	}
}

func TestURLs(t *testing.T) {
	for _, u := range []string{
		"", "http://idp.example.com", "https://user@idp.example.com", "https://u:p@idp.example.com", "https://2130706433/", "https://0x7f000001/",
		"https://0177.0.0.1/", "https://127.1/", "https://[::1]/", "https://127.0.0.1/", "https://[fe80::1%25eth0]/", "https://idp.example.com./",
		"https://IDP.example.com/", "https://idp.example.com/#x", "https://idp.example.com/#", "https://xn--é/", "https://idp.example.com:0/",
		"https://idp.example.com:/", "https://idp.example.com:99999/", "https://idp.example.com:0443/", "https:///x", "https:idp.example.com",
		"file:///etc/passwd", "gopher://x/", "https://a\x00b/", "https://a b/", "https://a..b/", "https://[::ffff:127.0.0.1]/", "https://[::FFFF:7f00:1]/",
		"https://169.254.169.254/", "https://[fd00:ec2::254]/", `https://idp.example.com\@evil/`, "https://%6c%6f/", "https://127.0.0.1.nip%2eio/",
		"https://①②⑦.0.0.1/", "https://1.2.3/", "https://0/", "https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
	} {
		if _, err := fetch.New(fetch.Options{URL: u, AllowPrivate: true}); err == nil {
			t.Errorf("%q: accepted", u)
		}
	}
	for _, u := range []string{"https://idp.example.com", "https://idp.example.com:8443/a?b=c", "https://8.8.8.8/", "https://[2606:4700::1111]/", "https://10.1.2.3/keys"} {
		if _, err := fetch.New(fetch.Options{URL: u, AllowPrivate: true}); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
}
