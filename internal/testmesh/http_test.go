package testmesh_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// Everything an HTTP port of a real service may do must survive the waypoint, declared as HTTP or left to sniffing.
var httpPorts = []string{"HTTP", ""}

func TestServerSentEventsAreNotHeldBack(t *testing.T) {
	for _, port := range httpPorts {
		t.Run("protocol "+port, func(t *testing.T) {
			next := make(chan string)
			app := web(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for e := range next {
					fmt.Fprintf(w, "data: %s\n\n", e)
					w.(http.Flusher).Flush()
				}
			})
			c := build(t, app, port, false).client(t)
			sent := make(chan error, 1)
			go func() { // the first event releases the response head
				next <- "1"
				sent <- nil
			}()
			res, err := c.Get("http://app:3000/events")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			<-sent
			lines := bufio.NewReader(res.Body)
			for i := range 3 {
				if i > 0 {
					next <- fmt.Sprint(i + 1) // only sent once the one before has arrived
				}
				line, err := lines.ReadString('\n')
				if got, want := line, fmt.Sprintf("data: %d\n", i+1); err != nil || got != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
				lines.ReadString('\n')
			}
			close(next)
			if rest, err := io.ReadAll(lines); len(rest) != 0 || err != nil {
				t.Errorf("got %q, %v after the last event", rest, err)
			}
		})
	}
}

func TestTrailers(t *testing.T) {
	app := web(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-In")+"!")
	})
	c := build(t, app, "HTTP", false).client(t)
	req, err := http.NewRequest(http.MethodPost, "http://app:3000/", io.MultiReader(strings.NewReader("up")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-In": {"seven"}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if got, want := res.Trailer.Get("X-Sum"), "seven!"; got != want {
		t.Errorf("got trailer %q, want %q", got, want)
	}
}

func TestInformationalAnswers(t *testing.T) {
	app := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		body, _ := io.ReadAll(r.Body) // sends 100 to a client that waits for it
		fmt.Fprintf(w, "%d bytes", len(body))
	})
	c := build(t, app, "HTTP", false).client(t)
	c.Transport.(*http.Transport).ExpectContinueTimeout = patience
	var hints, continues int
	trace := &httptrace.ClientTrace{
		Got100Continue: func() { continues++ },
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				hints++
			}
			return nil
		},
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPost, "http://app:3000/",
		bytes.NewReader(make([]byte, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if got, want := string(body), "1000 bytes"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if hints != 1 || continues != 1 {
		t.Errorf("got %d early hints and %d continues, want one of each", hints, continues)
	}
}

func TestWebSocketUpgrade(t *testing.T) {
	for _, port := range httpPorts {
		t.Run("protocol "+port, func(t *testing.T) {
			app := web(t, echoUpgraded)
			conn := build(t, app, port, false).dial(t)
			io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: app:3000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			r := bufio.NewReader(conn)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := res.StatusCode, http.StatusSwitchingProtocols; got != want {
				t.Fatalf("got status %d, want %d", got, want)
			}
			if got, want := res.Header.Get("Sec-Websocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, want := range []string{"\x81\x05hello", "\x81\x03you"} {
				io.WriteString(conn, want)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
			}
		})
	}
}

// echoUpgraded accepts RFC 6455's example handshake and sends every byte back.
func echoUpgraded(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	io.Copy(conn, rw)
}

// gRPC is HTTP/2 without TLS with length-prefixed messages and its status in a trailer; a call can fail with trailers
// alone.
func TestGRPC(t *testing.T) {
	for _, port := range []string{"GRPC", "HTTP2", ""} {
		t.Run("protocol "+port, func(t *testing.T) {
			app := web(t, grpcEcho)
			w := build(t, app, port, false)
			c := h2c(t, w)
			for _, tc := range []struct{ path, message, status string }{
				{"/echo.Echo/Say", "hello", "0"},
				{"/echo.Echo/Nothing", "", "12"},
			} {
				message, status := grpcCall(t, c, "http://app:3000"+tc.path, "hello")
				if message != tc.message || status != tc.status {
					t.Errorf("%s: got %q and status %q, want %q and %q", tc.path, message, status, tc.message, tc.status)
				}
			}
		})
	}
}

func h2c(t *testing.T, w *world) *http.Client {
	t.Helper()
	c := w.client(t)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c.Transport.(*http.Transport).Protocols = p
	return c
}

func grpcEcho(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	if r.ProtoMajor != 2 || r.URL.Path != "/echo.Echo/Say" {
		w.Header().Set("Grpc-Status", "12")
		return
	}
	w.Header().Set("Trailer", "Grpc-Status")
	io.Copy(w, r.Body)
	w.Header().Set("Grpc-Status", "0")
}

func grpcCall(t *testing.T, c *http.Client, url, message string) (answer, status string) {
	t.Helper()
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.MultiReader(bytes.NewReader(frame), strings.NewReader(message)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	status = res.Trailer.Get("Grpc-Status") + res.Header.Get("Grpc-Status")
	return string(body[min(5, len(body)):]), status
}

// Raw connections have halves, HTTP has not: a caller that closes its side while it waits has left, and the application
// hears of it. Without this, a caller could not cancel what it asked for (docs/decisions/0004).
func TestClosingIsLeaving(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	app := web(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	conn := build(t, app, "HTTP", false).dial(t)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app:3000\r\n\r\n")
	<-entered
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-left
	if answer, err := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("got %q, %v, want no answer", answer, err)
	}
}
