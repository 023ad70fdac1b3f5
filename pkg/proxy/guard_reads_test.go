package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// counted counts the reads of a connection.
type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(b []byte) (int, error) {
	c.reads++
	return c.Reader.Read(b)
}

// A buffer that ends within a chunk's size line does not make every later read small.
func TestGuardKeepsItsBuffer(t *testing.T) {
	head := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	const large = 1 << 20
	for spare := range 12 {
		first := guardBuffer - len(head) - len("f00\r\n\r\n") - spare
		in := head + fmt.Sprintf("%03x\r\n%s\r\n", first, strings.Repeat("a", first)) +
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", large, strings.Repeat("b", large))
		r := &counted{Reader: strings.NewReader(in)}
		got, err := io.ReadAll(newGuard(scripted(r), nil))
		if err != nil || string(got) != in {
			t.Fatalf("spare %d: %d bytes, %v", spare, len(got), err)
		}
		if limit := 4 * large / guardBuffer; r.reads > limit {
			t.Errorf("spare %d: %d reads, want at most %d", spare, r.reads, limit)
		}
	}
}
