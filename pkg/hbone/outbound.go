package hbone

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frame returns a framer that appends to the batch. Called with mu held; the caller kicks or flushes afterwards.
func (s *session) frame() *http2.Framer {
	s.batch()
	if s.control == nil {
		s.control = http2.NewFramer(batchWriter{s}, nil)
	}
	return s.control
}

// batchWriter appends to whatever batch is current.
type batchWriter struct{ s *session }

func (w batchWriter) Write(p []byte) (int, error) { return w.s.batch().Write(p) }

func (s *session) batch() *batch {
	if s.out == nil {
		s.out = getBatch()
	}
	return s.out
}

// appendData appends one DATA frame. It does not go through the framer, which would copy the payload twice.
func (s *session) appendData(id uint32, p []byte, end bool) {
	b := s.batch()
	var flags http2.Flags
	if end {
		flags = http2.FlagDataEndStream
	}
	n := len(p)
	b.buf = append(b.buf, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), byte(flags))
	b.buf = binary.BigEndian.AppendUint32(b.buf, id)
	b.buf = append(b.buf, p...)
	s.allowance = min(s.allowance+updatesPerData, updateAllowance)
}

// appendHeaders appends one HEADERS frame that opens or answers a stream. Fields are lower case and valid.
func (s *session) appendHeaders(id uint32, end bool, fields []hpack.HeaderField) {
	s.encoded.buf = s.encoded.buf[:0]
	for _, f := range fields {
		s.encoder.WriteField(f)
	}
	s.frame().WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: s.encoded.buf, EndStream: end, EndHeaders: true,
	})
}

// full reports whether writers of DATA have to wait for the batch to be written.
func (s *session) full() bool { return s.out != nil && len(s.out.buf) >= batchTarget }

// kick has the batch written by a goroutine of its own; for callers that must not block, such as the reader: if both
// ends' readers waited for the other to read, neither ever would.
func (s *session) kick() {
	if s.err == nil && s.out != nil && len(s.out.buf) > maxBacklog {
		s.failLocked(calm("peer does not read the answers to its frames"))
		return
	}
	s.kickAlways()
}

func (s *session) kickAlways() {
	if s.out == nil || s.flushing {
		return
	}
	s.flushing = true
	s.tasks.Add(1)
	go s.flusher()
}

func (s *session) flusher() {
	defer s.tasks.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.out != nil {
		s.write()
	}
	s.flushing = false
	s.flushed.Broadcast()
}

// flush writes the batch on the caller's goroutine. What others have appended meanwhile is left to a flusher, so that
// one writer does not end up working for all. Called with mu held and flushing false.
func (s *session) flush() {
	s.flushing = true
	if len(s.out.buf) < smallFlush {
		// Let others who are about to write join the batch: one record and one system call for all of them.
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if s.out != nil {
		s.write()
	}
	s.flushing = false
	s.flushed.Broadcast()
	s.kick()
}

// write takes the batch and writes it, without mu. Called with mu held and flushing true.
func (s *session) write() {
	b := s.out
	s.out = nil
	s.wakeSender()
	s.mu.Unlock()
	err := s.send(b.buf)
	b.put()
	s.mu.Lock()
	if err != nil {
		s.broken = true
		s.failLocked(err)
		s.dropOut()
	}
}

// send encrypts and writes p with one system call.
func (s *session) send(p []byte) error {
	s.wire.gather()
	_, err := s.tls.Write(p)
	if werr := s.wire.release(); err == nil {
		err = werr
	}
	return err
}

// dropOut discards frames nobody will read.
func (s *session) dropOut() {
	if s.out != nil {
		s.out.put()
		s.out = nil
	}
}

// enqueue puts c at the end of the line for room in the batch or connection window.
func (s *session) enqueue(c *Conn) {
	c.turn = false
	if !c.queued {
		c.queued = true
		s.senders = append(s.senders, c)
	}
}

// wakeSender lets the first stream in line try. Each one that has had its turn wakes the next while there is room, so
// that a hundred waiting streams are not all woken for room that two of them fill.
func (s *session) wakeSender() {
	if len(s.senders) == 0 || s.full() || s.sendWindow <= 0 {
		return
	}
	c := s.senders[0]
	s.leaveLine(c)
	c.turn = true
	c.wcond.Signal()
}

func (s *session) leaveLine(c *Conn) {
	if !c.queued {
		return
	}
	c.queued = false
	for i, o := range s.senders {
		if o == c {
			s.senders = append(s.senders[:i], s.senders[i+1:]...)
			break
		}
	}
	if len(s.senders) == 0 {
		s.senders = nil
	}
}
