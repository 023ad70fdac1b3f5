// Package admin answers the questions that operators and kubelets ask a waypoint. For now these are the two probes; see
// docs/rough-edges.md for what is still to come.
//
//	ready := admin.NewReadiness("certificates", "configuration")
//	ready.Done("certificates")
//	http.Serve(l, admin.Handler(ready))
//
// It refuses to call a waypoint ready while any of its named conditions is unmet, and says which.
package admin

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Readiness is a set of named conditions, all of which must hold. It is safe for concurrent use.
type Readiness struct {
	mu      sync.Mutex
	waiting map[string]func() error
}

// NewReadiness returns a Readiness in which each of the conditions is unmet.
func NewReadiness(conditions ...string) *Readiness {
	r := &Readiness{waiting: map[string]func() error{}}
	for _, c := range conditions {
		r.waiting[c] = nil
	}
	return r
}

// Done says that a condition holds from now on.
func (r *Readiness) Done(condition string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, condition)
}

// Undo says that a condition holds no longer, for example because the process is draining.
func (r *Readiness) Undo(condition string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[condition] = nil
}

// Check makes a condition depend on a function that is asked each time: nil means that it holds.
func (r *Readiness) Check(condition string, holds func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[condition] = holds
}

// Unmet returns the conditions that do not hold, sorted; none means ready.
func (r *Readiness) Unmet() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var unmet []string
	for name, holds := range r.waiting {
		if holds == nil || holds() != nil {
			unmet = append(unmet, name)
		}
	}
	slices.Sort(unmet)
	return unmet
}

// Handler serves /healthz/ready (200, or 503 with the unmet conditions) and /healthz/live (200 while the process answers).
func Handler(r *Readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz/ready", func(w http.ResponseWriter, _ *http.Request) {
		if unmet := r.Unmet(); len(unmet) > 0 {
			http.Error(w, "waiting for "+strings.Join(unmet, ", "), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /healthz/live", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("live\n"))
	})
	return mux
}
