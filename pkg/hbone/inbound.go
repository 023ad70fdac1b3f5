package hbone

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
)

// read is the connection's reader. It returns the reason why the connection must end.
func (s *session) read() error {
	if s.server {
		if err := s.readPreface(); err != nil {
			return err
		}
	}
	fh, err := s.framer.ReadFrameHeader()
	if err != nil {
		return s.frameError(err)
	}
	if fh.Type != http2.FrameSettings || fh.Flags.Has(http2.FlagSettingsAck) {
		return protocolError("first frame is not SETTINGS")
	}
	if err := s.handle(fh); err != nil {
		return err
	}
	if err := s.established(); err != nil {
		return err
	}
	for {
		fh, err := s.framer.ReadFrameHeader()
		if err != nil {
			return s.frameError(err)
		}
		s.frames.Add(1)
		if err := s.handle(fh); err != nil {
			return err
		}
	}
}

func (s *session) readPreface() error {
	got := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.tls, got); err != nil {
		return s.frameError(err)
	}
	if string(got) != http2.ClientPreface {
		return protocolError("no HTTP/2 client preface")
	}
	return nil
}

func (s *session) handle(fh http2.FrameHeader) error {
	switch fh.Type {
	case http2.FrameData:
		return s.readData(fh)
	case http2.FrameHeaders:
		return s.readHeaders(fh)
	case http2.FramePushPromise:
		return protocolError("PUSH_PROMISE although push is disabled")
	case http2.FramePriority, http2.FrameRSTStream, http2.FrameSettings, http2.FramePing, http2.FrameGoAway,
		http2.FrameWindowUpdate:
		return s.readControl(fh)
	}
	// Extension frames are ignored (RFC 9113, section 5.5), but not for free.
	s.mu.Lock()
	err := s.spend(1+int(fh.Length/dataFrame), "of unknown type")
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.discard(fh.Length)
}

// frameError sorts what the framer returns.
func (s *session) frameError(err error) error {
	s.mu.Lock()
	ended := s.err
	s.mu.Unlock()
	if ended != nil {
		return ended
	}
	var ce http2.ConnectionError
	switch {
	case errors.As(err, &ce):
		why := "frame out of order or malformed"
		if detail := s.framer.ErrorDetail(); detail != nil {
			why = detail.Error()
		}
		return &connError{http2.ErrCode(ce), why}
	case errors.Is(err, http2.ErrFrameTooLarge):
		return &connError{http2.ErrCodeFrameSize, "frame larger than announced"}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errPeerClosed
	}
	return fmt.Errorf("hbone: read: %w", err)
}

// readData takes one DATA frame: flow control first, then the payload chunk by chunk to the stream. The connection is
// credited on receipt, the stream when its reader has consumed (performance: one stalled stream must not cost others).
func (s *session) readData(fh http2.FrameHeader) error {
	padding, err := s.readPadLength(fh)
	if err != nil {
		return err
	}
	end := fh.Flags.Has(http2.FlagDataEndStream)
	size := fh.Length - padding // payload; padding includes its length byte
	c, err := s.admitData(fh, size, end)
	if err != nil {
		return err
	}
	rest := size
	for rest > 0 && c != nil {
		k := getChunk()
		m := min(rest, chunkSize)
		if _, err := io.ReadFull(s.tls, k.data[:m]); err != nil {
			k.put()
			return s.frameError(err)
		}
		k.w = int(m)
		rest -= m
		s.frames.Add(1)
		s.deliver(c, k, end && rest == 0)
	}
	if fh.Flags.Has(http2.FlagDataPadded) {
		rest += padding - 1
	}
	if rest > 0 {
		err = s.discard(rest)
	}
	if c != nil && size == 0 && end {
		s.endOfData(c)
	}
	return err
}

