package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// backendID is the workload behind the proxies.
var backendID = identity.RequireID("spiffe://cluster.local/ns/bank/sa/web")

// backend answers HTTP/1.1 requests: behind a tunnel as a workload in the mesh does, and behind bare TLS for the floor. It
// does no more than it must, because it shares a core with the load generator.
type backend struct {
	tunnel, tls netip.AddrPort

	server   *hbone.Server
	listener net.Listener
	wg       sync.WaitGroup
}

func startBackend() (*backend, error) {
	material := peers.CA().Issue(backendID)
	hl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tl, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(certs.Static(material), peers.Trust))
	if err != nil {
		return nil, err
	}
	b := &backend{tunnel: peers.AddrPort(hl), tls: peers.AddrPort(tl), listener: tl}
	b.server = hbone.NewServer(hbone.ServerConfig{Certificates: certs.Static(material), Trust: peers.Trust, Handler: func(r *hbone.Request) {
		if c, err := r.Accept(nil); err == nil {
			answerAll(c)
		}
	}})
	b.wg.Go(func() { b.server.Serve(hl) })
	b.wg.Go(func() {
		for {
			c, err := tl.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() {
				defer c.Close()
				answerAll(c)
			})
		}
	})
	return b, nil
}

// close ends the backend; the proxies have ended before it, and with them every connection.
func (b *backend) close() {
	b.listener.Close()
	b.server.Close()
	b.wg.Wait()
}

// answerAll answers the requests on a connection until it ends: a POST with as many bytes as it has, in the form its
// content type asks for, and a GET with an event stream that never says more than one thing.
func answerAll(c net.Conn) {
	r := bufio.NewReaderSize(c, 16<<10)
	answers := map[int][]byte{}
	for {
		h, err := readHead(r)
		if err != nil {
			return
		}
		if h.get {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"+
				"c\r\n: good day\n\n\r\n")
			continue
		}
		if _, err := r.Discard(h.length); err != nil {
			return
		}
		key := h.length
		if h.json {
			key = -key
		}
		if answers[key] == nil {
			answers[key] = answer(h.json, h.length)
		}
		if _, err := c.Write(answers[key]); err != nil {
			return
		}
	}
}

// answer is a response with a body of n bytes.
func answer(json bool, n int) []byte {
	body, kind := bytes.Repeat([]byte("a"), n), "application/octet-stream"
	if json {
		body, kind = toolResult(n), "application/json"
	}
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", kind, len(body)), body...)
}

// head is what is needed of an HTTP/1.1 head.
type head struct {
	get, ok bool // the first line is that of a GET, or of an answer with 200
	length  int  // of the body, if it is not chunked
	chunked bool
	json    bool
}

// readHead reads a head without allocating.
func readHead(r *bufio.Reader) (h head, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	h.get, h.ok = bytes.HasPrefix(line, []byte("GET ")), bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
			h.length, err = strconv.Atoi(string(value))
			if err != nil {
				return h, err
			}
		case len(name) == len("transfer-encoding") && bytes.EqualFold(name, []byte("transfer-encoding")):
			h.chunked = true
		case len(name) == len("content-type") && bytes.EqualFold(name, []byte("content-type")):
			h.json = bytes.HasPrefix(value, []byte("application/json"))
		}
	}
}

// readBody reads past a body and returns how long it was.
func readBody(r *bufio.Reader, h head) (int, error) {
	if !h.chunked {
		return r.Discard(h.length)
	}
	total := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return total, fmt.Errorf("chunk size: %w", err)
		}
		if _, err := r.Discard(int(n) + len("\r\n")); err != nil {
			return total, err
		}
		if n == 0 {
			return total, nil
		}
		total += int(n)
	}
}
