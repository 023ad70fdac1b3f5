package jwks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// fetchGap is the least time between two fetches that tokens caused, and between retries.
	fetchGap        = 10 * time.Second
	defaultTimeout  = 5 * time.Second
	maxTimeout      = 30 * time.Second
	maxRefresh      = 24 * time.Hour
	maxStaleAllowed = 7 * 24 * time.Hour
)

// Fetch gets a key set. It ends when ctx does.
type Fetch func(ctx context.Context) ([]byte, http.Header, error)

// Remote is a key set that is fetched.
type Remote struct {
	Fetch           Fetch
	RefreshInterval time.Duration // 10s to 24h; a max-age of the answer may shorten it
	MaxStale        time.Duration // how long keys are used past that while they cannot be fetched; 0 to 168h
	Timeout         time.Duration // of one fetch; 0 is 5s, at most 30s
	Report          func(error)   // told of each fetch that failed, and of keys left out; may be nil
}

// remote is the keys of one issuer as they were fetched last.
type remote struct {
	Remote
	now     func() time.Time
	ctx     context.Context // ends with Close
	fetches *sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	set      *keySet
	digest   digest        // of the bytes of set
	fetched  time.Time     // when set was confirmed last
	fresh    time.Duration // until the next fetch
	tried    time.Time
	underway chan struct{} // closed when the fetch under way ends
}

func newRemote(ctx context.Context, o Remote, now func() time.Time, fetches *sync.WaitGroup) (*remote, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	switch {
	case o.Fetch == nil:
		return nil, errors.New("remote keys: no Fetch")
	case o.RefreshInterval < fetchGap || o.RefreshInterval > maxRefresh:
		return nil, fmt.Errorf("remote keys: refresh interval of %s, want %s to %s", o.RefreshInterval, fetchGap, maxRefresh)
	case o.MaxStale < 0 || o.MaxStale > maxStaleAllowed:
		return nil, fmt.Errorf("remote keys: max stale of %s, want 0 to %s", o.MaxStale, maxStaleAllowed)
	case o.Timeout < 0 || o.Timeout > maxTimeout:
		return nil, fmt.Errorf("remote keys: timeout of %s, want up to %s", o.Timeout, maxTimeout)
	}
	return &remote{Remote: o, now: now, ctx: ctx, fetches: fetches}, nil
}

// current returns the keys unless they are older than the operator allows.
func (r *remote) current() *keySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil || r.now().Sub(r.fetched) > r.RefreshInterval+r.MaxStale {
		return nil
	}
	return r.set
}

func (r *remote) renew(ctx context.Context) { r.fetch(ctx, fetchGap) }

// fetch fetches the keys unless the last try is less than gap ago, and waits for the fetch under way as long as ctx lasts. The
// fetch itself does not end with the caller that caused it: others wait for it too.
func (r *remote) fetch(ctx context.Context, gap time.Duration) {
	r.mu.Lock()
	done := r.underway
	if done == nil {
		now := r.now()
		if ago := now.Sub(r.tried); r.closed || !r.tried.IsZero() && ago >= 0 && ago < gap {
			r.mu.Unlock()
			return
		}
		done = make(chan struct{})
		r.underway, r.tried = done, now
		r.fetches.Go(func() {
			err := r.once()
			r.mu.Lock()
			r.underway = nil
			r.mu.Unlock()
			close(done)
			if err != nil && r.Report != nil {
				r.Report(err)
			}
		})
	}
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// once fetches the keys. What it cannot read leaves the keys as they are.
func (r *remote) once() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.Timeout)
	defer cancel()
	began := r.now()
	b, header, err := r.Fetch(ctx)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	set, err := parseSet(b)
	if err != nil {
		return err
	}
	d := sha256.Sum256(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil || d != r.digest { // the same bytes are the same generation
		r.set, r.digest = set, d
	}
	r.fetched, r.fresh = began, r.RefreshInterval
	if age, ok := maxAge(header); ok {
		r.fresh = min(r.RefreshInterval, max(age, fetchGap))
	}
	if len(set.problems) > 0 {
		return fmt.Errorf("key set: left out: %s", strings.Join(set.problems[:min(8, len(set.problems))], "; "))
	}
	return nil
}

func maxAge(h http.Header) (time.Duration, bool) {
	for d := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if s, ok := strings.CutPrefix(strings.TrimSpace(d), "max-age="); ok {
			n, err := strconv.ParseUint(s, 10, 31)
			return time.Duration(n) * time.Second, err == nil
		}
	}
	return 0, false
}

// run fetches the keys, and again whenever they are due, or a short time after a failure.
func (r *remote) run(ctx context.Context) {
	for {
		r.fetch(ctx, 0)
		r.mu.Lock()
		wait := fetchGap
		if due := r.fetched.Add(r.fresh).Sub(r.now()); r.set != nil && due > wait {
			wait = min(due, r.RefreshInterval)
		}
		r.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || r.ctx.Err() != nil {
			return
		}
	}
}

func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
