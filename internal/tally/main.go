package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// maxLine bounds one line of `go test -json`; a test may print a long one.
const maxLine = 64 << 20

// run returns 0 if everything passed, 1 if something failed and 2 if the tests could not be run.
func run(args []string, stdout, stderr io.Writer) int {
	modules := []string{"."}
	if len(args) > 1 && args[0] == "-modules" {
		modules, args = strings.Fields(args[1]), args[2:]
	}
	var total counts
	for _, dir := range modules {
		c, err := test(dir, args, stdout, stderr)
		if err != nil {
			fmt.Fprintf(stderr, "tally: %s: %v\n", dir, err)
			return 2
		}
		total.add(c)
	}
	if total == (counts{}) {
		fmt.Fprintln(stderr, "tally: no test matched")
		total.failed = 1
	}
	if err := record(os.Getenv("TALLY_FILE"), total); err != nil {
		fmt.Fprintf(stderr, "tally: %v\n", err)
		return 2
	}
	fmt.Fprintln(stdout, total)
	if total.failed > 0 {
		return 1
	}
	return 0
}

// test runs `go test` in the module at dir.
func test(dir string, args []string, stdout, stderr io.Writer) (counts, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, err
	}
	r := newReport(stdout)
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		r.line(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return counts{}, fmt.Errorf("reading the output of go test: %w", err)
	}
	// An exit status without a failure to explain it is a failure of the run itself: an unknown flag, a broken go.mod.
	if err := cmd.Wait(); err != nil && r.total.failed == 0 {
		r.total.failed = 1
		fmt.Fprintf(stderr, "tally: go test in %s: %v\n", dir, err)
	}
	return r.total, nil
}

// record appends the counts to a file, if one is named.
func record(path string, c counts) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d %d\n", c.passed, c.failed, c.skipped)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