// readPadLength returns how many bytes of the frame are not payload, the length byte included.
func (s *session) readPadLength(fh http2.FrameHeader) (uint32, error) {
	if !fh.Flags.Has(http2.FlagDataPadded) {
		return 0, nil
	}
	if fh.Length == 0 {
		return 0, &connError{http2.ErrCodeFrameSize, "padded DATA frame without a pad length"}
	}
	var b [1]byte
	if _, err := io.ReadFull(s.tls, b[:]); err != nil {
		return 0, s.frameError(err)
	}
	padding := 1 + uint32(b[0])
	if padding > fh.Length {
		return 0, protocolError("padding larger than its DATA frame")
	}
	return padding, nil
}

// admitData does the accounting of a DATA frame and returns its stream, or nil when the payload is to be dropped.
func (s *session) admitData(fh http2.FrameHeader, size uint32, end bool) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	length := int64(fh.Length)
	if fh.StreamID == 0 || s.isIdle(fh.StreamID) {
		return nil, protocolError("DATA on an idle stream")
	}
	if length > s.recvWindow {
		return nil, &connError{http2.ErrCodeFlowControl, "DATA beyond the connection window"}
	}
	s.recvWindow -= length
	s.recvOwed += length
	s.creditConn()
	if size == 0 && !end {
		if err := s.spend(1, "DATA without payload"); err != nil {
			return nil, err
		}
	}
	c := s.streams[fh.StreamID]
	if c == nil {
		return nil, s.lateData(fh.StreamID, length)
	}
	if code := c.refusesData(length); code != http2.ErrCodeNo {
		return nil, s.resetByPeerFault(c, code)
	}
	c.recvWindow -= length
	c.recvOwed += length - int64(size) // padding is consumed at once
	return c, nil
}

func (c *Conn) refusesData(length int64) http2.ErrCode {
	switch {
	case c.recvEnd:
		return http2.ErrCodeStreamClosed
	case !c.s.server && c.status == 0:
		return http2.ErrCodeProtocol
	case length > c.recvWindow:
		return http2.ErrCodeFlowControl
	}
	return http2.ErrCodeNo
}

// lateData judges DATA for a stream that has ended: after a reset of ours up to its window may still arrive; after a
// clean end nothing may.
func (s *session) lateData(id uint32, length int64) error {
	if a := s.wasAborted(id); a != nil {
		if a.window -= length; a.window < 0 {
			return &connError{http2.ErrCodeFlowControl, "DATA beyond the window of a reset stream"}
		}
		return nil
	}
	s.frame().WriteRSTStream(id, http2.ErrCodeStreamClosed)
	s.kick()
	return s.spendReset("DATA on a closed stream")
}

// deliver hands a chunk to the stream: straight into the buffer of a reader that waits, else into the queue.
func (s *session) deliver(c *Conn, k *chunk, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.open || c.rerr != nil { // it ended while the payload was read
		k.put()
		return
	}
	if c.want != nil && c.in.size == 0 {
		c.got = copy(c.want, k.data[:k.w])
		c.want = nil
		k.r = c.got
	}
	if k.r == k.w {
		k.put()
	} else {
		s.buffered += int64(k.w - k.r)
		if !c.in.push(k) {
			k.put()
		}
	}
	if last {
		c.peerEnded()
	}
	c.rcond.Signal()
}

func (s *session) endOfData(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.open && c.rerr == nil {
		c.peerEnded()
		c.rcond.Signal()
	}
}

// creditConn gives connection credit back in quarters of the window, unless stalled streams hold too much already.
func (s *session) creditConn() {
	if s.recvOwed < int64(s.limits.ConnWindow)/4 || s.buffered > s.limits.ConnBuffer || s.err != nil {
		return
	}
	s.frame().WriteWindowUpdate(0, uint32(s.recvOwed))
	s.recvWindow += s.recvOwed
	s.recvOwed = 0
	s.kick()
}

// isIdle reports whether a stream with this id has never been opened.
func (s *session) isIdle(id uint32) bool { return id%2 == 0 || id > s.lastID }

// resetByPeerFault ends a stream because of what the peer did. These resets cost the peer its budget: a peer that makes
// us reset streams has the same effect as one that resets them itself (CVE-2025-8671).
func (s *session) resetByPeerFault(c *Conn, code http2.ErrCode) error {
	c.reset(code, &ResetError{Code: code})
	return s.spendReset(code.String())
}
