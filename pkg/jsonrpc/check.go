package jsonrpc

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"io"
	"sync"
)

// reader is a token reader that can be used again. It is the seam to encoding/json/jsontext: Check is the only user, and
// everything else in this package walks bytes that Check accepted.
type reader struct {
	buf bytes.Buffer
	dec jsontext.Decoder
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// newReader returns a pooled token reader over b, which it does not modify.
func newReader(b []byte) *reader {
	r := readers.Get().(*reader)
	r.buf = *bytes.NewBuffer(b)
	r.dec.Reset(&r.buf)
	return r
}

func (r *reader) free() {
	r.buf = bytes.Buffer{}
	r.dec.Reset(&r.buf)
	readers.Put(r)
}

// Check reads b once and reports whether it is exactly one JSON value within the limits, readable in one way only. It does
// not recurse: depth costs no stack.
func Check(b []byte, l Limits) *Error {
	if len(b) > l.Bytes {
		return tooLarge("text of %d bytes, limit %d", len(b), l.Bytes)
	}
	c := checker{b: b, l: l, r: newReader(b)}
	defer c.r.free()
	for open := -1; ; { // how many containers are open; -1 before the value
		start := c.r.dec.InputOffset()
		tok, err := c.r.dec.ReadToken()
		switch {
		case err == io.EOF && open == 0:
			return nil
		case err != nil:
			return tokenError(err)
		case open == 0:
			return syntax("bytes after the value")
		}
		open = c.r.dec.StackDepth()
		if err := c.token(tok.Kind(), open, int(start)); err != nil {
			return err
		}
	}
}

// checker counts what one text holds.
type checker struct {
	b      []byte
	l      Limits
	r      *reader
	values int
	named  bool // the last token was the name of a member that may nest freely
	free   int  // depth of the outermost container that may nest freely, 0 outside of one
}

// token judges the token that was just read; start is where the bytes before it end, depth is the depth after it.
func (c *checker) token(kind jsontext.Kind, depth, start int) *Error {
	if kind == '}' || kind == ']' {
		if depth < c.free {
			c.free = 0
		}
		return nil
	}
	opens := kind == '{' || kind == '['
	if opens {
		if err := c.open(depth); err != nil {
			return err
		}
	}
	named := c.named
	c.named = false
	if kind == '"' || kind == '0' {
		raw := c.b[skipDelimiters(c.b, start):c.r.dec.InputOffset()]
		if depth > 0 && kind == '"' {
			if in, n := c.r.dec.StackIndex(depth); in == '{' && n%2 == 1 { // an odd count was reached by reading a name
				return c.name(raw, n)
			}
		}
		if err := c.scalar(kind, raw); err != nil {
			return err
		}
	}
	if opens && named && c.free == 0 {
		c.free = depth
	}
	if c.values++; c.values > c.l.Values {
		return tooLarge("more than %d values", c.l.Values)
	}
	return nil
}

// open judges the depth of a container. The envelope is flat; what people put into arguments and metadata need not be.
func (c *checker) open(depth int) *Error {
	limit := c.l.Envelope
	if c.free > 0 || c.named {
		limit = c.l.Depth
	}
	if depth > limit {
		return tooLarge("nested deeper than %d", limit)
	}
	return nil
}

func (c *checker) name(raw []byte, n int64) *Error {
	switch {
	case len(raw) > c.l.Name+len(`""`):
		return tooLarge("member name longer than %d bytes", c.l.Name)
	case n/2 >= int64(c.l.Members):
		return tooLarge("more than %d members in one object", c.l.Members)
	}
	c.named = c.free == 0 && nestsFreely(raw)
	return nil
}

// nestsFreely reports whether a member holds data that is no part of any envelope. A name written with escapes does not
// count: the stricter limit then holds.
func nestsFreely(raw []byte) bool {
	switch string(raw) {
	case `"arguments"`, `"_meta"`, `"metadata"`, `"data"`:
		return true
	}
	return false
}

func (c *checker) scalar(kind jsontext.Kind, raw []byte) *Error {
	switch {
	case kind == '0' && len(raw) > c.l.Number:
		return tooLarge("number longer than %d bytes", c.l.Number)
	case kind == '"' && len(raw) > c.l.String+len(`""`):
		return tooLarge("string longer than %d bytes", c.l.String)
	}
	return nil
}

func tokenError(err error) *Error {
	switch {
	case err == io.EOF:
		return syntax("empty text")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ambiguous("duplicate member name")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return syntax("text ends early")
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return syntax("%s at byte %d", s.Err, s.ByteOffset) // Err speaks of one character at most
	}
	return syntax("unreadable")
}
