package testmesh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity/certs"
)

// The side that closes first still receives the rest, in both directions, whatever the port is declared to be.
func TestHalfCloseOfTCP(t *testing.T) {
	const size = 1 << 20
	for _, port := range []string{"TCP", ""} {
		for _, plain := range []bool{false, true} {
			t.Run("client closes first, protocol "+port, func(t *testing.T) {
				app := tcp(t, func(c *net.TCPConn) {
					sum := sha256.New()
					io.Copy(sum, c) // until the client has closed
					c.Write(sum.Sum(nil))
				})
				conn := build(t, app, port, plain).dial(t)
				upload := bytes.Repeat([]byte("upload--"), size/8)
				if _, err := conn.Write(upload); err != nil {
					t.Fatal(err)
				}
				conn.CloseWrite()
				got, err := io.ReadAll(conn)
				if want := sha256.Sum256(upload); err != nil || !bytes.Equal(got, want[:]) {
					t.Errorf("got %x, %v, want %x", got, err, want)
				}
			})
			t.Run("server closes first, protocol "+port, func(t *testing.T) {
				received := make(chan []byte, 1)
				app := tcp(t, func(c *net.TCPConn) {
					one := make([]byte, 1)
					io.ReadFull(c, one)
					io.WriteString(c, "bye")
					c.CloseWrite()
					rest, _ := io.ReadAll(c)
					received <- rest
				})
				conn := build(t, app, port, plain).dial(t)
				io.WriteString(conn, "?")
				if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
					t.Fatalf("got %q, %v, want %q", got, err, "bye")
				}
				upload := bytes.Repeat([]byte("late"), size/4)
				if _, err := conn.Write(upload); err != nil {
					t.Fatal(err)
				}
				conn.CloseWrite()
				if got := <-received; !bytes.Equal(got, upload) {
					t.Errorf("the server received %d bytes after it had closed, want %d", len(got), len(upload))
				}
			})
		}
	}
}

// A server that speaks first is heard, at once where the port is declared and after the sniffing time where it is not.
func TestServerFirst(t *testing.T) {
	for _, port := range []string{"TCP", "MySQL", ""} {
		t.Run("protocol "+port, func(t *testing.T) {
			app := tcp(t, func(c *net.TCPConn) {
				io.WriteString(c, "220 ready\r\n")
				io.Copy(c, c)
			})
			conn := build(t, app, port, false).dial(t)
			greeting := make([]byte, len("220 ready\r\n"))
			if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "220 ready\r\n" {
				t.Fatalf("got %q, %v", greeting, err)
			}
			io.WriteString(conn, "EHLO")
			conn.CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "EHLO" {
				t.Errorf("got %q, %v, want %q", got, err, "EHLO")
			}
		})
	}
}

// TLS of the application passes through: the certificate that the client sees is the application's own.
func TestTLSPassesThrough(t *testing.T) {
	for _, port := range []string{"TLS", "HTTPS", ""} {
		t.Run("protocol "+port, func(t *testing.T) {
			var material *certs.Material
			config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return &material.Certificate, nil
			}}
			app := tcp(t, func(c *net.TCPConn) {
				s := tls.Server(c, config)
				io.Copy(s, s)
				s.Close()
			})
			w := build(t, app, port, false)
			material = w.mesh.CA().Issue(w.mesh.ID("bank", "tls-app"))
			conn := tls.Client(w.dial(t), &tls.Config{ServerName: "app", InsecureSkipVerify: true})
			io.WriteString(conn, "ping")
			conn.CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "ping" {
				t.Fatalf("got %q, %v, want %q", got, err, "ping")
			}
			var seen *x509.Certificate = conn.ConnectionState().PeerCertificates[0]
			if got, want := seen.URIs[0].String(), w.mesh.ID("bank", "tls-app").String(); got != want {
				t.Errorf("got certificate of %q, want %q", got, want)
			}
		})
	}
}

// A backend that refuses the connection is a closed connection to the caller, never an empty success.
func TestRefusedBackendIsNotAnEmptySuccess(t *testing.T) {
	for _, plain := range []bool{false, true} {
		w := build(t, freePort(t), "TCP", plain)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := w.out.Dial(ctx)
		if err == nil {
			conn.Close()
			t.Fatalf("plain %v: the tunnel was accepted", plain)
		}
	}
}

// A backend that breaks off in the middle must not look like one that has finished.
func TestAbortIsNotACleanEnd(t *testing.T) {
	app := tcp(t, func(c *net.TCPConn) {
		io.WriteString(c, "half")
		one := make([]byte, 1)
		io.ReadFull(c, one) // the client has the first half
		c.SetLinger(0)
	})
	conn := build(t, app, "TCP", false).dial(t)
	half := make([]byte, 4)
	if _, err := io.ReadFull(conn, half); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "!")
	conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(half); n != 0 || err == io.EOF || err == nil {
		t.Errorf("got %d bytes and %v, want a reset", n, err)
	}
}
