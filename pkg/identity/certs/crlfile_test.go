package certs_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// crl is a file of revocation lists and the source that follows it, run on a clock of its own.
type crl struct {
	*certs.CRLFile
	t      *testing.T
	path   string
	inner  certstest.Rotating
	logged journal
	calls  int
}

// journal is a log that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// follows runs test in a bubble: what it writes is noticed by wait.
func follows(t *testing.T, first []byte, m *certs.Material, test func(f *crl)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &crl{t: t, path: filepath.Join(dir, "ca-crl.pem")}
		f.write(first)
		f.inner.Set(m)
		f.CRLFile = certs.NewRevoked(&f.inner, f.path, slog.New(slog.NewTextHandler(&f.logged, nil)))
		f.OnChange(func() { f.calls++ })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		test(f)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// write replaces the file; nil removes it.
func (f *crl) write(content []byte) {
	f.t.Helper()
	err := os.Remove(f.path)
	if content != nil {
		err = os.WriteFile(f.path, content, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
}

func (f *crl) wait() {
	time.Sleep(1100 * time.Millisecond)
	synctest.Wait()
}

// holds asserts what is revoked now, how often there was a change, and what the newest content lacks ("" if nothing).
func (f *crl) holds(when string, chain []*x509.Certificate, revoked bool, calls int, problem string) {
	f.t.Helper()
	m, err := f.Current()
	if err != nil {
		f.t.Fatalf("%s: %v", when, err)
	}
	if again, err := f.Current(); again != m || err != nil {
		f.t.Errorf("%s: asked twice, got different material, %v", when, err)
	}
	if got := m.Revocations.Check(chain); errors.Is(got, certs.ErrRevoked) != revoked {
		f.t.Errorf("%s: the material says %v, want revoked: %v", when, got, revoked)
	}
	if got := f.Check(chain); errors.Is(got, certs.ErrRevoked) != revoked {
		f.t.Errorf("%s: Check says %v, want revoked: %v", when, got, revoked)
	}
	if f.calls != calls {
		f.t.Errorf("%s: %d changes were told of, want %d", when, f.calls, calls)
	}
	if err := f.Err(); (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
		f.t.Errorf("%s: Err is %v, want %q", when, err, problem)
	}
}

func TestCRLFile(t *testing.T) {
	ca := certstest.NewCA(td)
	peer, other := chainOf(t, ca.Issue(clientID)), chainOf(t, ca.Issue(clientID))
	of := func(c ...*x509.Certificate) []byte { return ca.Revoke(nil, c...) }
	follows(t, of(peer[0]), ca.Issue(serverID), func(f *crl) {
		f.holds("at the start", peer, true, 0, "")
		f.holds("at the start", other, false, 0, "")
		f.wait()
		f.holds("nothing new", peer, true, 0, "")
		f.write(of(peer[0], other[0]))
		f.wait()
		f.holds("one more", other, true, 1, "")
		for name, tt := range map[string]struct {
			content []byte
			problem string
		}{
			"removed":   {nil, "no such file or directory"},
			"empty":     {[]byte("\n"), "ca-crl.pem is empty"},
			"broken":    {[]byte("hello"), "certs: revocations: not PEM"},
			"forged":    {slices.Concat(of(other[0]), forged(t, ca)), "ECDSA verification failure"},
			"too large": {make([]byte, 4<<20+1), "is larger than 4194304 bytes"},
		} {
			f.write(tt.content)
			f.wait()
			f.holds(name, peer, true, f.calls, tt.problem)
			f.holds(name, other, true, f.calls, tt.problem)
			if f.calls > 1 {
				t.Errorf("%s: told of %d changes", name, f.calls)
			}
		}
		f.write(of(other[0]))
		f.wait()
		f.holds("taken back", peer, false, 2, "")
		f.holds("taken back", other, true, 2, "")
	})
}

// forged is a list that names the authority and its key, and was not signed by it.
func forged(t *testing.T, ca *certstest.CA) []byte {
	t.Helper()
	block, _ := pem.Decode(ca.Revoke(nil))
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}

// There is no file when the waypoint starts: nothing is revoked, which is said once; a broken one that comes later changes
// nothing; a good one counts, and from then on it cannot be taken away.
func TestCRLFileThatComesLater(t *testing.T) {
	ca := certstest.NewCA(td)
	peer := chainOf(t, ca.Issue(clientID))
	follows(t, nil, ca.Issue(serverID), func(f *crl) {
		f.holds("no file", peer, false, 0, "")
		f.wait()
		f.wait()
		if n := strings.Count(f.logged.String(), "nothing is revoked: there are no revocation lists"); n != 1 {
			t.Errorf("the absence was logged %d times:\n%s", n, f.logged.String())
		}
		f.write([]byte("hello"))
		f.wait()
		f.holds("a broken file", peer, false, 0, "certs: revocations: not PEM")
		f.write(ca.Revoke(nil, peer[0]))
		f.wait()
		f.holds("a good file", peer, true, 1, "")
		f.write(nil)
		f.wait()
		f.holds("removed", peer, true, 1, "no such file or directory")
	})
}

// A waypoint that starts with a file that it cannot read has no material: it must not let in what was revoked.
func TestCRLFileBrokenAtTheStart(t *testing.T) {
	ca := certstest.NewCA(td)
	peer := chainOf(t, ca.Issue(clientID))
	for name, content := range map[string][]byte{"not PEM": []byte("hello"), "forged": forged(t, ca)} {
		follows(t, content, ca.Issue(serverID), func(f *crl) {
			f.wait()
			if m, err := f.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), "certs: revocations: ") {
				t.Errorf("%s: %v, %v, want not ready", name, m, err)
			}
			f.write(ca.Revoke(nil, peer[0]))
			f.wait()
			f.holds(name+", then a good one", peer, true, 1, "")
		})
	}
}

func TestCRLFileFollowsItsSource(t *testing.T) {
	old, next := certstest.NewCA(td), certstest.NewCA(td)
	peer := chainOf(t, old.Issue(clientID))
	follows(t, old.Revoke(nil, peer[0]), nil, func(f *crl) {
		if m, err := f.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) {
			t.Errorf("without the other source: %v, %v", m, err)
		}
		first, second := old.Issue(serverID), next.Issue(serverID)
		f.inner.Set(first)
		f.holds("ready", peer, true, 0, "")
		f.inner.Set(second)
		m, err := f.Current()
		if err != nil || !slices.EqualFunc(m.Certificate.Certificate, second.Certificate.Certificate, bytes.Equal) || !errors.Is(m.Revocations.Check(peer), certs.ErrRevoked) {
			t.Errorf("after a rotation: %v, %v", m, err)
		}
		f.inner.Set(nil)
		if m, err := f.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) {
			t.Errorf("the other source is not ready any more: %v, %v", m, err)
		}
		if err := f.Check(peer); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("live connections must still be judged: %v", err)
		}
	})
}

