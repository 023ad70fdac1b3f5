package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestLooksHTTP(t *testing.T) {
	tests := []struct {
		in       string
		is, sure bool
	}{
		{"GET / HTTP/1.1\r\n", true, true},
		{"GET / HTTP/1.0\n", true, true},
		{"POST /mcp HTTP/1.1\r\nHost: x\r\n\r\n", true, true},
		{"M-SEARCH * HTTP/1.1\r\n", true, true},
		{preface, true, true},
		{"PRI * HT", true, false},
		{"P", true, false},
		{"GET", false, false},
		{"GET / HT", false, false},
		{"", false, false},
		{"PING\r\n", false, true},
		{"EHLO mail.example\r\n", false, true},
		{"*1\r\n$4\r\nPING\r\n", false, true},
		{"\x16\x03\x01\x02\x00", false, true},
		{"SSH-2.0-OpenSSH\r\n", false, true},
		{"get / HTTP/1.1\r\n", false, true},
		{"GET / HTTP/2.0\r\n", false, true},
		{"GET /\r\n", false, true},
		{strings.Repeat("A", 21), false, true},
		{"{\"jsonrpc\":\"2.0\"}\n", false, true},
	}
	for _, tt := range tests {
		is, sure := looksHTTP([]byte(tt.in))
		if sure != tt.sure || sure && is != tt.is {
			t.Errorf("%q: got %t, %t, want %t, %t", tt.in, is, sure, tt.is, tt.sure)
		}
	}
}

// FuzzSniff asserts that more bytes never turn a sure answer around: the decoder is chosen once.
func FuzzSniff(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 5)
	f.Add([]byte(preface+"\r\nSM\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		is, sure := looksHTTP(in[:cut])
		if again, still := looksHTTP(in); sure && (!still || is != again) {
			t.Errorf("%q: %t; %q: %t, sure %t", in[:cut], is, in, again, still)
		}
	})
}

func TestSniff(t *testing.T) {
	tests := []struct {
		name, send string
		close      bool
		want       string
		wantHTTP   bool
	}{
		{name: "http", send: "GET / HTTP/1.1\r\n\r\n", want: "GET / HTTP/1.1\r\n\r\n", wantHTTP: true},
		{name: "raw", send: "\x00\x01", want: "\x00\x01"},
		{name: "silence"},
		{name: "half_a_request", send: "GET /", want: "GET /"},
		{name: "gone", close: true},
		{name: "said_and_gone", send: "QUIT", close: true, want: "QUIT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := pair(t)
			_, _ = io.WriteString(client, tt.send)
			if tt.close {
				_ = client.Close()
			}
			first, is, err := sniff(server, 50*time.Millisecond)
			if err != nil || string(first) != tt.want || is != tt.wantHTTP {
				t.Fatalf("got %q, %t, %v, want %q, %t", first, is, err, tt.want, tt.wantHTTP)
			}
			if tt.close {
				return
			}
			_, _ = io.WriteString(client, "later")
			if _, err := io.ReadFull(server, make([]byte, len("later"))); err != nil {
				t.Errorf("the connection does not go on: %v", err)
			}
		})
	}
}

func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}
