// Command tally runs `go test` in one or more modules, prints what failed and what was skipped and why, and ends with one
// line that both people and scripts can read:
//
//	go run ./internal/tally -modules '. cmd/demo' -race ./...
//	...
//	412 passed, 0 failed, 3 skipped
//
// Everything after -modules goes to `go test` as it is. A test with subtests counts as its subtests; a fuzz target counts
// as one test, however many seeds it has. A package that fails without a failing test (it does not compile, it leaks a
// goroutine, it panics) counts as one failure, and so does a run that matched no test at all: silence is not success.
//
// When the variable TALLY_FILE names a file, the counts are appended to it too, so that .ci/run can add up its steps.
package main
