package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// sniff reads a caller's first bytes until they show what they are, and returns them. Silence until timeout means a
// server-first protocol: no bytes, not HTTP, no error.
func sniff(conn net.Conn, timeout time.Duration) (first []byte, isHTTP bool, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, false, err
	}
	defer func() {
		if derr := conn.SetReadDeadline(time.Time{}); err == nil {
			err = derr
		}
	}()
	buf := make([]byte, sniffBytes)
	n := 0
	for n < len(buf) {
		m, err := conn.Read(buf[n:])
		n += m
		if is, sure := looksHTTP(buf[:n]); sure {
			return buf[:n], is, nil
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF):
			return buf[:n], false, nil // what was not HTTP in time is raw, and judged as raw
		case err != nil:
			return nil, false, err
		}
	}
	return buf, false, nil
}

// looksHTTP reports whether b begins an HTTP/1 request or the HTTP/2 preface, and whether more bytes could change that.
func looksHTTP(b []byte) (is, sure bool) {
	if n := min(len(b), len(preface)); bytes.Equal(b[:n], []byte(preface)[:n]) && n > 0 {
		return true, n == len(preface)
	}
	line, _, complete := bytes.Cut(b, []byte("\n"))
	method, rest, ok := bytes.Cut(line, []byte(" "))
	switch {
	case !methodLike(method):
		return false, len(b) > 0
	case !ok:
		return false, complete
	case !complete:
		return false, false
	}
	_, version, ok := bytes.Cut(bytes.TrimSuffix(rest, []byte("\r")), []byte(" "))
	return ok && bytes.HasPrefix(version, []byte("HTTP/1.")), true
}

// methodLike reports whether b could be, or begin, an HTTP method as anybody uses it: 1 to 20 capital letters or "-".
func methodLike(b []byte) bool {
	if len(b) > 20 {
		return false
	}
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}
