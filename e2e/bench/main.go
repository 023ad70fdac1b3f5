package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"

	"waymark.dev/waypoint/e2e/apart"
)

// repository is the top of the product's module, seen from the folder that `make bench` runs in.
const repository = ".."

func main() {
	apart.Main(roles)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rounds := flag.Int("rounds", 5, "how often each row is measured")
	only := flag.String("only", "", "micro or proxy: half of the rows")
	profiles := flag.String("profile", "", "instead of measuring, write profiles of the waypoint into this folder")
	flag.Parse()
	err := run(ctx, *rounds, *only, *profiles)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, only, profiles string) error {
	dir, err := os.MkdirTemp("", "waymark-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if profiles != "" {
		w, err := newWorld(ctx, dir)
		if err != nil {
			return err
		}
		return errors.Join(w.profile(ctx, profiles), w.close())
	}
	fmt.Printf("%s, %s/%s, %d cores, %d rounds\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), rounds)
	var all []result
	for _, half := range []struct {
		name string
		run  func(context.Context, string, int) ([]result, error)
	}{{"micro", runMicro}, {"proxy", runProxy}} { // proxy last: it pins this process to a core
		if only != "" && only != half.name {
			continue
		}
		results, err := half.run(ctx, dir, rounds)
		if err != nil {
			return err
		}
		all = append(all, results...)
	}
	slices.SortStableFunc(all, func(a, b result) int { return cmp.Compare(a.order(), b.order()) })
	write(os.Stdout, all)
	return nil
}

func runMicro(ctx context.Context, dir string, rounds int) ([]result, error) {
	s := buildSuites(dir)
	var figures []map[metric]float64
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "micro: round %d of %d\n", i+1, rounds)
		figures = append(figures, s.round(ctx))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return s.results(figures), nil
}

func runProxy(ctx context.Context, dir string, rounds int) (results []result, err error) {
	w, err := newWorld(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, r := range proxyRows {
		results = append(results, result{row: r.row, why: "the floor is lost in noise"})
	}
	idle := result{row: idleRow}
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "proxy: round %d of %d\n", i+1, rounds)
		samples, bytes, err := w.round(ctx)
		if err != nil {
			return nil, err
		}
		look := func(way string, size, rate int) sample { return samples[loadCase{way, size, rate}] }
		for i, r := range proxyRows {
			if v, ok := r.value(look); ok {
				results[i].rounds = append(results[i].rounds, v)
			}
		}
		idle.rounds = append(idle.rounds, bytes/1000)
		explain(os.Stderr, samples)
	}
	return append(results, idle), nil
}

// explain prints the absolute figures of a round: they are not results, but a result that surprises begins with them.
func explain(w io.Writer, samples map[loadCase]sample) {
	for _, c := range cases() {
		s := samples[c]
		fmt.Fprintf(w, "  %-7s %6d B %5d/s  %7.1f µs CPU  %6.1f allocs  p50 %7.0f µs  p99 %7.0f µs\n",
			c.way, c.size, c.rate, s.cpu, s.mallocs, s.p50, s.p99)
	}
}
