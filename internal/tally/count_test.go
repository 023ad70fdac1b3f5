package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		events string
		want   counts
		print  string // a part of what is printed
	}{
		{"subtests count, their parents do not", `
			{"Action":"pass","Package":"p","Test":"TestA/one"}
			{"Action":"pass","Package":"p","Test":"TestA/two/deep"}
			{"Action":"pass","Package":"p","Test":"TestA/two"}
			{"Action":"pass","Package":"p","Test":"TestA"}
			{"Action":"pass","Package":"p"}`, counts{passed: 2}, "ok   p"},
		{"a parent that fails by itself counts", `
			{"Action":"pass","Package":"p","Test":"TestA/one"}
			{"Action":"fail","Package":"p","Test":"TestA"}
			{"Action":"fail","Package":"p"}`, counts{passed: 1, failed: 1}, "FAIL p TestA"},
		{"a failing subtest does not count twice", `
			{"Action":"output","Package":"p","Test":"TestA/one","Output":"a_test.go:3: got 1, want 2\n"}
			{"Action":"fail","Package":"p","Test":"TestA/one"}
			{"Action":"fail","Package":"p","Test":"TestA"}
			{"Action":"fail","Package":"p"}`, counts{failed: 1}, "FAIL p TestA/one\n    a_test.go:3: got 1, want 2\n"},
		{"a fuzz target counts once", `
			{"Action":"pass","Package":"p","Test":"FuzzA/seed#0"}
			{"Action":"pass","Package":"p","Test":"FuzzA/seed#1"}
			{"Action":"pass","Package":"p","Test":"FuzzA"}
			{"Action":"pass","Package":"p"}`, counts{passed: 1}, "1 passed"},
		{"a skip says why", `
			{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
			{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:9: needs h2load\n"}
			{"Action":"skip","Package":"p","Test":"TestA"}
			{"Action":"pass","Package":"p"}`, counts{skipped: 1}, "skip p TestA\n    a_test.go:9: needs h2load\n"},
		{"figures are shown of a test that passes", `
			{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:9: figures: 100 requests sent, 0 failed\n"}
			{"Action":"pass","Package":"p","Test":"TestA/one"}
			{"Action":"pass","Package":"p","Test":"TestA"}
			{"Action":"pass","Package":"p"}`, counts{passed: 1}, "     TestA/one: 100 requests sent, 0 failed\n"},
		{"a package that does not compile fails", `
			{"Action":"build-output","ImportPath":"p [p.test]","Output":"p/a.go:1:1: undefined: x\n"}
			{"Action":"build-fail","ImportPath":"p [p.test]"}
			{"Action":"fail","Package":"p"}`, counts{failed: 1}, "p/a.go:1:1: undefined: x"},
		{"a panic is shown", `
			{"Action":"run","Package":"p","Test":"TestA"}
			{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
			{"Action":"fail","Package":"p"}`, counts{failed: 1}, "panic: boom"},
		{"a package without tests is silent", `
			{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}
			{"Action":"skip","Package":"p"}`, counts{}, ""},
		{"what is no event is printed", `go: downloading example.com/x v1.0.0`, counts{}, "go: downloading"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			for line := range strings.Lines(strings.TrimSpace(tt.events)) {
				r.line([]byte(strings.TrimSpace(line)))
			}
			if got := r.total; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := out.String(); !strings.Contains(got, tt.print) || tt.print == "" && got != "" {
				t.Errorf("printed %q, want %q in it", got, tt.print)
			}
		})
	}
}
