// Package sse reads and writes server-sent events (WHATWG HTML, section 9.2), one bounded event at a time.
//
// Readers in the field differ on line endings, byte order marks, fields without a colon and unterminated events. The reader
// here accepts what the standard accepts; the writer writes the one form that every reader understands, so that an event
// which was judged is the event its recipient sees.
//
//	r := sse.NewReader(body, 16<<20)
//	for {
//		e, err := r.Next()
//		…
//		w.Write(e.Append(nil))
//	}
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// ErrTooLarge is an event or line over the reader's limit.
var ErrTooLarge = errors.New("sse: event over the limit")

// Event is one dispatched event, or a bare control block (HasData false) that only sets id or retry.
type Event struct {
	Name    string // "" means "message"
	ID      string
	HasID   bool
	Retry   string // digits; "" if absent
	Data    []byte // lines joined with LF
	HasData bool
	Comment bool // nothing but a comment: a sign of life
	// Unterminated is set on a last event that the stream ended without a blank line. The standard drops it; some readers
	// deliver it.
	Unterminated bool
}

// Reader reads events. After an error it stays failed.
type Reader struct {
	br    *bufio.Reader
	limit int
	first bool
	cr    bool // the last line ended in CR; a following LF belongs to it
	err   error
}

// NewReader reads from r; limit bounds the bytes of one event.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, 4<<10), limit: limit, first: true}
}

// Next returns the next event that carries anything: empty blocks are skipped, comments lose their text. io.EOF ends the stream.
func (r *Reader) Next() (*Event, error) {
	if r.err != nil {
		return nil, r.err
	}
	e := &Event{}
	used := 0
	for {
		line, err := r.line(r.limit - used)
		if err != nil {
			r.err = err
			if err == io.EOF && !e.empty() { // the next call says io.EOF
				e.Unterminated = true
				return e, nil
			}
			return nil, err
		}
		used += len(line) + 1
		if len(line) == 0 {
			if e.empty() {
				used = 0
				continue
			}
			return e, nil
		}
		if line[0] == ':' {
			if e.empty() {
				return &Event{Comment: true}, nil
			}
			continue
		}
		e.field(line)
	}
}

func (e *Event) empty() bool {
	return !e.HasData && !e.HasID && e.Retry == "" && (e.Name == "" || e.Name == "message")
}

func (e *Event) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		e.Name = string(value)
	case "data":
		if e.HasData {
			e.Data = append(e.Data, '\n')
		}
		e.Data, e.HasData = append(e.Data, value...), true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			e.ID, e.HasID = string(value), true
		}
	case "retry":
		if digits(value) {
			e.Retry = string(value)
		}
	}
}

func digits(b []byte) bool {
	_, err := strconv.ParseUint(string(b), 10, 63)
	return err == nil
}

// line reads one line without its end: CR, LF or CRLF. A last line without an end is returned if it is not empty. It never
// waits for what follows a line end: an event is over when its blank line is there.
func (r *Reader) line(limit int) ([]byte, error) {
	var line []byte
	for {
		if _, err := r.br.Peek(1); err != nil {
			if err == io.EOF && len(line) > 0 {
				return r.bom(line), nil
			}
			return nil, err
		}
		chunk, _ := r.br.Peek(r.br.Buffered())
		if r.cr && chunk[0] == '\n' {
			_, _ = r.br.Discard(1)
			r.cr = false
			continue
		}
		r.cr = false
		end := bytes.IndexAny(chunk, "\r\n")
		part := chunk
		if end >= 0 {
			part = chunk[:end]
		}
		if len(line)+len(part) > limit {
			return nil, ErrTooLarge
		}
		line = append(line, part...)
		if end < 0 {
			_, _ = r.br.Discard(len(chunk))
			continue
		}
		r.cr = chunk[end] == '\r'
		_, _ = r.br.Discard(end + 1)
		return r.bom(line), nil
	}
}

// bom strips one byte order mark from the first line.
func (r *Reader) bom(line []byte) []byte {
	if r.first {
		r.first = false
		return bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return line
}

// Append appends the event in the one form every reader understands: LF line ends, a data line for each line, one blank
// line. A CR in Data ends a line too, as it would for every reader.
func (e *Event) Append(b []byte) []byte {
	if e.Comment {
		return append(b, ":\n\n"...)
	}
	if e.Name != "" && e.Name != "message" {
		b = append(append(append(b, "event: "...), e.Name...), '\n')
	}
	if e.HasID {
		b = append(append(append(b, "id: "...), e.ID...), '\n')
	}
	if e.Retry != "" {
		b = append(append(append(b, "retry: "...), e.Retry...), '\n')
	}
	if e.HasData {
		for line := range bytes.SplitSeq(bytes.ReplaceAll(e.Data, []byte("\r"), []byte("\n")), []byte("\n")) {
			b = append(append(append(b, "data: "...), line...), '\n')
		}
	}
	return append(b, '\n')
}
