package hbone

import (
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headerBlock is a header block while and after it is decoded. It is reused; what outlives the frame is copied.
type headerBlock struct {
	fields  []hpack.HeaderField
	pseudo  int // how many of fields are pseudo-header fields; they come first
	size    int // decoded, as RFC 9113, section 6.5.2 counts it
	limit   int
	over    bool   // larger than the limit, or too many fields
	invalid string // why the block is malformed (RFC 9113, section 8.2.1 and 8.3)
}

func (h *headerBlock) reset() {
	clear(h.fields)
	h.fields = h.fields[:0]
	h.pseudo, h.size, h.over, h.invalid = 0, 0, false, ""
}

// field takes one decoded field. Past the limits fields are counted and dropped: the decoder has to go on, because its
// table belongs to the connection.
func (h *headerBlock) field(f hpack.HeaderField) {
	h.size += int(f.Size())
	if h.size > h.limit || len(h.fields) >= maxHeaderFields {
		h.over = true
	}
	if h.over || h.invalid != "" {
		return
	}
	h.invalid = h.check(f)
	h.fields = append(h.fields, f)
}

func (h *headerBlock) check(f hpack.HeaderField) string {
	switch {
	case !httpguts.ValidHeaderFieldValue(f.Value):
		return "invalid field value"
	case f.IsPseudo() && h.pseudo < len(h.fields):
		return "pseudo-header field after a regular one"
	case f.IsPseudo():
		for _, o := range h.fields {
			if o.Name == f.Name {
				return "duplicate pseudo-header field"
			}
		}
		h.pseudo++
		return ""
	case !httpguts.ValidHeaderFieldName(f.Name) || strings.ToLower(f.Name) != f.Name:
		return "invalid field name"
	case connectionSpecific(f.Name) || f.Name == "te" && f.Value != "trailers":
		return "connection-specific field"
	}
	return ""
}

// connectionSpecific lists the fields that HTTP/2 messages must not have (RFC 9113, section 8.2.2).
func connectionSpecific(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// regular returns a copy of the fields that are not pseudo-header fields.
func (h *headerBlock) regular() []hpack.HeaderField {
	if h.pseudo == len(h.fields) {
		return nil
	}
	return append([]hpack.HeaderField(nil), h.fields[h.pseudo:]...)
}

// readHeaders reads HEADERS and its CONTINUATION frames and decodes them as they come, within bounds on bytes, frames
// and time (CVE-2023-45288).
func (s *session) readHeaders(fh http2.FrameHeader) error {
	if err := s.checkHeadersLength(fh); err != nil {
		return err
	}
	f, err := s.framer.ReadFrameForHeader(fh)
	if err != nil {
		return s.headersError(err)
	}
	hf := f.(*http2.HeadersFrame)
	id, end, last := hf.StreamID, hf.StreamEnded(), hf.HeadersEnded()
	selfDependent := hf.HasPriority() && hf.Priority.StreamDep == id
	s.block.reset()
	if err := s.decode(hf.HeaderBlockFragment()); err != nil {
		return err
	}
	if !last {
		if err := s.readContinuations(len(hf.HeaderBlockFragment())); err != nil {
			return err
		}
	}
	if err := s.hpack.Close(); err != nil {
		return &connError{http2.ErrCodeCompression, err.Error()}
	}
	if selfDependent && s.block.invalid == "" {
		s.block.invalid = "stream depends on itself"
	}
	return s.role.headers(s, id, end, &s.block)
}

func (s *session) readContinuations(size int) error {
	s.wire.SetReadDeadline(time.Now().Add(headerTimeout))
	for frames := 2; ; frames++ {
		fh, err := s.framer.ReadFrameHeader() // refuses everything but CONTINUATION of this stream
		if err != nil {
			return s.frameError(err)
		}
		size += int(fh.Length)
		if size > int(s.limits.HeaderList) || frames > maxHeaderFrames {
			return calm("header block of too many bytes or frames")
		}
		f, err := s.framer.ReadFrameForHeader(fh)
		if err != nil {
			return s.headersError(err)
		}
		cf := f.(*http2.ContinuationFrame)
		last := cf.HeadersEnded()
		if err := s.decode(cf.HeaderBlockFragment()); err != nil {
			return err
		}
		if last {
			break
		}
	}
	s.wire.SetReadDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err // the deadline that fail set may just have been cleared
}

func (s *session) decode(fragment []byte) error {
	if _, err := s.hpack.Write(fragment); err != nil {
		return &connError{http2.ErrCodeCompression, err.Error()}
	}
	return nil
}

// checkHeadersLength refuses before the payload is read what the framer would read and then refuse.
func (s *session) checkHeadersLength(fh http2.FrameHeader) error {
	least := uint32(0)
	if fh.Flags.Has(http2.FlagHeadersPadded) {
		least++
	}
	if fh.Flags.Has(http2.FlagHeadersPriority) {
		least += 5
	}
	switch {
	case fh.Length < least:
		return &connError{http2.ErrCodeFrameSize, "HEADERS frame is too short for its flags"}
	case fh.Length > s.limits.HeaderList:
		return calm("header block of too many bytes")
	}
	return nil
}

// headersError makes every error in a header block one of the connection: without decoding the block our HPACK table no
// longer matches the peer's.
func (s *session) headersError(err error) error {
	if _, ok := err.(http2.StreamError); ok {
		return protocolError("malformed HEADERS frame")
	}
	return s.frameError(err)
}

// toHeader makes the map that net/http users expect, with canonical names.
func toHeader(fields []hpack.HeaderField) http.Header {
	h := make(http.Header, len(fields))
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// appendFields adds h to fields in wire form, and says what is wrong with it.
func appendFields(fields []hpack.HeaderField, h http.Header) ([]hpack.HeaderField, error) {
	size := 0
	for name, values := range h {
		name = strings.ToLower(name)
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) || connectionSpecific(name) {
				return nil, &headerError{name}
			}
			f := hpack.HeaderField{Name: name, Value: v}
			size += int(f.Size())
			fields = append(fields, f)
		}
	}
	if size > maxHeaderSent-1024 {
		return nil, errHeaderSize
	}
	return fields, nil
}

// discard reads and drops n bytes of payload.
func (s *session) discard(n uint32) error {
	k := getChunk()
	defer k.put()
	for n > 0 {
		m := min(n, chunkSize)
		if _, err := io.ReadFull(s.tls, k.data[:m]); err != nil {
			return s.frameError(err)
		}
		s.frames.Add(1)
		n -= m
	}
	return nil
}
