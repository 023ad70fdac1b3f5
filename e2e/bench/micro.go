package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// metric names a figure of a benchmark: its folder, the benchmark, and the unit as `go test` prints it.
type metric struct{ pkg, benchmark, unit string }

// micro is a row that comes from benchmarks beside the code: over divided by under, or over alone.
type micro struct {
	row
	over, under metric
	scale       float64 // multiplies the figure; 0 means 1
}

// The rows of the table of targets that in-process benchmarks can answer. For throughput the times are divided the other
// way round, so that more is better.
var micros = []micro{
	{row: row{number: "1", measure: "one HBONE stream, throughput", floor: "crypto/tls pair, 32 KB writes", reach: 0.95, fault: 0.70, unit: "×", higher: true},
		over: metric{"pkg/hbone", "ThroughputOneTLS", "ns/op"}, under: metric{"pkg/hbone", "ThroughputOneStream", "ns/op"}},
	{row: row{number: "2", measure: "8 streams on one connection, throughput", floor: "8 TLS connections", reach: 0.65, fault: 0.55, unit: "×", higher: true},
		over: metric{"pkg/hbone", "Throughput8TLS", "ns/op"}, under: metric{"pkg/hbone", "Throughput8StreamsOneConn", "ns/op"}},
	{row: row{number: "2", measure: "8 streams on two connections, throughput", floor: "8 TLS connections", reach: 0.90, fault: 0.55, unit: "×", higher: true},
		over: metric{"pkg/hbone", "Throughput8TLS", "ns/op"}, under: metric{"pkg/hbone", "Throughput8StreamsTwoConns", "ns/op"}},
	{row: row{number: "9", measure: "small stream beside bulk, p99", floor: "separate connections", reach: 3, fault: 10, unit: "×"},
		over: metric{"pkg/hbone", "SmallBesideBulk", "p99-µs"}, under: metric{"pkg/hbone", "SmallBesideBulkTLS", "p99-µs"}},
	{row: row{number: "9", measure: "the bulk beside it, throughput", floor: "separate connections", reach: 0.95, unit: "×", higher: true},
		over: metric{"pkg/hbone", "SmallBesideBulk", "bulk-MB/s"}, under: metric{"pkg/hbone", "SmallBesideBulkTLS", "bulk-MB/s"}},
	{row: row{number: "10", measure: "idle tunnel, memory of both ends", reach: 6, fault: 64, unit: "KB"},
		over: metric{"pkg/hbone", "IdleStream", "B/stream"}, scale: 1e-3},
	{row: row{number: "11", measure: "open + exchange + close, CPU", floor: "x/net on both ends", reach: 0.5, fault: 1, unit: "×"},
		over: metric{"pkg/hbone", "OpenExchangeClose", "cpu-µs/op"}, under: metric{"pkg/hbone", "OpenExchangeCloseStock", "cpu-µs/op"}},
	{row: row{number: "11", measure: "open + exchange + close, allocations", reach: 20, unit: ""},
		over: metric{"pkg/hbone", "OpenExchangeClose", "allocs/op"}},
	{row: row{number: "12", measure: "handshake, CPU of both ends", floor: "crypto/tls mTLS handshake", reach: 1.05, fault: 1.2, unit: "×"},
		over: metric{"pkg/hbone", "Handshake", "cpu-µs/op"}, under: metric{"pkg/hbone", "HandshakeTLS", "cpu-µs/op"}},
	{row: row{number: "13", measure: "strict JSON check, 2 KB", floor: "encoding/json into a struct", reach: 0.65, fault: 1, unit: "×"},
		over: metric{"pkg/jsonrpc", "Check2K", "ns/op"}, under: metric{"pkg/jsonrpc", "EncodingJSON2K", "ns/op"}},
	{row: row{number: "14", measure: "one CEL rule", floor: "the same rule in Go", reach: 10, fault: 40, unit: "×"},
		over: metric{"pkg/policy/authz", "Stage/cel=1", "ns/op"}, under: metric{"pkg/policy/authz", "Stage/hand", "ns/op"}},
	{row: row{number: "14", measure: "ten CEL rules", reach: 3, unit: "µs"},
		over: metric{"pkg/policy/authz", "Stage/cel=10", "ns/op"}, scale: 1e-3},
	{row: row{number: "15", measure: "a token from memory", floor: "the same token, RS256 verified", reach: 0.02, fault: 0.1, unit: "×"},
		over: metric{"pkg/identity/jwks", "VerifyCached", "ns/op"}, under: metric{"pkg/identity/jwks", "VerifyRS256", "ns/op"}},
	{row: row{number: "15", measure: "a token from memory", reach: 2, unit: "µs"},
		over: metric{"pkg/identity/jwks", "VerifyCached", "ns/op"}, scale: 1e-3},
	{row: row{number: "15", measure: "a token from memory, allocations", reach: 2, unit: ""},
		over: metric{"pkg/identity/jwks", "VerifyCached", "allocs/op"}},
	{row: row{number: "-", measure: "a chain of two actors against its rule", reach: 1, unit: "µs"},
		over: metric{"pkg/identity/chain", "Check", "ns/op"}, scale: 1e-3},
	{row: row{number: "18", measure: "10,000 workloads and 1,000 services, memory", reach: 120, unit: "MiB"},
		over: metric{"pkg/mesh/wds", "Memory", "MiB"}},
	{row: row{number: "18", measure: "one endpoint changes among 10,000 workloads", floor: "among 1,000", reach: 1.5, fault: 5, unit: "×"},
		over: metric{"pkg/mesh/wds", "UpdateEndpoint/workloads=10000", "ns/op"}, under: metric{"pkg/mesh/wds", "UpdateEndpoint/workloads=1000", "ns/op"}},
	{row: row{number: "18", measure: "one endpoint changes among 10,000 workloads", reach: 50, unit: "µs"},
		over: metric{"pkg/mesh/wds", "UpdateEndpoint/workloads=10000", "ns/op"}, scale: 1e-3},
	{row: row{number: "18", measure: "one policy of 1,000 changes, until a call is judged by it", reach: 10, unit: "ms"},
		over: metric{"pkg/ruleset", "ChangePolicy", "ns/op"}, scale: 1e-6},
	{row: row{number: "-", measure: "p99 of 50 clients beside 5,000 stuck peers", floor: "the same, quiet", reach: 2, unit: "×"},
		over: metric{"e2e/hostile", "Besieged", "p99-ratio"}},
}

