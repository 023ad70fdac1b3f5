package wds_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"waymark.dev/waypoint/pkg/mesh/wds"
)

func TestBackoff(t *testing.T) {
	var b wds.Backoff
	want := 10 * time.Millisecond
	for n := range 20 {
		got := b.Next(false)
		if got < want/2 || got > want {
			t.Errorf("wait %d: %s, want between half of %s and all of it", n, got, want)
		}
		want = min(2*want, 15*time.Second)
	}
	if got := b.Next(true); got > 10*time.Millisecond {
		t.Errorf("after an orderly end: %s", got)
	}
	if got := b.Next(false); got > 20*time.Millisecond {
		t.Errorf("after it: %s", got)
	}
	seen := map[time.Duration]bool{}
	for range 100 {
		var b wds.Backoff
		seen[b.Next(false)] = true
	}
	if len(seen) < 50 {
		t.Errorf("a hundred clients wait %d different times", len(seen))
	}
}

func TestOrderly(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{"closed", io.EOF, true},
		{"unknown", status.Error(codes.Unknown, "anything"), true},
		{"canceled", status.Error(codes.Canceled, ""), true},
		{"deadline", status.Error(codes.DeadlineExceeded, ""), true},
		{"closing", status.Error(codes.Unavailable, "transport is closing"), true},
		{"age", status.Error(codes.Unavailable, `closing transport due to: connection error: desc = "error reading from server: EOF", received prior goaway: code: NO_ERROR, debug data: "max_age"`), true},
		{"calm", status.Error(codes.Unavailable, `error reading from server: EOF, received prior goaway: code: ENHANCE_YOUR_CALM, debug data: "too_many_pings"`), false},
		{"cut", status.Error(codes.Unavailable, "error reading from server: EOF"), false},
		{"refused", status.Error(codes.Unavailable, "connection refused"), false},
		{"not us", status.Error(codes.PermissionDenied, ""), false},
		{"no token", status.Error(codes.Unauthenticated, ""), false},
		{"too many", status.Error(codes.ResourceExhausted, ""), false},
		{"nonsense", status.Error(codes.Internal, ""), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := wds.Orderly(true, tc.err); got != tc.want {
				t.Errorf("after an answer: %v, want %v", got, tc.want)
			}
			if wds.Orderly(false, tc.err) {
				t.Error("without an answer it is not orderly, whatever it is")
			}
		})
	}
}

// quiet are the options of a client that reaches nothing but what a test dials.
func quiet(dial func(context.Context, string) (net.Conn, error)) wds.ClientOptions {
	return wds.ClientOptions{Address: "istiod:15010", Node: testNode, Dial: dial, Log: slog.New(slog.DiscardHandler)}
}

// The waits of a client that reaches nobody double up to fifteen seconds, and the attempts of an hour are not too many.
func TestNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		_, stop := run(t, quiet(func(context.Context, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return nil, errors.New("nobody there")
		}), &recording{})
		time.Sleep(time.Hour)
		stop()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := 10 * time.Millisecond
		for n := 1; n < len(at); n++ {
			if gap := at[n].Sub(at[n-1]); gap < want/2 || gap > want {
				t.Errorf("attempt %d came after %s, want between half of %s and all of it", n, gap, want)
			}
			want = min(2*want, 15*time.Second)
		}
		if len(at) < 240 || len(at) > 500 {
			t.Errorf("%d attempts in an hour", len(at))
		}
	})
}

// Who accepts connections and says nothing has five seconds for it.
func TestNobodySpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ends := make(chan net.Conn, 10)
		c, stop := run(t, quiet(func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			ends <- theirs
			go io.Copy(io.Discard, theirs)
			return ours, nil
		}), &recording{})
		time.Sleep(4900 * time.Millisecond)
		if st := c.Status(); st.LastError != "" || len(ends) != 1 {
			t.Errorf("after %s and %d attempts: %s", time.Since(begin), len(ends), st.LastError)
		}
		time.Sleep(200 * time.Millisecond)
		if st := c.Status(); st.LastError == "" {
			t.Error("after five seconds it still waits")
		}
		stop()
		synctest.Wait()
		for range len(ends) {
			(<-ends).Close()
		}
	})
}

// An istiod that refuses each stream before it says anything is asked less and less often, also where the code is one after
// which one asks at once; a stream that was answered begins anew.
func TestRefusedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 16)
		i := serveIstiod(t, l)
		c, stop := run(t, quiet(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }), &recording{})
		notReady := func() *adsStream { s := i.next(t); s.end <- errors.New("server is not ready"); return s }
		var at []time.Time
		for range 12 {
			notReady()
			at = append(at, time.Now())
		}
		if gap := at[11].Sub(at[10]); gap < 5*time.Second {
			t.Errorf("the twelfth stream came %s after the one before", gap)
		}
		if got := c.Status().LastError; got != "rpc error: code = Unknown desc = server is not ready" {
			t.Errorf("last error %q", got)
		}
		s := i.next(t)
		s.subscribed()
		s.accepted(addressType, nil)
		s.end <- errors.New("changed my mind")
		from := time.Now()
		s = i.next(t)
		if gap := time.Since(from); gap > 10*time.Millisecond {
			t.Errorf("after a stream that was answered the next one came after %s", gap)
		}
		s.end <- nil
		for range 11 {
			notReady()
		}

		// A stream that was of use begins anew however it ends, and one that was not does not.
		for _, tc := range []struct {
			lasts       time.Duration
			least, most time.Duration
		}{{time.Second, 5 * time.Second, 15 * time.Second}, {16 * time.Second, 0, 10 * time.Millisecond}} {
			s = i.next(t)
			s.subscribed()
			s.accepted(addressType, nil)
			time.Sleep(tc.lasts)
			s.end <- status.Error(codes.Unavailable, "going down")
			from = time.Now()
			s = i.next(t)
			if gap := time.Since(from); gap < tc.least || gap > tc.most {
				t.Errorf("after a stream of %s the next one came after %s", tc.lasts, gap)
			}
			s.end <- errors.New("server is not ready")
		}
		stop()
	})
}

