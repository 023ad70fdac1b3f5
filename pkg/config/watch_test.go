package config_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a directory under watch, with a hand on the clock. It lives in a synctest bubble: after a tick, wait returns
// when Run waits for the next one.
type watched struct {
	t        *testing.T
	dir      string
	tick     chan time.Time
	log      bytes.Buffer
	applied  []*config.Config
	problems []config.Problems
	refuse   error
	first    *config.Config
}

func watch(t *testing.T) *watched {
	w := &watched{t: t, dir: baseDir(t), tick: make(chan time.Time)}
	w.first = load(t, w.dir)
	cw := &config.Watch{
		Dir: w.dir, Current: w.first, Tick: w.tick,
		Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
		Apply: func(c *config.Config) error {
			if w.refuse != nil {
				return w.refuse
			}
			w.applied = append(w.applied, c)
			return nil
		},
		Problems: func(p config.Problems) { w.problems = append(w.problems, p) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- cw.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return w
}

func (w *watched) poll(times int) {
	for range times {
		w.tick <- time.Time{}
		synctest.Wait()
	}
}

func (w *watched) replace(name, old, new string) {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		w.t.Fatalf("%s has no %q", name, old)
	}
	write(w.t, file, []byte(strings.Replace(string(text), old, new, 1)))
}

func (w *watched) expect(applied, problems int, log string) {
	w.t.Helper()
	if len(w.applied) != applied || len(w.problems) != problems {
		w.t.Errorf("got %d configurations and %d lists of problems, want %d and %d", len(w.applied), len(w.problems), applied, problems)
	}
	if got := w.log.String(); got != log {
		w.t.Errorf("got the log\n%swant\n%s", got, log)
	}
	w.log.Reset()
}

func TestWatchAppliesAChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.poll(3)
		w.expect(0, 0, "")
		w.replace("20-mesh.yaml", "10.244.1.10", "10.244.1.11")
		w.poll(1)
		w.expect(0, 0, "") // it may still be changing
		w.poll(3)
		now := load(t, w.dir).Generation()
		w.expect(1, 0, "level=INFO msg=\"configuration reloaded\" generation="+now+" before="+w.first.Generation()+" objects=2\n")
		if got := w.applied[0].Services[0].Spec.Endpoints[0].Address; got != "10.244.1.11" {
			t.Errorf("got endpoint %s, want the new one", got)
		}
	})
}

func TestWatchWaitsUntilFilesStopChanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.replace("20-mesh.yaml", "10.244.1.10", "10.244.1.11")
		w.poll(1)
		w.replace("20-mesh.yaml", "10.244.1.11", "10.244.1.12")
		w.poll(1)
		if len(w.applied) != 0 {
			t.Error("applied while the files were changing")
		}
		w.poll(1)
		if len(w.applied) != 1 || w.applied[0].Services[0].Spec.Endpoints[0].Address != "10.244.1.12" {
			t.Errorf("got %d configurations, want the last one", len(w.applied))
		}
	})
}

func TestWatchKeepsTheOldOneWhileThereAreProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.replace("20-mesh.yaml", "STATIC", "DNS")
		w.replace("10-gateway.yaml", "15008", "1")
		w.poll(4)
		generation := w.first.Generation()
		w.expect(0, 1, "level=ERROR msg=\"configuration not reloaded, the old one stays\" generation="+generation+" problems=2\n"+
			`level=ERROR msg="problem in the configuration" problem="10-gateway.yaml:9:7: Gateway bank/agents: spec.listeners[0]: the listener of a waypoint has a name, port 15008 and protocol HBONE"`+"\n"+
			`level=ERROR msg="problem in the configuration" problem="20-mesh.yaml:10:3: ServiceEntry bank/company-mcp: spec.resolution: DNS is not supported: endpoints have to be given, with resolution STATIC"`+"\n")
		w.replace("20-mesh.yaml", "DNS", "STATIC")
		w.replace("10-gateway.yaml", "port: 1,", "port: 15008,")
		w.poll(2)
		w.expect(0, 1, "level=INFO msg=\"the configuration on disk is the one in use again\" generation="+generation+"\n")
		if err := os.RemoveAll(w.dir); err != nil {
			t.Fatal(err)
		}
		w.poll(2)
		if len(w.applied) != 0 || len(w.problems) != 2 {
			t.Errorf("got %d configurations and %d lists of problems after the directory went away, want 0 and 2", len(w.applied), len(w.problems))
		}
	})
}

func TestWatchIgnoresChangesOfLayout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.replace("20-mesh.yaml", "spec:", "# the same\nspec:")
		w.poll(3)
		w.expect(0, 0, "")
	})
}

func TestWatchKeepsTheOldOneWhenApplyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.refuse = errors.New("no")
		w.replace("20-mesh.yaml", "10.244.1.10", "10.244.1.11")
		w.poll(3)
		w.expect(0, 0, "level=ERROR msg=\"configuration not reloaded, the old one stays\" generation="+w.first.Generation()+" cause=no\n")
		w.refuse = nil
		w.replace("20-mesh.yaml", "10.244.1.11", "10.244.1.12")
		w.poll(2)
		if len(w.applied) != 1 {
			t.Errorf("got %d configurations after the next change, want 1", len(w.applied))
		}
	})
}

// Without a Tick, Run polls by itself; time is the bubble's.
func TestWatchPollsEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := baseDir(t)
		applied := 0
		w := &config.Watch{
			Dir: dir, Current: &config.Config{}, Log: slog.New(slog.DiscardHandler),
			Apply: func(*config.Config) error { applied++; return nil },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if err := w.Run(ctx); err != nil || applied != 1 {
			t.Errorf("got %v and %d configurations after two polls, want nil and 1", err, applied)
		}
	})
}
