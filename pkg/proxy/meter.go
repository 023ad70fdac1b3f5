package proxy

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/session"
)

// meter is the body of an answer that is decoded: what is held of it is charged to the caller, and an item that has begun
// must end in time. A server that sends nothing may take as long as it likes; one that drips an event may not.
type meter struct {
	body   io.ReadCloser
	hold   *session.Hold
	events bool  // items are events; else the body is one item
	length int64 // of the body, -1 if unknown
	held   int
	read   int64
	most   int64 // bytes of the whole answer; 0 is no bound

	patience time.Duration
	timer    *time.Timer // runs while an item is incomplete; nil until one was
	armed    bool
	partial  bool // an item has begun and not ended
	late     atomic.Bool
	lines    lineState
}

// errTooSlow and errAnswerTooLarge are answers that we stop reading. They are the server's fault.
var (
	errTooSlow        = errors.New("proxy: the answer began and did not end in time")
	errAnswerTooLarge = errors.New("proxy: the answer is over its limit in all")
)

func newMeter(in *inbound, hold *session.Hold, events bool, most int64, patience time.Duration) *meter {
	return &meter{body: in.body, length: in.length, hold: hold, events: events, most: most, patience: patience, lines: lineState{blank: true}}
}

// expire ends the read that waits for the rest.
func (m *meter) expire() {
	m.late.Store(true)
	_ = m.body.Close()
}

func (m *meter) Read(p []byte) (int, error) {
	m.arm()
	n, err := m.body.Read(p)
	if n > 0 {
		m.watch(p[:n])
		m.held += n
		m.read += int64(n)
		if err := m.hold.Grow(n); err != nil {
			m.held -= n
			return 0, err
		}
		if m.most > 0 && m.read > m.most {
			return 0, fmt.Errorf("%w (%d bytes)", errAnswerTooLarge, m.most)
		}
	}
	if err != nil && m.late.Load() {
		return n, errTooSlow
	}
	return n, err
}

// arm starts the clock before a read that waits for the rest of an item. Nearly every item comes in one read.
func (m *meter) arm() {
	switch {
	case !m.partial || m.armed:
		return
	case m.timer == nil:
		m.timer = time.AfterFunc(m.patience, m.expire)
	default:
		m.timer.Reset(m.patience)
	}
	m.armed = true
}

// disarm stops the clock.
func (m *meter) disarm() {
	if m.armed {
		m.timer.Stop()
		m.armed = false
	}
}

// watch notes whether an item has begun and not ended with chunk.
func (m *meter) watch(chunk []byte) {
	if !m.events {
		m.partial = m.length < 0 || m.read+int64(len(chunk)) < m.length
		return
	}
	if complete := m.lines.read(chunk); complete {
		m.disarm() // what has begun since has its own time
	}
	m.partial = !m.lines.blank
	if !m.partial {
		m.disarm()
	}
}

// next gives back what the item that was just relayed took. What was read of the one after it is charged a little late.
func (m *meter) next() {
	m.hold.Shrink(m.held)
	m.held = 0
}

func (m *meter) close() {
	m.disarm()
	m.next()
}

// lineState knows whether a stream of server-sent events stands between two of them.
type lineState struct {
	column int
	cr     bool
	blank  bool // the last line was empty, or there was none yet
}

// read follows chunk and reports whether an event ended in it.
func (s *lineState) read(chunk []byte) (complete bool) {
	for _, c := range chunk {
		if c == '\n' && s.cr { // the second half of one line end
			s.cr = false
			continue
		}
		s.cr = c == '\r'
		if c != '\n' && c != '\r' {
			s.column++
			s.blank = false
			continue
		}
		if s.column == 0 {
			s.blank, complete = true, true
		}
		s.column = 0
	}
	return complete
}
