package config

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"time"
)

// DefaultPoll is how often a directory is read again. Polling sees what notifications miss: mounted volumes, renamed
// directories, links that move.
const DefaultPoll = time.Second

// maxLogged bounds how many problems of one reload are logged; `waypoint check` shows them all.
const maxLogged = 100

// Watch follows a directory and hands over each new configuration. What is on disk has to stay the same from one poll to
// the next before it is read, so that half of a change is not taken for the whole.
type Watch struct {
	Dir      string
	Current  *Config             // what is in use when Run starts
	Apply    func(*Config) error // takes a new one into use, or says why it stays with the old one
	Problems func(Problems)      // hears of a directory that cannot be used; may be nil
	Log      *slog.Logger
	Poll     time.Duration    // 0 means DefaultPoll
	Tick     <-chan time.Time // polls when it says so, instead of every Poll; for tests

	seen, settled digest
	failed        bool
}

type digest [sha256.Size]byte

// Run polls until ctx ends. It returns nil, and starts no goroutine of its own.
func (w *Watch) Run(ctx context.Context) error {
	tick := w.Tick
	if tick == nil {
		every := w.Poll
		if every <= 0 {
			every = DefaultPoll
		}
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
			w.poll()
		}
	}
}

func (w *Watch) poll() {
	files, problems := readFiles(w.Dir)
	d := digestOf(files, problems)
	changing := d != w.seen
	w.seen = d
	if changing || d == w.settled {
		return
	}
	w.settled = d
	c, problems := load(files, problems)
	if len(problems) > 0 {
		w.reject(problems)
		return
	}
	w.take(c)
}

// take applies a configuration, unless it is the one in use: files may change without changing what they say.
func (w *Watch) take(c *Config) {
	if c.Generation() == w.Current.Generation() {
		if w.failed {
			w.Log.Info("the configuration on disk is the one in use again", "generation", c.Generation())
		}
		w.failed = false
		return
	}
	if err := w.Apply(c); err != nil {
		w.failed = true
		w.Log.Error("configuration not reloaded, the old one stays", "generation", w.Current.Generation(), "cause", err)
		return
	}
	w.failed = false
	w.Log.Info("configuration reloaded", "generation", c.Generation(), "before", w.Current.Generation(), "objects", len(c.Objects))
	w.Current = c
}

func (w *Watch) reject(problems Problems) {
	w.failed = true
	w.Log.Error("configuration not reloaded, the old one stays", "generation", w.Current.Generation(), "problems", len(problems))
	for _, p := range problems[:min(len(problems), maxLogged)] {
		w.Log.Error("problem in the configuration", "problem", p.String())
	}
	if w.Problems != nil {
		w.Problems(problems)
	}
}

// digestOf sums up what was read, and what could not be.
func digestOf(files []file, problems Problems) digest {
	h := sha256.New()
	part := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	for _, f := range files {
		part([]byte(f.name))
		part(f.text)
	}
	part([]byte(problems.Error()))
	return digest(h.Sum(nil))
}
