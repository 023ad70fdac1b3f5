package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// row is one line of the table: a measure, what to reach, and from where on something must be wrong.
type row struct {
	number  string // as in the table of targets
	measure string
	floor   string  // what it is divided by; empty for absolute figures
	reach   float64 // 0: a figure that explains another one, and has no target of its own
	fault   float64 // 0: there is none
	unit    string  // "×" for ratios
	higher  bool    // higher is better
}

// result is a row with what each round gave.
type result struct {
	row
	rounds []float64
	why    string // why there is nothing, if there is nothing
}

// noisy is the range around the median beyond which a figure should be measured again.
const noisy = 0.30

func (r result) verdict() string {
	m := median(r.rounds)
	worse := func(limit float64) bool { return r.higher && m < limit || !r.higher && m > limit }
	v := "reached"
	switch {
	case r.reach == 0:
		v = "-"
	case r.fault != 0 && worse(r.fault):
		v = "FAULT"
	case worse(r.reach):
		v = "short"
	}
	if lo, hi := slices.Min(r.rounds), slices.Max(r.rounds); hi-m > noisy*m || m-lo > noisy*m {
		v += ", noisy"
	}
	return v
}

// order sorts rows by their number.
func (r result) order() int {
	n, err := strconv.Atoi(r.number)
	if err != nil {
		return math.MaxInt
	}
	return n
}

func (r result) target() string {
	if r.reach == 0 {
		return "-"
	}
	op, not := "≤", ">"
	if r.higher {
		op, not = "≥", "<"
	}
	t := fmt.Sprintf("%s %s", op, figure(r.reach, r.unit))
	if r.fault != 0 {
		t += fmt.Sprintf(" (fault %s %s)", not, figure(r.fault, r.unit))
	}
	return t
}

func (r result) measured() string {
	return fmt.Sprintf("%s (%s to %s)", figure(median(r.rounds), r.unit),
		figure(slices.Min(r.rounds), ""), figure(slices.Max(r.rounds), r.unit))
}

// write writes the results as a Markdown table that is readable as text, too.
func write(w io.Writer, results []result) {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| # \t| measure \t| floor of the same run \t| target \t| measured, median (range) \t| verdict \t|")
	fmt.Fprintln(t, "| --- \t| --- \t| --- \t| --- \t| --- \t| --- \t|")
	for _, r := range results {
		measured, verdict := "-", "not measured: "+r.why
		if len(r.rounds) > 0 {
			measured, verdict = r.measured(), r.verdict()
		}
		floor := r.floor
		if floor == "" {
			floor = "-"
		}
		fmt.Fprintf(t, "| %s \t| %s \t| %s \t| %s \t| %s \t| %s \t|\n", r.number, r.measure, floor, r.target(), measured, verdict)
	}
	t.Flush()
}

// figure writes a number with three significant digits.
func figure(v float64, unit string) string {
	format := "%.2f"
	switch {
	case v >= 100 || v <= -100:
		format = "%.0f"
	case v >= 10 || v <= -10:
		format = "%.1f"
	}
	s := fmt.Sprintf(format, v)
	if unit != "" {
		s += " " + unit
	}
	return s
}

func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
