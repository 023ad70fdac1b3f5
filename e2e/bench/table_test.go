package main

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	results := []result{
		{row: row{number: "1", measure: "throughput", floor: "TLS", reach: 0.95, fault: 0.7, unit: "×", higher: true}, rounds: []float64{1.0, 0.98, 1.02}},
		{row: row{number: "3", measure: "cost", floor: "copy", reach: 1.05, fault: 2.5, unit: "×"}, rounds: []float64{2, 1.1, 1.2, 1.2}},
		{row: row{number: "5", measure: "added", reach: 12, fault: 25, unit: "µs"}, rounds: []float64{300}},
		{row: row{number: "9", measure: "p99", reach: 3, unit: "×"}, why: "nobody wrote it"},
	}
	var out strings.Builder
	write(&out, results)
	want := `
| #   | measure    | floor of the same run | target                   | measured, median (range) | verdict                       |
| --- | ---        | ---                   | ---                      | ---                      | ---                           |
| 1   | throughput | TLS                   | ≥ 0.95 × (fault < 0.70 ×) | 1.00 × (0.98 to 1.02 ×)  | reached                       |
| 3   | cost       | copy                  | ≤ 1.05 × (fault > 2.50 ×) | 1.20 × (1.10 to 2.00 ×)  | short, noisy                  |
| 5   | added      | -                     | ≤ 12.0 µs (fault > 25.0 µs) | 300 µs (300 to 300 µs) | FAULT                         |
| 9   | p99        | -                     | ≤ 3.00 ×                 | -                        | not measured: nobody wrote it |
`
	if got, want := squeeze(out.String()), squeeze(want); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// squeeze drops the padding of a table.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}
