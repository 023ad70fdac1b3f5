package main

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// figuresMark begins what a test measured and wants to be seen even if it passes.
const figuresMark = "figures: "

// counts is how many tests ended in which way.
type counts struct{ passed, failed, skipped int }

func (c *counts) add(o counts) {
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// report follows one `go test -json` run and prints it as it goes.
type report struct {
	out   io.Writer
	total counts

	build    map[string]*strings.Builder // compiler output by import path
	packages map[string]*packageRun
}

type packageRun struct {
	output map[string]*strings.Builder // by test; "" is the package itself
	ends   map[string]string           // by test: pass, fail or skip
}

func newReport(out io.Writer) *report {
	return &report{out: out, build: map[string]*strings.Builder{}, packages: map[string]*packageRun{}}
}

// line takes one line of output. What is not an event is printed as it is: `go test` itself speaks between them.
func (r *report) line(b []byte) {
	var e event
	if len(b) == 0 || b[0] != '{' || json.Unmarshal(b, &e) != nil {
		fmt.Fprintf(r.out, "%s\n", b)
		return
	}
	switch e.Action {
	case "build-output":
		text(r.build, e.ImportPath).WriteString(e.Output)
	case "build-fail":
		fmt.Fprint(r.out, text(r.build, e.ImportPath))
	case "output":
		text(r.run(e.Package).output, e.Test).WriteString(e.Output)
		if _, figures, ok := strings.Cut(e.Output, figuresMark); ok {
			fmt.Fprintf(r.out, "     %s: %s\n", e.Test, strings.TrimSpace(figures))
		}
	case "pass", "fail", "skip":
		p := r.run(e.Package)
		p.ends[e.Test] = e.Action
		if e.Test == "" {
			r.end(e, p)
		}
	}
}

func (r *report) run(pkg string) *packageRun {
	p := r.packages[pkg]
	if p == nil {
		p = &packageRun{output: map[string]*strings.Builder{}, ends: map[string]string{}}
		r.packages[pkg] = p
	}
	return p
}

func text(m map[string]*strings.Builder, key string) *strings.Builder {
	b := m[key]
	if b == nil {
		b = new(strings.Builder)
		m[key] = b
	}
	return b
}

// end counts a finished package and prints its line, after whatever failed or was skipped in it.
func (r *report) end(e event, p *packageRun) {
	delete(r.packages, e.Package)
	c := p.count()
	if e.Action == "fail" && c.failed == 0 {
		c.failed = 1
	}
	r.total.add(c)

	for _, test := range p.leaves() {
		switch p.ends[test] {
		case "fail":
			fmt.Fprintf(r.out, "FAIL %s %s\n%s", e.Package, test, indent(text(p.output, test).String()))
		case "skip":
			fmt.Fprintf(r.out, "skip %s %s\n%s", e.Package, test, indent(text(p.output, test).String()))
		}
	}
	switch {
	case e.Action == "fail":
		fmt.Fprint(r.out, p.unfinished())
		fmt.Fprint(r.out, text(p.output, ""))
		fmt.Fprintf(r.out, "FAIL %-60s %6.1fs  %s\n", e.Package, e.Elapsed, c)
	case c != counts{}:
		fmt.Fprintf(r.out, "ok   %-60s %6.1fs  %s\n", e.Package, e.Elapsed, c)
	}
}

// unfinished is the output of tests that began and never ended, which is where a panic or a timeout is told.
func (p *packageRun) unfinished() string {
	var s strings.Builder
	for test, out := range p.output {
		if test != "" && p.ends[test] == "" {
			s.WriteString(out.String())
		}
	}
	return s.String()
}

func (p *packageRun) count() (c counts) {
	for _, test := range p.leaves() {
		switch p.ends[test] {
		case "pass":
			c.passed++
		case "fail":
			c.failed++
		case "skip":
			c.skipped++
		}
	}
	return c
}

// leaves returns the tests that count, sorted: those without subtests, and fuzz targets without their seeds. A test that
// failed although every subtest of it passed counts as well.
func (p *packageRun) leaves() []string {
	parents, broken := map[string]bool{}, map[string]bool{}
	for test, end := range p.ends {
		for parent := up(test); parent != ""; parent = up(parent) {
			parents[parent] = true
			broken[parent] = broken[parent] || end == "fail"
		}
	}
	var leaves []string
	for test, end := range p.ends {
		seed := strings.HasPrefix(test, "Fuzz") && strings.Contains(test, "/")
		parent := parents[test] && !strings.HasPrefix(test, "Fuzz")
		if test == "" || seed && end != "fail" || parent && (end != "fail" || broken[test]) {
			continue
		}
		leaves = append(leaves, test)
	}
	slices.Sort(leaves)
	return leaves
}

func up(test string) string {
	i := strings.LastIndexByte(test, '/')
	if i < 0 {
		return ""
	}
	return test[:i]
}

// indent drops the lines by which `go test` frames a test and sets the rest in.
func indent(output string) string {
	var s strings.Builder
	for line := range strings.Lines(output) {
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "=== ") {
			continue
		}
		s.WriteString("    " + line)
	}
	return s.String()
}
