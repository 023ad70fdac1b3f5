package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// script is a duplex that reads from a string and remembers deadlines only.
type script struct {
	net.Conn
	io.Reader
}

func (s *script) Read(b []byte) (int, error) { return s.Reader.Read(b) }
func (s *script) CloseWrite() error          { return nil }
func (s *script) Close() error               { return nil }

func scripted(r io.Reader) *script {
	a, b := net.Pipe()
	_ = b.Close()
	return &script{Conn: a, Reader: r}
}

var plainRequests = []string{
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
	"POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\nTrailer: X-Sum\r\n\r\nA\r\n0123456789\r\n00\r\nX-Sum: 1\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nanything at all\n\n",
}

func TestGuardPassesPlainFramingUnchanged(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte": iotest.OneByteReader, "half": iotest.HalfReader,
	}
	inputs := append([]string{plainRequests[0] + plainRequests[2] + plainRequests[3] + plainRequests[4] + plainRequests[0]}, plainRequests...)
	for name, cut := range readers {
		for _, in := range inputs {
			got, err := io.ReadAll(newGuard(scripted(cut(strings.NewReader(in))), nil))
			if err != nil || string(got) != in {
				t.Errorf("%s: %q\n got %q, %v", name, in, got, err)
			}
		}
	}
}

// smuggled requests, each with the one defect it is named for; the guard must hand on nothing of the defective part.
var smuggled = []struct{ name, in, want string }{
	{"content_length_and_chunked", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both Content-Length and Transfer-Encoding"},
	{"chunked_and_content_length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "both Content-Length and Transfer-Encoding"},
	{"two_content_lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "more than one Content-Length"},
	{"same_content_length_twice", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", "more than one Content-Length"},
	{"content_length_list", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd", "Content-Length is not a plain number"},
	{"content_length_plus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", "Content-Length is not a plain number"},
	{"content_length_hex", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd", "Content-Length is not a plain number"},
	{"content_length_empty", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "Content-Length out of range"},
	{"content_length_huge", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "Content-Length out of range"},
	{"te_identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "Transfer-Encoding is not exactly \"chunked\""},
	{"te_gzip_chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding is not exactly \"chunked\""},
	{"te_vertical_tab", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", "control byte 0x0b in the head"},
	{"te_twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "more than one Transfer-Encoding"},
	{"te_in_http10", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"},
	{"space_before_colon", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", "malformed header field"},
	{"folded_line", "POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", "malformed header field"},
	{"leading_space", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "malformed header field"},
	{"no_colon", "GET / HTTP/1.1\r\nHost: x\r\njunk\r\n\r\n", "malformed header field"},
	{"bare_lf_everywhere", "GET / HTTP/1.1\nHost: x\n\n", "a line ends in a bare LF"},
	{"bare_lf_in_head", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "control byte 0x0a in the head"},
	{"bare_lf_at_end", "GET / HTTP/1.1\r\nHost: x\n\r\n", "a line ends in a bare LF"},
	{"bare_cr", "GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", "control byte 0x0d in the head"},
	{"nul", "GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", "control byte 0x00 in the head"},
	{"two_hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "there must be exactly one Host"},
	{"no_host", "GET / HTTP/1.1\r\n\r\n", "there must be exactly one Host"},
	{"leading_empty_line", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed request line"},
	{"tab_in_request_line", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "malformed request line"},
	{"space_in_target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "unsupported version in the request line"},
	{"http09", "GET /\r\n\r\n", "malformed request line"},
	{"http12", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", "unsupported version in the request line"},
	{"second_preface", plainRequests[0] + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "unsupported version in the request line"},
	{"chunk_extension", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", "chunk size is not plain hexadecimal; chunk extensions are refused"},
	{"chunk_size_lf", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "chunk size line does not end in CRLF"},
	{"chunk_size_signed", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", "chunk size is not plain hexadecimal; chunk extensions are refused"},
	{"chunk_size_empty", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello", "chunk size line does not end in CRLF"},
	{"chunk_size_huge", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", "chunk size out of range"},
	{"chunk_too_long", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", "chunk data is not followed by CRLF"},
	{"trailer_content_length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", "Content-Length in the trailer"},
	{"trailer_authorization", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n", "Authorization in the trailer"},
	{"head_too_large", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", maxHeadBytes) + "\r\n\r\n", "head over 65536 bytes or 100 fields"},
	{"too_many_fields", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: a\r\n", maxHeaders) + "\r\n", "head over 65536 bytes or 100 fields"},
}

func TestGuardRefusesAmbiguousFraming(t *testing.T) {
	for _, tt := range smuggled {
		for _, oneByte := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				var r io.Reader = strings.NewReader(tt.in)
				if oneByte {
					r = iotest.OneByteReader(r)
				}
				var status int
				var cause error
				g := newGuard(scripted(r), func(s int, err error) { status, cause = s, err })
				got, err := io.ReadAll(g)
				if g.busy.Load() > 0 && status == 0 { // met inside a body: the exchange in flight gets the error
					cause, status = err, 400
				} else if err != nil {
					t.Errorf("net/http would answer beside us: %v", err)
				}
				if cause == nil || cause.Error() != "HTTP/1 framing: "+tt.want {
					t.Fatalf("got %q, %v; want %q", got, cause, tt.want)
				}
				if want := map[bool]int{true: 431, false: 400}[strings.Contains(tt.want, "head over")]; status != want {
					t.Errorf("refused with %d, want %d", status, want)
				}
				if n, again := g.Read(make([]byte, 1)); n != 0 || again == nil {
					t.Errorf("the guard did not stay failed: %d, %v", n, again)
				}
			})
		}
	}
}

// FuzzGuard asserts that whatever the guard hands on is what net/http reads, request by request, with the same framing: a
// second, stricter reading of the same bytes never disagrees about where a request ends.
func FuzzGuard(f *testing.F) {
	for _, s := range plainRequests {
		f.Add([]byte(s))
	}
	for _, tt := range smuggled {
		if len(tt.in) < 4096 {
			f.Add([]byte(tt.in))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, wholeErr := guarded(bytes.NewReader(in))
		byByte, byByteErr := guarded(iotest.OneByteReader(bytes.NewReader(in)))
		if !bytes.HasPrefix(in, whole) || !bytes.HasPrefix(in, byByte) {
			t.Fatal("the guard changed bytes")
		}
		if (wholeErr == nil) != (byByteErr == nil) {
			t.Fatalf("verdict depends on how bytes arrive: %v, %v", wholeErr, byByteErr)
		}
		if wholeErr != nil || bytes.HasPrefix(in, []byte(preface)) {
			return
		}
		br := bufio.NewReader(bytes.NewReader(whole))
		consumed := 0
		for {
			r, err := http.ReadRequest(br)
			if err == io.EOF {
				break
			}
			if err != nil {
				return // net/http is stricter about something else (Host syntax, method); it answers 400 itself
			}
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				t.Fatalf("net/http cannot read a body the guard passed: %v", err)
			}
			if r.ContentLength > 0 && n != r.ContentLength {
				t.Fatalf("body of %d bytes, declared %d", n, r.ContentLength)
			}
			consumed++
		}
		if consumed == 0 && len(whole) > 0 {
			t.Fatalf("the guard passed %q, net/http saw no request", whole)
		}
	})
}

func guarded(r io.Reader) ([]byte, error) {
	var refused error
	b, err := io.ReadAll(newGuard(scripted(r), func(_ int, cause error) { refused = cause }))
	return b, errors.Join(err, refused)
}
