package wds_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/mesh/wds"
)

// recording is a sink that remembers each call, and the state that the calls lead to.
type recording struct {
	mu        sync.Mutex
	calls     []string
	addresses map[string]string
	policies  map[string]string
	refuse    func(name string) error
	bytes     int
}

func (r *recording) Addresses(full bool, changed []wds.Resource, removed []string) map[string]error {
	return r.apply("addresses", &r.addresses, full, changed, removed)
}

func (r *recording) Policies(full bool, changed []wds.Resource, removed []string) map[string]error {
	return r.apply("policies", &r.policies, full, changed, removed)
}

func (r *recording) apply(what string, state *map[string]string, full bool, changed []wds.Resource, removed []string) map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused := map[string]error{}
	call := []string{what}
	if full {
		call, *state = append(call, "all"), nil
	}
	if *state == nil {
		*state = map[string]string{}
	}
	for _, c := range changed {
		r.bytes += len(c.Body.GetValue())
		if r.refuse != nil {
			if err := r.refuse(c.Name); err != nil {
				refused[c.Name] = err
				continue
			}
		}
		(*state)[c.Name] = c.Version
		if len(changed) < 20 {
			call = append(call, strings.TrimSuffix("+"+c.Name+"@"+c.Version, "@"))
		}
	}
	for _, name := range removed {
		delete(*state, name)
		call = append(call, "-"+name)
	}
	r.calls = append(r.calls, strings.Join(call, " "))
	return refused
}

// said returns the calls since it was asked last.
func (r *recording) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func (r *recording) want(tb testing.TB, want ...string) {
	tb.Helper()
	if got := r.said(); !slices.Equal(got, want) {
		tb.Errorf("the sink was told\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (r *recording) state() (addresses, policies map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.addresses), maps.Clone(r.policies)
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it did not come to this: " + what)
		}
	}
}

// refuseBad refuses the names that say so.
func refuseBad(name string) error {
	if strings.Contains(name, "bad") {
		return fmt.Errorf("%s is of no use", name)
	}
	return nil
}
