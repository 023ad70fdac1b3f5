package wds_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// logbook keeps what is logged, at every level.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// names are addresses with a name and a number each.
func names(prefix string, count int) []*discovery.Resource {
	all := make([]*discovery.Resource, count)
	for n := range all {
		all[n] = address(fmt.Sprintf("%s-%d", prefix, n), "1")
	}
	return all
}
