package clients_test

import (
	"context"
	"strings"
	"sync"
	"testing"
)

// talker is one session of a client in this process.
type talker interface {
	call(ctx context.Context, tool string) line
	list(ctx context.Context, method string) line
	notify(ctx context.Context, method string) line
}

// hearing is what a client was asked by its server.
type hearing struct {
	mu      sync.Mutex
	methods []string
}

func (h *hearing) hear(method string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.methods = append(h.methods, method)
}

func (h *hearing) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.methods, " ")
}

// walk does what is planned with sessions that connect opens. A session that cannot be opened, or a step without an answer,
// is reported as broken.
func walk(t *testing.T, p plan, connect func(t *testing.T, tr transport, url string, h *hearing) (talker, error)) []line {
	var report []line
	for _, s := range p.Sessions {
		h := &hearing{}
		c, err := connect(t, p.Transport, s.URL, h)
		if err != nil {
			return append(report, line{Session: s.Name, Step: "connect", Broken: err.Error()})
		}
		for _, step := range s.Steps {
			l := take(t, c, step)
			l.Session, l.Step = s.Name, step.Do+" "+step.Name
			report = append(report, l)
			if l.Broken != "" && step.Name == greet { // it does not live: nothing more is to be learned
				return report
			}
		}
		report = append(report, line{Session: s.Name, Step: "asked", Text: h.String()})
	}
	return report
}

func take(t *testing.T, c talker, s step) line {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	switch s.Do {
	case "list":
		return c.list(ctx, s.Name)
	case "notify":
		return c.notify(ctx, s.Name)
	}
	return c.call(ctx, s.Name)
}