// What istiod said stays in force while it is away, for hours, and the log does not fill meanwhile.
func TestAwayForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 16)
		i, sink, logs := serveIstiod(t, l), &recording{}, &logbook{}
		var away atomic.Bool
		o := quiet(func(ctx context.Context, _ string) (net.Conn, error) {
			if away.Load() {
				return nil, errors.New("nobody there")
			}
			return l.DialContext(ctx)
		})
		o.Log = logs.logger()
		c, stop := run(t, o, sink)
		s := i.next(t)
		s.subscribed()
		s.accepted(addressType, names("w", 3))
		s.accepted(authorizationType, nil)
		away.Store(true)
		s.end <- status.Error(codes.Unavailable, "going down")
		time.Sleep(5 * time.Hour)
		if err := c.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if addresses, _ := sink.state(); len(addresses) != 3 {
			t.Errorf("the sink holds %v", addresses)
		}
		st := c.Status()
		if st.Connected || time.Since(st.Since) < 5*time.Hour-time.Second || !strings.Contains(st.LastError, "nobody there") {
			t.Errorf("status %+v", st)
		}
		if got := strings.Count(logs.String(), "level=WARN"); got < 10 || got > 5*12+3 {
			t.Errorf("%d warnings in five hours", got)
		}
		away.Store(false)
		s = i.next(t)
		if addresses, _ := s.subscribed(); len(addresses.InitialResourceVersions) != 3 {
			t.Errorf("known addresses %v", addresses.InitialResourceVersions)
		}
		s.accepted(addressType, nil, "w-1")
		if addresses, _ := sink.state(); len(addresses) != 2 {
			t.Errorf("the sink holds %v", addresses)
		}
		if !strings.Contains(logs.String(), `level=INFO msg="istiod is followed" address=istiod:15010 away=5h0m`) {
			t.Errorf("nothing said that istiod is back:\n%s", logs.String()[len(logs.String())-500:])
		}
		s.end <- nil
		stop()
	})
}

// Half an hour after half an hour istiod ends the stream: that is no news.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 16)
		i, logs := serveIstiod(t, l, maxAge(30*time.Minute)...), &logbook{}
		o := quiet(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })
		o.Log = logs.logger()
		c, stop := run(t, o, &recording{})
		begin := time.Now()
		for n := range 5 {
			var s *adsStream
			select {
			case s = <-i.streams:
			case <-time.After(time.Hour):
				t.Fatal("no stream")
			}
			if since := time.Since(begin); n > 0 && (since < time.Duration(n)*26*time.Minute || since > time.Duration(n)*35*time.Minute) {
				t.Errorf("stream %d opened after %s", n, since)
			}
			s.subscribed()
			s.accepted(addressType, nil)
			s.accepted(authorizationType, nil)
		}
		if st := c.Status(); st.Streams != 5 || !strings.Contains(st.LastError, "prior goaway") {
			t.Errorf("status %+v", st)
		}
		if strings.Contains(logs.String(), "level=WARN") || strings.Count(logs.String(), "level=INFO") != 1 {
			t.Errorf("logged:\n%s", logs)
		}
		stop()
	})
}

// voided is a connection that swallows what is written to it, once the network is gone.
type voided struct {
	net.Conn
	gone *atomic.Bool
}

func (v voided) Write(p []byte) (int, error) {
	if v.gone.Load() {
		return len(p), nil
	}
	return v.Conn.Write(p)
}

// A network that loses everything without a word is noticed after forty seconds.
func TestSilentNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 16)
		i := serveIstiod(t, l)
		var gone atomic.Bool
		c, stop := run(t, quiet(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := l.DialContext(ctx)
			gone.Store(false)
			return voided{conn, &gone}, err
		}), &recording{})
		s := i.next(t)
		s.subscribed()
		s.accepted(addressType, nil)
		gone.Store(true)
		time.Sleep(29 * time.Second)
		if st := c.Status(); !st.Connected {
			t.Errorf("after half a minute: %+v", st)
		}
		time.Sleep(12 * time.Second)
		if st := c.Status(); st.Connected || !strings.Contains(st.LastError, "keepalive ping failed") {
			t.Errorf("after forty seconds: %+v", st)
		}
		i.next(t).subscribed()
		stop()
	})
}

// Run returns as soon as its context ends, wherever it is.
func TestRunEnds(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, time.Second, time.Minute} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, stop := run(t, quiet(func(context.Context, string) (net.Conn, error) { return nil, errors.New("no") }), &recording{})
				time.Sleep(after)
				begin := time.Now()
				stop()
				if took := time.Since(begin); took > 0 {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
