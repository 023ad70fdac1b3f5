package proxy

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/session"
)

func TestLineState(t *testing.T) {
	for _, tt := range []struct {
		name            string
		chunks          []string
		blank, complete bool // after the last chunk
	}{
		{"nothing yet", []string{""}, true, false},
		{"an event", []string{"data: x\n\n"}, true, true},
		{"an event in CRLF", []string{"data: x\r\n\r\n"}, true, true},
		{"an event in CR", []string{"data: x\r\r"}, true, true},
		{"a CRLF cut in two", []string{"data: x\r\n\r", "\n"}, true, false},
		{"the blank line apart", []string{"data: x\n", "\n"}, true, true},
		{"half a line", []string{"data: x\n\nda"}, false, true},
		{"half an event", []string{"data: x\n"}, false, false},
		{"half an event in CRLF", []string{"data: x\r\n"}, false, false},
		{"a comment and its blank line", []string{":\n", "\n"}, true, true},
		{"a comment without one", []string{":\n"}, false, false},
		{"blank lines only", []string{"\n\n\n"}, true, true},
		{"an event and the start of the next", []string{"data: x\n\n", "d"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := lineState{blank: true}
			complete := false
			for _, chunk := range tt.chunks {
				complete = s.read([]byte(chunk))
			}
			if s.blank != tt.blank || complete != tt.complete {
				t.Errorf("got blank %v complete %v, want %v %v", s.blank, complete, tt.blank, tt.complete)
			}
		})
	}
}

// drip hands out one chunk after the other, and then waits until it is closed.
type drip struct {
	chunks []string
	closed chan struct{}
}

func newDrip(chunks ...string) *drip { return &drip{chunks, make(chan struct{})} }

func (d *drip) Read(p []byte) (int, error) {
	if len(d.chunks) == 0 {
		<-d.closed
		return 0, io.ErrClosedPipe
	}
	n := copy(p, d.chunks[0])
	d.chunks = d.chunks[1:]
	return n, nil
}

func (d *drip) Close() error { close(d.closed); return nil }

func unsized(body io.ReadCloser) *inbound { return &inbound{body: body, length: -1} }

func testHold(t *testing.T, l session.Limits) *session.Hold {
	t.Helper()
	held := session.New(l, time.Now, func(session.Eviction) {})
	h := held.Hold(session.Key{}, identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller"))
	t.Cleanup(h.Release)
	return h
}

// An event that has begun and does not end is cut; the clock stands still between events, however long they are apart.
func TestDrippingAnswerIsCut(t *testing.T) {
	for name, m := range map[string]*meter{
		"half an event":       newMeter(unsized(newDrip("data: x\n\n", "data: y")), testHold(t, session.Limits{}), true, 0, time.Millisecond),
		"half a line ending":  newMeter(unsized(newDrip("data: x\n\n", "data: y\n")), testHold(t, session.Limits{}), true, 0, time.Millisecond),
		"half an answer":      newMeter(unsized(newDrip(`{"jsonrpc"`)), testHold(t, session.Limits{}), false, 0, time.Millisecond),
		"a body in one piece": newMeter(unsized(newDrip("data: x\n\n")), testHold(t, session.Limits{}), false, 0, time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			defer m.close()
			if _, err := io.ReadAll(m); !errors.Is(err, errTooSlow) {
				t.Errorf("got %v, want errTooSlow", err)
			}
		})
	}
}

func TestQuietStreamIsNotCut(t *testing.T) {
	d := newDrip("data: x\n\n", ":\n", "\n")
	m := newMeter(unsized(d), testHold(t, session.Limits{}), true, 0, time.Hour)
	defer m.close()
	buf := make([]byte, 64)
	for range 3 {
		if _, err := m.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	if m.armed {
		t.Error("the clock runs between two events")
	}
	_ = d.Close()
}

func TestMeterCharges(t *testing.T) {
	body := io.NopCloser(strings.NewReader(strings.Repeat("x", 100)))
	m := newMeter(unsized(body), testHold(t, session.Limits{BytesPerPrincipal: 64}), false, 0, time.Hour)
	defer m.close()
	if _, err := io.ReadAll(m); !errors.Is(err, session.ErrBytes) {
		t.Errorf("got %v, want ErrBytes", err)
	}
	m = newMeter(unsized(io.NopCloser(strings.NewReader(strings.Repeat("x", 100)))), testHold(t, session.Limits{}), false, 99, time.Hour)
	defer m.close()
	if _, err := io.ReadAll(m); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("got %v, want errAnswerTooLarge", err)
	}
}
