package istioca_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/identity/certs/istioca"
)

// timed is a CA and a source of its certificates on a clock of their own, connected in memory.
type timed struct {
	*istioca.Source
	t      *testing.T
	a      *authority
	root   *certstest.CA
	file   string
	logged func() string
}

// onTheClock runs test in a bubble. The CA signs certificates that live for ttl.
func onTheClock(t *testing.T, ttl time.Duration, test func(c *timed)) {
	t.Helper()
	file := rootFile(t)
	synctest.Test(t, func(t *testing.T) {
		root := certstest.NewCA(td) // valid on the clock of the bubble
		writeRoots(t, file, root.Certificate())
		a := newAuthority(root)
		a.ttl = ttl
		l := bufconn.Listen(1 << 16)
		stop := a.serve(l)
		defer stop()
		o := to("", file)
		o.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }
		s, logged, end := start(t, o)
		defer end()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		test(&timed{s, t, a, root, file, func() string { end(); return logged.String() }})
	})
}

// serial is the certificate in use.
func (c *timed) serial() string {
	c.t.Helper()
	m, err := c.Current()
	if err != nil {
		c.t.Fatal(err)
	}
	return m.Certificate.Leaf.SerialNumber.Text(16)
}

// until waits until the given time of the clock.
func (c *timed) until(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

func TestRenewalAtHalfLife(t *testing.T) {
	onTheClock(t, time.Hour, func(c *timed) { // the CA itself lives for a day
		keys := map[string]bool{}
		for range 20 {
			before := c.serial()
			m, _ := c.Current()
			key, err := x509.MarshalPKIXPublicKey(m.Certificate.Leaf.PublicKey)
			if err != nil || keys[string(key)] {
				t.Errorf("a key was used twice, or %v", err)
			}
			keys[string(key)] = true
			next := c.Next()
			if left := m.Certificate.Leaf.NotAfter.Sub(next); left > 30*time.Minute || left < 26*time.Minute {
				t.Errorf("renewed %s before the end, want at half of an hour or a little later", left)
			}
			c.until(next.Add(-time.Second))
			if c.serial() != before {
				t.Error("renewed before its time")
			}
			c.until(next.Add(time.Second))
			if c.serial() == before {
				t.Error("not renewed in time")
			}
		}
		if n := len(c.a.seen()); n != 21 {
			t.Errorf("%d calls, want 21", n)
		}
	})
}

// Certificates that live for seconds are renewed in time as well, although their beginning is two minutes back.
func TestRenewalOfShortLivedCertificates(t *testing.T) {
	onTheClock(t, 10*time.Second, func(c *timed) {
		for range 600 {
			c.serial() // fails if there is none
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if n := len(c.a.seen()); n < 11 || n > 13 {
			t.Errorf("%d calls in a minute, want one in 5 s", n)
		}
	})
}

// The CA is away from before the half-life until after the end: the certificate in use serves to its last second, the waits
// between the calls double, and the first call that succeeds puts everything right.
func TestFailedRenewals(t *testing.T) {
	onTheClock(t, 2*time.Hour, func(c *timed) {
		m, _ := c.Current()
		first, end := c.serial(), m.Certificate.Leaf.NotAfter
		c.a.set(func(a *authority) { a.fail = status.Error(codes.Unavailable, "away") })
		c.until(end.Add(-time.Second))
		if c.serial() != first {
			t.Error("another certificate")
		}
		if st := c.Status(); st.Failures < 5 || st.Err == nil || !strings.HasSuffix(st.Err.Error(), "Unavailable: away") {
			t.Errorf("status %+v", st)
		}
		c.until(end.Add(time.Second))
		m, err := c.Current()
		if m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), "our certificate expired at") || !strings.HasSuffix(err.Error(), "Unavailable: away") {
			t.Errorf("after the end: %v, %v", m, err)
		}
		c.until(end.Add(2 * time.Minute))
		checkWaits(t, c.a.seen()[1:], end)

		c.a.set(func(a *authority) { a.fail = nil })
		c.until(time.Now().Add(10 * time.Second))
		if c.serial() == first {
			t.Error("not back within 10 s of the CA")
		}
		if st := c.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("status %+v", st)
		}
		logged := c.logged()
		if !strings.Contains(logged, "level=WARN msg=\"certificate not issued\"") || !strings.Contains(logged, "level=ERROR msg=\"certificate not issued\"") {
			t.Errorf("failures are not logged as a warning, and as an error at the end:\n%.2000s", logged)
		}
	})
}

// checkWaits looks at the time between failed calls: 0.5 to 1 s first, doubling up to 150 s, never half of what is left or
// more, and 10 s at most once the certificate in use has expired.
func checkWaits(t *testing.T, calls []call, end time.Time) {
	t.Helper()
	longest := time.Duration(0)
	for i := 1; i < len(calls); i++ {
		wait, left := calls[i].at.Sub(calls[i-1].at), end.Sub(calls[i-1].at)
		most := min(time.Second<<min(i-1, 10), 150*time.Second)
		switch {
		case left <= 0:
			most = min(most, 10*time.Second)
		case left/2 < most:
			most = max(left/2, time.Second)
		}
		if wait < most/2 || wait > most+time.Millisecond {
			t.Errorf("wait %d: %s with %s left, want %s to %s", i, wait, left, most/2, most)
		}
		longest = max(longest, wait)
	}
	if longest < 75*time.Second || len(calls) < 30 {
		t.Errorf("%d calls, the longest wait was %s", len(calls), longest)
	}
}

