package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// reports lets through what a waypoint says about its configuration: that an edit was taken over, or why it was not.
type reports struct{ slog.Handler }

func newReports(out io.Writer) slog.Handler {
	return reports{slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: terse})}
}

func (r reports) Handle(ctx context.Context, rec slog.Record) error {
	if !strings.Contains(rec.Message, "configuration") {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

func (r reports) WithAttrs(a []slog.Attr) slog.Handler { return reports{r.Handler.WithAttrs(a)} }
func (r reports) WithGroup(name string) slog.Handler   { return reports{r.Handler.WithGroup(name)} }

// terse drops the level, which the message makes plain.
func terse(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}
