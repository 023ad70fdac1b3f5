package hbone

import (
	"golang.org/x/net/http2"
)

const maxWindow = 1<<31 - 1 // RFC 9113, section 6.9.1

// readControl reads and handles the frames that are neither DATA nor header blocks. Their lengths are checked first, so
// that no more is read than the longest valid one.
func (s *session) readControl(fh http2.FrameHeader) error {
	if !controlLength(fh) {
		return &connError{http2.ErrCodeFrameSize, fh.Type.String() + " frame of wrong length"}
	}
	frame, err := s.framer.ReadFrameForHeader(fh)
	s.mu.Lock()
	defer s.mu.Unlock()
	if se, ok := err.(http2.StreamError); ok {
		return s.streamFault(se.StreamID, se.Code)
	}
	if err != nil {
		s.mu.Unlock()
		err = s.frameError(err)
		s.mu.Lock()
		return err
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return s.onSettings(f)
	case *http2.PingFrame:
		return s.onPing(f)
	case *http2.WindowUpdateFrame:
		return s.onWindowUpdate(f)
	case *http2.RSTStreamFrame:
		return s.onReset(f)
	case *http2.GoAwayFrame:
		return s.onGoAway(f)
	case *http2.PriorityFrame:
		return s.onPriority(f)
	}
	return nil
}

func controlLength(fh http2.FrameHeader) bool {
	switch fh.Type {
	case http2.FramePriority:
		return fh.Length == 5
	case http2.FrameRSTStream, http2.FrameWindowUpdate:
		return fh.Length == 4
	case http2.FramePing:
		return fh.Length == 8
	case http2.FrameSettings:
		return fh.Length <= maxSettings*6
	}
	return fh.Length >= 8 && fh.Length <= maxControl // GOAWAY
}

// streamFault handles a frame that is an error for one stream.
func (s *session) streamFault(id uint32, code http2.ErrCode) error {
	if c := s.streams[id]; c != nil {
		return s.resetByPeerFault(c, code)
	}
	if s.isIdle(id) {
		return &connError{code, "invalid frame on an idle stream"}
	}
	return s.spendReset("an invalid frame on a closed stream")
}

func (s *session) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if s.settingsUnread == 0 {
			return s.spend(1, "SETTINGS acknowledgement without SETTINGS")
		}
		s.settingsUnread--
		return nil
	}
	if err := s.spend(1, "SETTINGS"); err != nil {
		return err
	}
	if err := f.ForeachSetting(s.applySetting); err != nil {
		return err
	}
	s.frame().WriteSettingsAck()
	s.kick()
	return nil
}

func (s *session) applySetting(v http2.Setting) error {
	if err := v.Valid(); err != nil {
		return &connError{http2.ErrCode(err.(http2.ConnectionError)), "invalid value of " + v.ID.String()}
	}
	switch v.ID {
	case http2.SettingEnablePush:
		if !s.server && v.Val != 0 {
			return protocolError("a server cannot enable push")
		}
	case http2.SettingMaxConcurrentStreams:
		s.peerStreams = v.Val
	case http2.SettingInitialWindowSize:
		return s.resizeWindows(int64(v.Val))
	}
	// HEADER_TABLE_SIZE: our encoder uses no table. MAX_FRAME_SIZE: our frames are the smallest maximum.
	return nil
}

// resizeWindows applies a new initial window to the open streams (RFC 9113, section 6.9.2).
func (s *session) resizeWindows(size int64) error {
	delta := size - s.initialWindow
	s.initialWindow = size
	for _, c := range s.streams {
		if c.sendWindow += delta; c.sendWindow > maxWindow {
			return &connError{http2.ErrCodeFlowControl, "SETTINGS overflow a stream window"}
		}
		if delta > 0 {
			c.wcond.Signal()
		}
	}
	return nil
}

func (s *session) onPing(f *http2.PingFrame) error {
	if !f.IsAck() {
		if err := s.spend(1, "PING"); err != nil {
			return err
		}
		s.frame().WritePing(true, f.Data)
		s.kick()
		return nil
	}
	switch {
	case f.Data == keepAlivePing && s.pinged:
		s.pinged, s.quiet = false, 0
	case f.Data == drainPing && s.draining && !s.noticed:
		s.closeDoorLocked()
	default:
		return s.spend(1, "PING acknowledgement without PING")
	}
	return nil
}

// onWindowUpdate widens a window. Updates that answer DATA of ours are free, whatever their number; the others are
// noise.
func (s *session) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	if s.allowance > 0 {
		s.allowance--
	} else if err := s.spend(1, "WINDOW_UPDATE"); err != nil {
		return err
	}
	if f.StreamID == 0 {
		if s.sendWindow += int64(f.Increment); s.sendWindow > maxWindow {
			return &connError{http2.ErrCodeFlowControl, "WINDOW_UPDATE overflows the connection window"}
		}
		s.wakeSender()
		return nil
	}
	c := s.streams[f.StreamID]
	if c == nil {
		if s.isIdle(f.StreamID) {
			return protocolError("WINDOW_UPDATE on an idle stream")
		}
		return nil
	}
	if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
		return s.resetByPeerFault(c, http2.ErrCodeFlowControl)
	}
	c.wcond.Signal()
	return nil
}

// onReset ends a stream abnormally whatever the code: a reset is never a clean end of file here.
func (s *session) onReset(f *http2.RSTStreamFrame) error {
	if s.isIdle(f.StreamID) {
		return protocolError("RST_STREAM on an idle stream")
	}
	c := s.streams[f.StreamID]
	if c == nil {
		return s.spend(1, "RST_STREAM on a closed stream")
	}
	rapid := s.now().Sub(c.opened) < rapidReset && !c.spoke
	c.retryable = f.ErrCode == http2.ErrCodeRefusedStream
	c.end(&ResetError{Code: f.ErrCode, Remote: true})
	if rapid && s.server {
		return s.spendReset("RST_STREAM right after HEADERS")
	}
	return nil
}

// onGoAway stops the use of the connection for new streams. Streams above the announced last one were not processed and
// may be tried elsewhere.
func (s *session) onGoAway(f *http2.GoAwayFrame) error {
	if err := s.spend(1, "GOAWAY"); err != nil {
		return err
	}
	if s.server {
		return nil // we open no streams that it could refuse
	}
	s.draining = true
	for id, c := range s.streams {
		if id > f.LastStreamID {
			c.retryable = true
			c.end(errStale)
		}
	}
	s.endIfVacant()
	return nil
}

// onPriority ignores priorities (RFC 9113, section 5.3.2) except for their one error.
func (s *session) onPriority(f *http2.PriorityFrame) error {
	if f.StreamDep == f.StreamID {
		return s.streamFault(f.StreamID, http2.ErrCodeProtocol)
	}
	return s.spend(1, "PRIORITY")
}
