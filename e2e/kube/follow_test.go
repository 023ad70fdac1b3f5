package kube_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
)

// follow is a source that runs, and what it handed over last.
type follow struct {
	t      testing.TB
	source *kube.Source
	log    *lines

	mu      sync.Mutex
	last    *config.Cluster
	at      time.Time
	applied int
}

// start follows the API server of a kubeconfig until the test ends.
func start(t testing.TB, kubeconfig string, change ...func(*kube.Options)) *follow {
	t.Helper()
	cfg, err := kube.ConfigFrom(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	f := &follow{t: t, log: &lines{}}
	o := kube.Options{
		Config: cfg, Namespace: "bank", Gateway: "agents", Log: slog.New(slog.NewTextHandler(f.log, nil)), Apply: f.apply,
		Look: 200 * time.Millisecond,
	}
	for _, c := range change {
		c(&o)
	}
	if f.source, err = kube.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

func (f *follow) apply(c *config.Cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.at = c, time.Now()
	f.applied++
}

// picture is the last one, and when it came.
func (f *follow) picture() (*config.Cluster, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.at
}

func (f *follow) ready() {
	f.t.Helper()
	f.await("ready", func() bool {
		c, _ := f.picture()
		return f.source.Ready() == nil && c != nil
	})
}

// until waits for a picture.
func (f *follow) until(what string, ok func(*config.Cluster) bool) *config.Cluster {
	f.t.Helper()
	var c *config.Cluster
	f.await(what, func() bool {
		c, _ = f.picture()
		return c != nil && ok(c)
	})
	return c
}

func (f *follow) await(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c, _ := f.picture()
			f.t.Fatalf("not seen: %s\npicture %+v\nready: %v\nstatus %+v\n%s", what, c, f.source.Ready(), f.source.Status(), f.log)
		}
	}
}

func (f *follow) kind(name string) kube.KindStatus {
	f.t.Helper()
	for _, k := range f.source.Status().Kinds {
		if k.Kind == name {
			return k
		}
	}
	f.t.Fatalf("no kind %s", name)
	return kube.KindStatus{}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