// Without any certificate nothing is served: the source asks every 10 s at least.
func TestFirstCertificateIsLate(t *testing.T) {
	file := rootFile(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		root := certstest.NewCA(td)
		a := newAuthority(root)
		l := bufconn.Listen(1 << 16)
		defer a.serve(l)()
		o := to("", file)
		o.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }
		s, logged, stop := start(t, o)
		defer stop()
		time.Sleep(time.Hour)
		if _, err := s.Current(); !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), "no such file or directory") {
			t.Errorf("without roots: %v", err)
		}
		if st := s.Status(); st.Failures < 360 || st.RootFile == nil {
			t.Errorf("%d attempts in an hour, root file: %v", st.Failures, st.RootFile)
		}
		writeRoots(t, file, root.Certificate())
		time.Sleep(3 * time.Second) // to notice, and to ask at once
		synctest.Wait()
		if m, err := s.Current(); err != nil || m.ID != ours {
			t.Errorf("with roots: %v, %v", m, err)
		}
		stop()
		if n := strings.Count(logged.String(), "the root file cannot be used"); n != 1 {
			t.Errorf("the absent file was logged %d times", n)
		}
	})
}

// A root is replaced under way: old and new overlap, the CA switches, the old one goes. Nobody who should get in is refused
// at any time, and the old root is out within seconds of the file's change, not at the half-life.
func TestRootRotation(t *testing.T) {
	onTheClock(t, 24*time.Hour, func(c *timed) {
		old, next := c.root, certstest.NewCA(td)
		both := []*x509.Certificate{old.Certificate(), next.Certificate()}
		lenient := certstest.WithRoots(old.Roots(next))
		oldPeer, newPeer := old.Issue(other, lenient), next.Issue(other, lenient)
		admits := func(when string, peer *certs.Material, want bool) {
			t.Helper()
			m, err := c.Current()
			if err != nil {
				t.Errorf("%s: %v", when, err)
				return
			}
			if err := handshake(t, certs.Static(m), certs.Static(peer)); (err == nil) != want {
				t.Errorf("%s: %v, want to get in: %v", when, err, want)
			}
		}
		admits("before", oldPeer, true)
		admits("before", newPeer, false)
		calls := len(c.a.seen())

		// The file knows both; the CA still sends the old root, and cannot be reached.
		c.a.set(func(a *authority) { a.fail = status.Error(codes.Unavailable, "away") })
		writeRoots(t, c.file, both...)
		c.until(time.Now().Add(2100 * time.Millisecond))
		admits("the file has both", oldPeer, true)
		admits("the file has both", newPeer, true)

		// The CA signs by the new root, and sends both.
		c.a.set(func(a *authority) { a.fail, a.ca, a.tls, a.roots = nil, next, next, both })
		c.until(time.Now().Add(10 * time.Second))
		if m, _ := c.Current(); !slices.Equal(m.Certificate.Leaf.RawIssuer, next.Certificate().RawSubject) || m.Certificate.Leaf.CheckSignatureFrom(next.Certificate()) != nil {
			t.Error("the certificate is not of the new root")
		}
		admits("the CA has switched", oldPeer, true)
		admits("the CA has switched", newPeer, true)
		if n := len(c.a.seen()); n < calls+2 {
			t.Errorf("the change of roots caused %d calls, want a failed and a good one", n-calls)
		}

		// The old root goes, in the CA and in the file.
		c.a.set(func(a *authority) { a.roots = both[1:] })
		writeRoots(t, c.file, both[1:]...)
		c.until(time.Now().Add(3 * time.Second))
		admits("the old root is gone", newPeer, true)
		admits("the old root is gone", oldPeer, false)
	})
}

// What is wrong with the root file while it runs changes nothing but what operators read.
func TestRootFileThatBreaks(t *testing.T) {
	onTheClock(t, 24*time.Hour, func(c *timed) {
		before, _ := c.Current()
		for name, content := range map[string]string{"empty": "", "not PEM": "hello", "half": string(certstest.PEM(c.root.Certificate()))[:300]} {
			if err := os.WriteFile(c.file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			c.until(time.Now().Add(5 * time.Second))
			m, err := c.Current()
			if err != nil || m != before || c.Status().RootFile == nil {
				t.Errorf("%s: %v, same material: %v, the status says %v", name, err, m == before, c.Status().RootFile)
			}
		}
		writeRoots(t, c.file, c.root.Certificate())
		c.until(time.Now().Add(5 * time.Second))
		if m, err := c.Current(); err != nil || m != before || c.Status().RootFile != nil || len(c.a.seen()) != 1 {
			t.Errorf("as before again: %v, the status says %v, %d calls", err, c.Status().RootFile, len(c.a.seen()))
		}
	})
}

// The CA has been away for long, and the waits between the calls are. A change of the roots may be what it takes: the source
// begins again with short ones.
func TestChangedRootsShortenTheWait(t *testing.T) {
	onTheClock(t, 12*time.Hour, func(c *timed) {
		c.a.set(func(a *authority) { a.fail = status.Error(codes.Unavailable, "away") })
		c.until(c.Next().Add(time.Hour))
		first := c.serial()
		if wait := time.Until(c.Next()); wait > 150*time.Second || c.Status().Failures < 20 {
			t.Errorf("after an hour: next in %s, %d failures", wait, c.Status().Failures)
		}
		c.until(c.Next().Add(time.Second)) // the next call would now be more than a minute away
		writeRoots(t, c.file, c.root.Certificate(), certstest.NewCA(td).Certificate())
		c.until(time.Now().Add(2100 * time.Millisecond))
		c.a.set(func(a *authority) { a.fail = nil })
		c.until(time.Now().Add(5 * time.Second))
		if c.serial() == first {
			t.Errorf("no certificate 7 s after the roots have changed, next try in %s", time.Until(c.Next()))
		}
	})
}
