package proxy

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// bodyFraming is what an HTTP/1 head says about the body that follows (RFC 9112, section 6).
type bodyFraming struct {
	chunked bool
	length  int64
}

// headEnd returns the length of a complete head, -1 if more is needed.
func headEnd(b []byte) (int, error) {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 && i+4 <= maxHeadBytes {
		return i + 4, nil
	}
	if bytes.Contains(b, []byte("\n\n")) || bytes.Contains(b, []byte("\n\r\n")) && !bytes.Contains(b, []byte("\r\n\r\n")) {
		return 0, framing("a line ends in a bare LF")
	}
	if len(b) >= maxHeadBytes {
		return 0, errHeadTooLarge
	}
	return -1, nil
}

// parseFraming checks a complete head, CRLF CRLF included, and returns its body framing.
func parseFraming(b []byte) (bodyFraming, error) {
	lines, err := headLines(b)
	if err != nil {
		return bodyFraming{}, err
	}
	http10, err := checkRequestLine(lines[0])
	if err != nil {
		return bodyFraming{}, err
	}
	var f bodyFraming
	var lengths, codings, hosts int
	for _, line := range lines[1:] {
		name, value, err := field(line)
		if err != nil {
			return bodyFraming{}, err
		}
		switch strings.ToLower(name) {
		case "content-length":
			lengths++
			if f.length, err = contentLength(value); err != nil {
				return bodyFraming{}, err
			}
		case "transfer-encoding":
			codings++
			if !strings.EqualFold(value, "chunked") {
				return bodyFraming{}, framing("Transfer-Encoding is not exactly \"chunked\"")
			}
			f.chunked = true
		case "host":
			hosts++
			if !httpguts.ValidHostHeader(value) {
				return bodyFraming{}, framing("malformed Host")
			}
		case "expect":
			if !strings.EqualFold(value, "100-continue") {
				return bodyFraming{}, framing("Expect is not exactly \"100-continue\"")
			}
		case "trailer":
			if err := checkAnnounced(value); err != nil {
				return bodyFraming{}, err
			}
		}
	}
	switch {
	case lengths > 1:
		return bodyFraming{}, framing("more than one Content-Length")
	case codings > 1:
		return bodyFraming{}, framing("more than one Transfer-Encoding")
	case lengths > 0 && codings > 0:
		return bodyFraming{}, framing("both Content-Length and Transfer-Encoding")
	case codings > 0 && http10:
		return bodyFraming{}, framing("Transfer-Encoding in HTTP/1.0")
	case hosts > 1 || hosts == 0 && !http10:
		return bodyFraming{}, framing("there must be exactly one Host")
	}
	return f, nil
}

// checkAnnounced refuses what would be framing if it came in the trailer.
func checkAnnounced(trailer string) error {
	for name := range splitList(trailer) {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Trailer":
			return framing("%s announced for the trailer", name)
		}
	}
	return nil
}

func checkTrailer(b []byte) error {
	lines, err := headLines(b)
	if err != nil {
		return err
	}
	for _, line := range lines {
		name, _, err := field(line)
		if err != nil {
			return err
		}
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "host", "connection", "authorization", "trailer":
			return framing("%s in the trailer", name)
		}
	}
	return nil
}

// headLines splits at CRLF and refuses bare CR, bare LF and other control bytes.
func headLines(b []byte) ([]string, error) {
	lines := strings.Split(strings.TrimSuffix(string(b), "\r\n\r\n"), "\r\n")
	if len(lines) > maxHeaders+1 {
		return nil, errHeadTooLarge
	}
	for _, line := range lines {
		for i := range len(line) {
			if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
				return nil, framing("control byte %#02x in the head", c)
			}
		}
	}
	return lines, nil
}

func checkRequestLine(line string) (http10 bool, err error) {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !token(method) || target == "" || strings.ContainsAny(target, "\t") {
		return false, framing("malformed request line")
	}
	if !parses(method, target) {
		return false, framing("malformed request target")
	}
	switch version {
	case "HTTP/1.1":
		return false, nil
	case "HTTP/1.0":
		return true, nil
	}
	return false, framing("unsupported version in the request line")
}

// parses reports whether net/http can read a request target. What it cannot read it would answer itself, and leave no record.
func parses(method, target string) bool {
	if target[0] == '/' && strings.IndexByte(target, '%') < 0 {
		return true
	}
	if method == http.MethodConnect && target[0] != '/' {
		target = "http://" + target
	}
	_, err := url.ParseRequestURI(target)
	return err == nil
}

func field(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !token(name) { // also refuses folded lines and white space before the colon
		return "", "", framing("malformed header field")
	}
	return name, strings.Trim(value, " \t"), nil
}

func contentLength(v string) (int64, error) {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, framing("Content-Length is not a plain number")
		}
	}
	n, err := strconv.ParseInt(v, 10, 63)
	if err != nil {
		return 0, framing("Content-Length out of range")
	}
	return n, nil
}

// token reports whether s is an RFC 9110 token (section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
