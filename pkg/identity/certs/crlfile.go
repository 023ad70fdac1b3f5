package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxRevocationFile bounds what we read of a file of revocation lists; a ConfigMap holds a quarter of that.
const maxRevocationFile = 4 << 20

// CRLFile is a [Source] that adds to another one what a file of revocation lists says, and follows that file's content.
type CRLFile struct {
	src  Source
	path string
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	digest [sha256.Size]byte // of the content that was examined last, good or bad
	newest *Revocations      // what the newest content says; nil if it says nothing
	used   *Revocations      // what counts: the newest good content; nil before there was any
	absent bool              // there was no file before there was a good one: nothing is revoked, which is good as well
	err    error             // why the newest content is not in use
	base   *Material         // what src said last, and
	joined *Material         // the same with what counts
	stale  []string          // issuers whose expired lists were logged
	change bool              // what counts has changed since the callbacks were last called
	calls  []func()
}

// NewRevoked reads the file once. There being none is no error: nothing is revoked then, which is logged, and
// [CRLFile.Run] keeps looking. A file that cannot be used makes the source not ready until it can: a waypoint that starts
// must not forget what was revoked. A nil log is silent.
func NewRevoked(src Source, path string, log *slog.Logger) *CRLFile {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &CRLFile{src: src, path: path, log: log.With("crl", path), now: time.Now}
	f.poll()
	f.change = false
	return f
}

// OnChange adds a callback that is called, by [CRLFile.Run], after what is revoked has changed: what is under way is to be
// judged again by [CRLFile.Check]. It is called without locks, one at a time.
func (f *CRLFile) OnChange(call func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

// Run follows the file until ctx ends, and then returns nil. If the other source has to be run, Run runs it as well, and
// returns the error with which it ended.
func (f *CRLFile) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	if s, ok := f.src.(interface{ Run(context.Context) error }); ok {
		go func() { ended <- s.Run(ctx) }()
	} else {
		ended = nil
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if ended != nil {
				return <-ended
			}
			return nil
		case err := <-ended:
			if err != nil || ctx.Err() != nil {
				return err
			}
			ended = nil // it had nothing more to do; the file still changes
		case <-tick.C:
			f.poll()
			f.notify()
		}
	}
}

// Current returns the other source's material with what is revoked.
func (f *CRLFile) Current() (*Material, error) {
	m, err := f.src.Current()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adopt(m)
	if f.used == nil && !f.absent {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, f.err)
	}
	if f.joined == nil {
		joined := *m
		joined.Revocations = f.used
		f.joined = &joined
	}
	return f.joined, nil
}

// adopt takes over what the other source says. There may be authorities in it that were not known, so the signatures are
// checked again: once per rotation.
func (f *CRLFile) adopt(m *Material) {
	if m != f.base {
		f.base, f.joined = m, nil
		f.judge()
	}
}

// Check is [Revocations.Check] of what counts now.
func (f *CRLFile) Check(chain []*x509.Certificate) error {
	f.mu.Lock()
	r := f.used
	f.mu.Unlock()
	return r.Check(chain)
}

// Err says why the newest content of the file is not in use; nil if it is, and while there has never been a file.
func (f *CRLFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// poll examines the file if its content has changed.
func (f *CRLFile) poll() {
	text, err := readFile(f.path, maxRevocationFile)
	m, notReady := f.src.Current()
	f.mu.Lock()
	defer f.mu.Unlock()
	if notReady == nil {
		f.adopt(m)
	}
	f.examine(text, err)
	f.warnExpired()
}

func (f *CRLFile) examine(text []byte, err error) {
	if err != nil {
		f.digest, f.newest = [sha256.Size]byte{}, nil
		if f.used == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmpty)) {
			f.missing(err)
			return
		}
		// What was revoked stays revoked, also when the file is taken away.
		f.refuse(fmt.Errorf("certs: revocations: %w", err))
		return
	}
	digest := sha256.Sum256(text)
	if digest == f.digest {
		return
	}
	f.digest = digest
	if f.newest, err = ParseRevocations(text); err != nil {
		f.refuse(err)
		return
	}
	f.judge()
}

// missing takes note that there has not been a file, or only an empty one.
func (f *CRLFile) missing(err error) {
	if !f.absent {
		f.log.Warn("nothing is revoked: there are no revocation lists", "cause", err)
	}
	f.absent, f.err = true, nil
}

// judge puts the newest content into use, unless an issuer that is known did not sign its list. It waits for the first
// material: before that, no issuer is known, and nobody gets in anyway.
func (f *CRLFile) judge() {
	if f.newest == nil || f.base == nil {
		return
	}
	authorities := f.base.authorities()
	if err := f.newest.verify(authorities); err != nil {
		f.refuse(fmt.Errorf("certs: revocations: %w", err))
		return
	}
	f.err = nil
	if f.used == f.newest {
		return
	}
	f.used, f.joined, f.change, f.stale = f.newest, nil, true, nil
	f.log.Info("revocation lists are in use", "lists", len(f.used.lists), "revoked", f.used.Len())
	if unknown := f.used.Unverified(authorities); len(unknown) > 0 {
		f.log.Warn("the signatures of some revocation lists cannot be checked; they count all the same", "issuers", unknown)
	}
}

// refuse keeps the last good content, and says why once.
func (f *CRLFile) refuse(err error) {
	if f.err == nil || f.err.Error() != err.Error() {
		f.log.Error("revocation lists cannot be used", "cause", err, "kept", f.used.Len())
	}
	f.err = err
}

func (f *CRLFile) warnExpired() {
	expired := f.used.Expired(f.now())
	if len(expired) > 0 && !slices.Equal(expired, f.stale) {
		f.log.Warn("revocation lists have expired; what they revoke stays revoked", "issuers", expired)
	}
	f.stale = expired
}

// notify calls the callbacks if what counts has changed.
func (f *CRLFile) notify() {
	f.mu.Lock()
	change, calls := f.change, slices.Clone(f.calls)
	f.change = false
	f.mu.Unlock()
	if !change {
		return
	}
	for _, call := range calls {
		call()
	}
}

// authorities are the issuers that m tells of: the roots, and the intermediates of our own chain.
func (m *Material) authorities() []*x509.Certificate {
	all := slices.Clone(m.Authorities)
	for i, der := range m.Certificate.Certificate {
		if i == 0 {
			continue // ours is not an authority
		}
		if c, err := x509.ParseCertificate(der); err == nil {
			all = append(all, c)
		}
	}
	return all
}