// What an operator reads: lists that have expired, and lists whose issuer is unknown, both of which count.
func TestCRLFileSaysWhatToWorryAbout(t *testing.T) {
	ca := certstest.NewCA(td)
	north := certstest.NewCA(td).Intermediate("north")
	peer, stranger := chainOf(t, ca.Issue(clientID)), chainOf(t, north.Issue(clientID))
	var soon []byte
	synctest.Test(t, func(t *testing.T) { // the lists are made on the clock that they expire on
		ca := ca.Revoke(func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(90 * time.Second) }, peer[0])
		soon = slices.Concat(ca, north.Revoke(nil, stranger[0]))
	})
	follows(t, soon, ca.Issue(serverID), func(f *crl) {
		f.holds("at the start", peer, true, 0, "")
		f.holds("at the start", stranger, true, 0, "")
		if want := "signatures of some revocation lists cannot be checked; they count all the same"; !strings.Contains(f.logged.String(), want) {
			t.Errorf("nothing is said of an unknown issuer:\n%s", f.logged.String())
		}
		const expired = "have expired; what they revoke stays revoked"
		if strings.Contains(f.logged.String(), expired) {
			t.Errorf("said to be expired too early:\n%s", f.logged.String())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		f.holds("expired", peer, true, 0, "")
		if n := strings.Count(f.logged.String(), expired); n != 1 {
			t.Errorf("said to be expired %d times:\n%s", n, f.logged.String())
		}
	})
}

// The handshakes themselves: a peer gets in, is revoked while the source runs, and does not get in again.
func TestHandshakesWhileTheFileChanges(t *testing.T) {
	follows(t, nil, nil, func(f *crl) {
		ca := certstest.NewCA(td) // valid on the clock of the bubble
		peer := ca.Issue(clientID)
		f.inner.Set(ca.Issue(serverID))
		server := certs.ServerConfig(f, trust)
		client := certs.ClientConfig(certs.Static(peer), trust)
		if serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Errorf("before: %v, %v", serverErr, clientErr)
		}
		f.write(ca.Revoke(nil, peer.Certificate.Leaf))
		f.wait()
		if serverErr, _ := shake(t, server, client); !errors.Is(serverErr, certs.ErrRevoked) {
			t.Errorf("after: %v, want %v", serverErr, certs.ErrRevoked)
		}
	})
}

// runnable is a source that has to be run.
type runnable struct {
	certs.Source
	run func(context.Context) error
}

func (r runnable) Run(ctx context.Context) error { return r.run(ctx) }

func TestCRLFileRunsItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		source := runnable{certs.Static(nil), func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Minute):
				return broken
			}
		}}
		f := certs.NewRevoked(source, "nosuch.pem", nil)
		if err := f.Run(t.Context()); err != broken {
			t.Errorf("got %v, want %v", err, broken)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Errorf("ended by its context: %v", err)
		}
		ended := runnable{certs.Static(nil), func(context.Context) error { return nil }}
		again, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if err := certs.NewRevoked(ended, "nosuch.pem", nil).Run(again); err != nil || again.Err() == nil {
			t.Errorf("a source that has nothing to do: %v, %v", err, again.Err())
		}
	})
}
