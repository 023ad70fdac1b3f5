package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The table fits 100 columns: two spaces between columns, the reason wrapped within its own.
const (
	callerWidth  = 13
	callWidth    = 23
	verdictWidth = 9
	reasonWidth  = 40
	millisWidth  = 7
)

// row is one line of the table: what was done, what came of it and how long that took.
type row struct {
	caller  string
	call    string
	verdict verdict
	reason  string
	took    time.Duration
	wrong   string // why the row is not what was expected; empty if it is
}

// table prints rows as they happen, so that a slow call is seen to be slow.
type table struct {
	out    io.Writer
	colour bool
}

func (t *table) head() error {
	if err := t.line("CALLER", "CALL", t.pad("VERDICT", verdictWidth), "REASON", "MS"); err != nil {
		return err
	}
	dashes := func(n int) string { return strings.Repeat("-", n) }
	return t.line(dashes(callerWidth), dashes(callWidth), dashes(verdictWidth), dashes(reasonWidth), dashes(millisWidth))
}

func (t *table) row(r row) error {
	reason := r.reason
	if r.wrong != "" {
		reason = "UNEXPECTED: " + r.wrong + "; " + reason
	}
	lines := wrap(reason, reasonWidth)
	millis := fmt.Sprintf("%.1f", float64(r.took)/float64(time.Millisecond))
	if err := t.line(r.caller, r.call, t.paint(r), lines[0], millis); err != nil {
		return err
	}
	for _, l := range lines[1:] {
		if err := t.line("", "", t.pad("", verdictWidth), l, ""); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) line(caller, call, verdict, reason, millis string) error {
	s := fmt.Sprintf("%-*s  %-*s  %s  %-*s  %*s", callerWidth, caller, callWidth, call, verdict, reasonWidth, reason,
		millisWidth, millis)
	_, err := fmt.Fprintln(t.out, strings.TrimRight(s, " "))
	return err
}

// paint pads the verdict, in colour where the output is a terminal.
func (t *table) paint(r row) string {
	s := t.pad(string(r.verdict), verdictWidth)
	if !t.colour {
		return s
	}
	code := "31" // red: refused, denied, or not as expected
	switch {
	case r.wrong == "" && r.verdict == allowed:
		code = "32"
	case r.wrong == "" && r.verdict == filtered:
		code = "33"
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *table) pad(s string, width int) string { return fmt.Sprintf("%-*s", width, s) }

// wrap breaks s at spaces into lines of at most width runes; a longer word is cut. There is always one line.
func wrap(s string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(s) {
		w := []rune(word)
		last := []rune(lines[len(lines)-1])
		if len(last) > 0 && len(last)+1+len(w) <= width {
			lines[len(lines)-1] += " " + word
			continue
		}
		if len(last) > 0 {
			lines = append(lines, "")
		}
		for len(w) > width {
			lines[len(lines)-1] = string(w[:width])
			lines, w = append(lines, ""), w[width:]
		}
		lines[len(lines)-1] = string(w)
	}
	return lines
}

// terminal reports whether w shows colours to a person.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
