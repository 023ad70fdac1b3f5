package wds

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The waits between two streams, as ztunnel has them.
const (
	firstWait = 10 * time.Millisecond
	lastWait  = 15 * time.Second
)

// backoff is how long to wait before the next stream.
type backoff struct{ last time.Duration }

// next returns the wait after a stream: the first one where that was a good one, else twice as long as before. Half of it is
// chance, so that the waypoints of a mesh do not come back together after istiod was away.
func (b *backoff) next(good bool) time.Duration {
	switch {
	case good || b.last == 0:
		b.last = firstWait
	default:
		b.last = min(2*b.last, lastWait)
	}
	return b.last/2 + rand.N(b.last/2+1)
}

// orderly says whether a stream ended as streams of a healthy istiod end: it closes each one after half an hour (contract
// ambient, section 2.1). A stream on which nothing was ever answered does not count, whatever its end: an istiod that is
// not ready yet refuses with the code Unknown, and asking it a hundred times a second keeps it from getting ready.
func orderly(answered bool, err error) bool {
	if !answered {
		return false
	}
	if errors.Is(err, io.EOF) {
		return true
	}
	switch s := status.Convert(err); s.Code() {
	case codes.Unknown, codes.Canceled, codes.DeadlineExceeded:
		return true
	case codes.Unavailable:
		return strings.Contains(s.Message(), "transport is closing") || strings.Contains(s.Message(), "prior goaway: code: NO_ERROR")
	default:
		return false
	}
}

// lasted says whether a stream that was first answered then was of use for longer than the longest wait. However it ended,
// what went wrong before it is over.
func lasted(answered time.Time) bool { return !answered.IsZero() && time.Since(answered) >= lastWait }
