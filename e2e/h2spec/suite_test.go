package h2spec_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a case waits for a frame. It costs time only where a case fails by silence.
const patience = 8 * time.Second

// cases is how many there are in h2spec v2.2.1, the strict ones included: a suite that shrinks is no success.
const cases = 146

// run runs every case against the server at a and compares what fails with the baseline.
func run(t *testing.T, a netip.AddrPort, baseline string) {
	known := read(t, baseline)
	all := list()
	if len(all) != cases {
		t.Errorf("h2spec has %d cases, want %d", len(all), cases)
	}
	c := &config.Config{
		Host: a.Addr().String(), Port: int(a.Port()), Path: "/", Timeout: patience, MaxHeaderLen: 4000, Strict: true,
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i].err = try(c, all[i].test) })
	}
	wg.Wait()

	for _, o := range all {
		reason, expected := known[o.id]
		delete(known, o.id)
		t.Run(o.id, func(t *testing.T) { judge(t, o, expected, reason) })
	}
	for id := range known {
		t.Errorf("%s has a line for %s, which is not a case of h2spec", baseline, id)
	}
}

// outcome is a case of h2spec and what became of it.
type outcome struct {
	id   string // as h2spec writes it: "http2/5.1/3"
	test *spec.TestCase
	err  error
}

// list returns every case, numbered as h2spec numbers them.
func list() (all []outcome) {
	var walk func(*spec.TestGroup)
	walk = func(g *spec.TestGroup) {
		for i, tc := range slices.Concat(g.Tests, g.StrictTests) {
			all = append(all, outcome{id: fmt.Sprintf("%s/%d", g.ID(), i+1), test: tc})
		}
		for _, sub := range g.Groups {
			walk(sub)
		}
	}
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		walk(g)
	}
	return all
}

func try(c *config.Config, tc *spec.TestCase) error {
	conn, err := spec.Dial(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	return tc.Run(c, conn)
}

func judge(t *testing.T, o outcome, expected bool, reason string) {
	switch {
	case o.err == spec.ErrSkipped && !expected:
		t.Errorf("%s\nh2spec skips this case, and the baseline does not say why", o.test.Desc)
	case o.err == nil && expected:
		t.Errorf("%s\npasses now; the baseline says: %s", o.test.Desc, reason)
	case o.err != nil && !expected:
		t.Errorf("%s\n%s\n%v", o.test.Desc, o.test.Requirement, o.err)
	}
}

// read reads a baseline: one case per line, its id and the reason why it fails. Lines that begin with # are prose.
func read(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			t.Errorf("%s: %s has no reason", file, id)
		}
		known[id] = reason
	}
	return known
}
