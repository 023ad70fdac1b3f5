package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
)

// play connects the agents, makes every call of the script and says how many came out wrong.
func (w *world) play(ctx context.Context, stdout io.Writer) (wrong int, err error) {
	for _, a := range w.agents() {
		if err := a.connect(ctx); err != nil {
			return 0, err
		}
		fmt.Fprintf(stdout, "%s  %s  MCP %s\n", a.name, a.id, a.session.InitializeResult().ProtocolVersion)
	}
	fmt.Fprintln(stdout)
	t := &table{out: stdout, colour: terminal(stdout)}
	if err := t.head(); err != nil {
		return 0, err
	}
	steps := w.steps()
	for _, s := range steps {
		r := w.judge(ctx, s)
		if r.wrong != "" {
			wrong++
		}
		if err := t.row(r); err != nil {
			return wrong, err
		}
	}
	fmt.Fprintf(stdout, "\n%d calls, %d as expected, %d not\n", len(steps), len(steps)-wrong, wrong)
	return wrong, nil
}

// judge makes one call and holds what its caller saw against what the waypoint recorded, what the tool server executed
// and what the step is there to show.
func (w *world) judge(ctx context.Context, s step) row {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	mark, before := w.waypoint.Audit().Len(), w.bank.Runs(s.tool)
	start := time.Now()
	got, err := s.do(ctx)
	r := row{caller: s.caller, call: s.call, verdict: got.verdict, reason: got.text, took: time.Since(start)}
	if err != nil {
		r.verdict, r.wrong, r.reason = "error", "want "+string(s.want), err.Error()
		return r
	}
	if s.record == nil {
		r.wrong = wrongVerdict(s, got)
		return r
	}
	rec, err := w.waypoint.Audit().Find(ctx, mark, s.record)
	if err != nil {
		r.wrong = err.Error()
		return r
	}
	if rec.Hidden > 0 && got.verdict == allowed {
		got.verdict, r.verdict = filtered, filtered
	}
	r.reason = reason(got, rec)
	r.wrong = firstOf(wrongVerdict(s, got), wrongRecord(s, got, rec), wrongNames(s, got), w.wrongRuns(s, got, before))
	return r
}

func wrongVerdict(s step, got seen) string {
	if got.verdict != s.want {
		return "want " + string(s.want)
	}
	return ""
}

// wrongRecord holds the waypoint's record against what the caller saw.
func wrongRecord(s step, got seen, rec testmesh.Record) string {
	passed := got.verdict == allowed || got.verdict == filtered
	if passed != rec.Allowed() {
		return fmt.Sprintf("the caller saw %q, the record says %q", got.verdict, rec.Verdict)
	}
	if rec.Code != string(s.code) {
		return fmt.Sprintf("the record says %q, want %q", rec.Code, s.code)
	}
	return ""
}

func wrongNames(s step, got seen) string {
	if s.shows != nil && !slices.Equal(got.names, s.shows) {
		return fmt.Sprintf("want %q", s.shows)
	}
	return ""
}

// wrongRuns is the proof behind a denial: the tool was not executed.
func (w *world) wrongRuns(s step, got seen, before int) string {
	if s.tool == "" {
		return ""
	}
	want := 0
	if got.verdict == allowed {
		want = 1
	}
	if ran := w.bank.Runs(s.tool) - before; ran != want {
		return fmt.Sprintf("%s ran %d times, want %d", s.tool, ran, want)
	}
	return ""
}

// reason is the waypoint's record, which is for the operator, and then what the caller was told, which is bland.
func reason(got seen, rec testmesh.Record) string {
	var parts []string
	if rec.Code != "" {
		parts = append(parts, rec.Code)
	}
	if rec.Policy != "" {
		parts = append(parts, rec.Policy+" "+rec.Rule)
	} else if rec.Reason != "" {
		parts = append(parts, rec.Reason)
	}
	if rec.Hidden > 0 {
		parts = append(parts, fmt.Sprintf("%d hidden", rec.Hidden))
	}
	if got.text != "" {
		parts = append(parts, got.text)
	}
	return strings.Join(parts, "; ")
}

func firstOf(problems ...string) string {
	for _, p := range problems {
		if p != "" {
			return p
		}
	}
	return ""
}
