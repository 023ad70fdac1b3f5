//lint:file-ignore SA1019 golang.org/x/net/http2 is the stock peer that we are compared with, deprecated or not.

package hbone_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// Peers that nobody here wrote: the HTTP/2 clients of net/http and golang.org/x/net, which half-close correctly.
func TestStockClients(t *testing.T) {
	config := certs.ClientConfig(certs.Static(clientMaterial()), trust)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	clients := map[string]http.RoundTripper{
		"net/http": &http.Transport{TLSClientConfig: config, Protocols: protocols},
		"x/net":    &http2.Transport{TLSClientConfig: config},
	}
	_, addr := startServer(t, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		switch r.Authority() {
		case "echo:1":
			echo(r)
		case "early:1": // ends its own direction first, and still receives the rest
			c, _ := r.Accept(http.Header{"Baggage": {"a=b"}})
			io.WriteString(c, "early")
			c.CloseWrite()
			io.Copy(io.Discard, c)
		case "cut:1":
			c, _ := r.Accept(nil)
			io.WriteString(c, "half")
			c.Close()
		default:
			r.Refuse(http.StatusServiceUnavailable)
		}
	}})
	for name, rt := range clients {
		t.Run(name, func(t *testing.T) {
			defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
			connect := func(authority string, body io.Reader) *http.Response {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://"+addr.String(), io.NopCloser(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Host, req.ContentLength = authority, -1
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { resp.Body.Close() })
				return resp
			}
			payload := bytes.Repeat([]byte("0123456789abcdef"), 200<<10)
			resp := connect("echo:1", bytes.NewReader(payload))
			if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !bytes.Equal(got, payload) {
				t.Errorf("echo: status %d, %d bytes, %v, want 200 and %d", resp.StatusCode, len(got), err, len(payload))
			}
			resp = connect("early:1", bytes.NewReader(payload))
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "early" || resp.Header.Get("Baggage") != "a=b" {
				t.Errorf("early: %q, %v, header %v", got, err, resp.Header)
			}
			pr, pw := io.Pipe()
			defer pw.Close()
			resp = connect("cut:1", pr)
			if got, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("cut: an abnormal end looks clean after %q", got)
			}
			pr2, pw2 := io.Pipe()
			defer pw2.Close()
			resp = connect("none:1", pr2)
			if got, want := resp.StatusCode, http.StatusServiceUnavailable; got != want {
				t.Errorf("none: got status %d, want %d", got, want)
			}
		})
	}
}

// Our client against the stock server. That server cannot half-close, so only what it can do is asked.
func TestStockServer(t *testing.T) {
	srv := &http2.Server{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "10.0.0.9:3000" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Baggage", "a=b")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		io.Copy(flushingWriter{w}, r.Body)
	})
	l := listenTLS(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if handshake(conn) == nil {
					srv.ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
				}
			})
		}
	})
	p := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(clientMaterial())})
	defer func() { p.Close(); l.Close(); wg.Wait() }()
	addr := addrPortOf(l)
	for range 20 {
		c := dial(t, p, addr)
		payload := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
		go func() {
			c.Write(payload)
			c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, payload) || c.Header().Get("Baggage") != "a=b" {
			t.Errorf("got %d bytes, %v, header %v; want %d", len(got), err, c.Header(), len(payload))
		}
		c.Close()
	}
	to := target(addr)
	to.Authority = "10.0.0.9:3001"
	_, err := p.Dial(context.Background(), to)
	if want := "hbone: dial " + addr.String() + ": CONNECT refused with status 400"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

type flushingWriter struct{ http.ResponseWriter }

func (w flushingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	http.NewResponseController(w.ResponseWriter).Flush()
	return n, err
}
