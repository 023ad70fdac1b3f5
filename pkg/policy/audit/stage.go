package audit

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// reportEvery is how long the log is silent between two reports of a failing sink.
const reportEvery = time.Minute

// Options are what may be left out.
type Options struct {
	Key []byte           // of the digests, which are then HMACs: without it, whoever guesses short arguments can confirm them
	Log *slog.Logger     // for a sink that fails; nil is silent
	Now func() time.Time // nil is time.Now
}

// Stage writes the audit record. It passes every call.
type Stage struct {
	key []byte
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex // serialises writes
	sink     io.Writer
	torn     bool // the last line is incomplete
	failing  error
	written  uint64
	lost     uint64
	reported time.Time
}

var _ policy.Observer = (*Stage)(nil)

// New returns a stage that writes to sink, one Write for each record, never two at once. It does not close sink.
func New(sink io.Writer, o Options) *Stage {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Stage{key: o.Key, log: o.Log, now: o.Now, sink: sink}
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "audit" }

// Inspect implements policy.Stage: it always passes.
func (s *Stage) Inspect(context.Context, *call.Call) (policy.Verdict, error) {
	return policy.Verdict{Action: policy.Pass}, nil
}

// Observe implements policy.Observer: it writes the record of o.
func (s *Stage) Observe(ctx context.Context, o *policy.Outcome) {
	buf := lines.Get().(*[]byte)
	defer lines.Put(buf)
	line := s.newRecord(o).line((*buf)[:0])
	*buf = line
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.write(line)
	if err == nil {
		s.written++
		s.failing = nil
		return
	}
	s.lost++
	s.failing = err
	if now := s.now(); now.Sub(s.reported) >= reportEvery {
		s.reported = now
		s.log.ErrorContext(ctx, "audit records are being lost", "error", err, "lost", s.lost)
	}
}

// write puts one line into the sink. After a line that was cut short it begins a new one, so that only that one is lost.
func (s *Stage) write(line []byte) error {
	if s.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := s.sink.Write(line)
	switch {
	case err == nil && n < len(line):
		err = io.ErrShortWrite
	case err == nil:
		s.torn = false
		return nil
	}
	if n > 0 {
		s.torn = true
	}
	return err
}

// Failing returns why the last record was lost, or nil if it was written. Whoever watches the waypoint asks it.
func (s *Stage) Failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

// Counts returns how many records were written and how many were lost.
func (s *Stage) Counts() (written, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written, s.lost
}
