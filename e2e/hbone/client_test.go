package hbone_test

//lint:file-ignore SA1019 x/net's own client is deprecated and in use: it is a peer here

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
)

// bulk is larger than every window and buffer between two endpoints.
var bulk = func() []byte {
	b := make([]byte, 5<<20)
	rand.Read(b)
	return b
}()

// clients are Go's two HTTP/2 clients, which half-close correctly: the end of the request's body is END_STREAM.
var clients = map[string]func() (rt http.RoundTripper, done func()){
	"x/net/http2": func() (http.RoundTripper, func()) {
		t := &http2.Transport{TLSClientConfig: peers.CallerTLS()}
		return t, t.CloseIdleConnections
	},
	"net/http": func() (http.RoundTripper, func()) {
		t := &http.Transport{TLSClientConfig: peers.CallerTLS(), Protocols: new(http.Protocols)}
		t.Protocols.SetHTTP2(true)
		return t, t.CloseIdleConnections
	},
}

// tunnel is a CONNECT stream through one of those clients.
type tunnel struct {
	io.Reader
	io.Writer
	closeWrite, close func() error
}

// connect opens a tunnel; a refusal is an error.
func connect(ctx context.Context, rt http.RoundTripper, a netip.AddrPort) (*tunnel, error) {
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+a.String(), r)
	if err != nil {
		return nil, err
	}
	req.Host = peers.Authority
	resp, err := rt.RoundTrip(req)
	if err != nil {
		w.Close()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		w.Close()
		resp.Body.Close()
		return nil, errors.New(resp.Status)
	}
	return &tunnel{resp.Body, w, w.Close, func() error {
		w.Close()
		return resp.Body.Close()
	}}, nil
}

// eachClient runs a test with a tunnel of each client into a server with this handler.
func eachClient(t *testing.T, handler func(*hbone.Request), test func(*testing.T, *tunnel)) {
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			addr := peers.Server(t, handler)
			rt, done := open()
			defer done()
			c, err := connect(t.Context(), rt, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			test(t, c)
		})
	}
}

func TestClientClosesFirstAndReceivesTheRest(t *testing.T) {
	handler := func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		got, err := io.ReadAll(c) // until the client has closed
		if err != nil {
			c.Abort(err)
			return
		}
		c.Write(got)
		c.CloseWrite()
	}
	eachClient(t, handler, func(t *testing.T, c *tunnel) {
		if _, err := c.Write(bulk); err != nil {
			t.Fatal(err)
		}
		if err := c.closeWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, bulk) {
			t.Errorf("got %d bytes, %v; want the %d bytes sent before closing", len(got), err, len(bulk))
		}
	})
}

func TestServerClosesFirstAndReceivesTheRest(t *testing.T) {
	received := make(chan []byte, 1)
	handler := func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		c.Write([]byte("done"))
		c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("server: %v", err)
		}
		received <- got
	}
	eachClient(t, handler, func(t *testing.T, c *tunnel) {
		if got, err := io.ReadAll(c); err != nil || string(got) != "done" {
			t.Fatalf("got %q, %v, want %q", got, err, "done")
		}
		if _, err := c.Write(bulk); err != nil {
			t.Fatal(err)
		}
		if err := c.closeWrite(); err != nil {
			t.Fatal(err)
		}
		if got := <-received; !bytes.Equal(got, bulk) {
			t.Errorf("server got %d bytes, want the %d bytes sent after it closed", len(got), len(bulk))
		}
	})
}

func TestBrokenTunnelDoesNotLookFinished(t *testing.T) {
	handler := func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		c.Write([]byte("half an ans"))
		io.ReadFull(c, make([]byte, 1)) // the client has seen it
		c.Abort(errors.New("backend is gone"))
	}
	eachClient(t, handler, func(t *testing.T, c *tunnel) {
		if _, err := io.ReadFull(c, make([]byte, len("half an ans"))); err != nil {
			t.Fatal(err)
		}
		c.Write([]byte{1})
		_, err := io.ReadAll(c)
		if want := "INTERNAL_ERROR"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %s", err, want)
		}
	})
}

func TestRefusalIsAStatus(t *testing.T) {
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			addr := peers.Server(t, func(r *hbone.Request) { r.Refuse(http.StatusNotFound) })
			rt, done := open()
			defer done()
			for range 3 { // a refusal leaves the connection usable
				_, err := connect(t.Context(), rt, addr)
				if got, want := fmt.Sprint(err), "404 Not Found"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestManyTunnelsOverOneConnection(t *testing.T) {
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			addr := peers.Server(t, peers.Echo)
			rt, done := open()
			defer done()
			ended := make(chan error)
			const tunnels = 100
			for i := range tunnels {
				go func() { ended <- echo(t.Context(), rt, addr, bulk[i<<10:][:64<<10]) }()
			}
			for range tunnels {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func echo(ctx context.Context, rt http.RoundTripper, a netip.AddrPort, message []byte) error {
	c, err := connect(ctx, rt, a)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.Write(message); err != nil {
		return err
	}
	if err := c.closeWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, message) {
		return fmt.Errorf("got %d other bytes than were sent", len(got))
	}
	return nil
}
