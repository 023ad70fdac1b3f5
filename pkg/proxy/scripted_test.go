package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scriptedServer is a plain HTTP/1 server that answers each request with the next section of a conversation.
type scriptedServer struct {
	addr string
	l    net.Listener
	wg   sync.WaitGroup

	mu       sync.Mutex
	script   [][]byte
	requests strings.Builder
	conns    []net.Conn
}

func newScriptedServer(t *testing.T, a *txtar.Archive) *scriptedServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptedServer{addr: l.Addr().String(), l: l}
	for n := 1; ; n++ {
		f := section(a, fmt.Sprintf("upstream.%d", n))
		if f == nil {
			break
		}
		s.script = append(s.script, wireForm(f.Data))
	}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *scriptedServer) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(c) })
	}
}

func (s *scriptedServer) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		reply := s.next(r, body)
		if _, err := c.Write(reply); err != nil {
			return
		}
		if framed := bytes.Contains(reply, []byte("Content-Length")) || bytes.Contains(reply, []byte("chunked")); !framed || bytes.Contains(reply, []byte("Connection: close")) {
			return // an answer that ends with the connection
		}
	}
}

func (s *scriptedServer) next(r *http.Request, body []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.requests, "%s %s %s\n%s", r.Method, r.RequestURI, r.Host, render(r.Header, r.ContentLength, body))
	if len(s.script) == 0 {
		return []byte("HTTP/1.1 599 Unscripted\r\nContent-Length: 0\r\n\r\n")
	}
	reply := s.script[0]
	s.script = s.script[1:]
	return reply
}

func (s *scriptedServer) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.String()
}

func (s *scriptedServer) close() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// lockedBuffer collects audit records.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