// suites are the test binaries of the packages that have benchmarks for us, built once.
type suites struct {
	dir      string
	binaries map[string]string // by package
	missing  map[string]error
}

func buildSuites(dir string) *suites {
	s := &suites{dir: dir, binaries: map[string]string{}, missing: map[string]error{}}
	for _, m := range micros {
		pkg := m.over.pkg
		if s.binaries[pkg] != "" || s.missing[pkg] != nil {
			continue
		}
		binary := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")+".test")
		cmd := exec.Command("go", "test", "-c", "-o", binary, ".")
		cmd.Dir = folder(pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.missing[pkg] = fmt.Errorf("%s does not compile: %s", pkg, firstLine(out))
			continue
		}
		if _, err := os.Stat(binary); err != nil { // go test -c succeeds silently where there are no tests
			s.missing[pkg] = fmt.Errorf("%s has no tests", pkg)
			continue
		}
		s.binaries[pkg] = binary
	}
	return s
}

// round runs every benchmark once, rows in turn, and returns the figures. The two halves of a row follow one another
// directly: what disturbs one is likely to disturb the other.
func (s *suites) round(ctx context.Context) map[metric]float64 {
	figures := map[metric]float64{}
	for _, m := range micros {
		for _, half := range []metric{m.over, m.under} {
			if _, known := figures[half]; known || s.binaries[half.pkg] == "" {
				continue
			}
			maps.Copy(figures, s.run(ctx, half.pkg, half.benchmark))
		}
	}
	return figures
}

func folder(pkg string) string { return filepath.Join(repository, filepath.FromSlash(pkg)) }

// benchtime is long enough for the heap of a benchmark to settle, and short enough for every row to have its turn.
const benchtime = "500ms"

// run runs one benchmark. Its connections need both cores: both ends are in it.
func (s *suites) run(ctx context.Context, pkg, benchmark string) map[metric]float64 {
	parts := strings.Split(benchmark, "/")
	parts[0] = "Benchmark" + parts[0]
	time := benchtime
	if pkg == "e2e/hostile" { // a siege is long enough
		time = "1x"
	}
	cmd := exec.CommandContext(ctx, s.binaries[pkg], "-test.run", "^$", "-test.bench", "^"+strings.Join(parts, "$/^")+"$",
		"-test.benchtime", time, "-test.benchmem")
	cmd.Dir = folder(pkg)
	out, err := cmd.Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s %s: %v\n%s", pkg, benchmark, err, out)
		return nil
	}
	return parse(pkg, benchmark, string(out))
}

// parse reads the figures of a benchmark out of what `go test -bench` printed.
func parse(pkg, benchmark, out string) map[metric]float64 {
	figures := map[metric]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark"+benchmark) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				figures[metric{pkg, benchmark, fields[i+1]}] = v
			}
		}
	}
	return figures
}

// results divides, round by round: a ratio of medians would compare figures of different moments.
func (s *suites) results(rounds []map[metric]float64) []result {
	var all []result
	for _, m := range micros {
		r := result{row: m.row}
		for _, figures := range rounds {
			if v, ok := m.value(figures); ok {
				r.rounds = append(r.rounds, v)
			}
		}
		if len(r.rounds) == 0 {
			r.why = fmt.Sprintf("%s has no benchmark %s", m.over.pkg, m.over.benchmark)
			if err := s.missing[m.over.pkg]; err != nil {
				r.why = err.Error()
			}
		}
		all = append(all, r)
	}
	return all
}

func (m micro) value(figures map[metric]float64) (float64, bool) {
	v, ok := figures[m.over]
	if !ok {
		return 0, false
	}
	if m.under != (metric{}) {
		floor, ok := figures[m.under]
		if !ok || floor == 0 {
			return 0, false
		}
		v /= floor
	}
	if m.scale != 0 {
		v *= m.scale
	}
	return v, true
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
