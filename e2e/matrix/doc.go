// Package matrix puts every hostile message there is on a waypoint through a real tunnel, on each transport of MCP, and looks at
// what a server behind it receives: what must be refused never arrives, and what passes arrives byte for byte.
//
// It also holds what needs peers that nobody here wrote: the decoder of the Go SDK as an oracle of what a server would run, and
// the files of JSONTestSuite (github.com/nst/JSONTestSuite). Those are not part of this repository: to run with them, let
// JSON_TEST_SUITE name the files of JSONTestSuite, which tools/jsonsuite fetches.
package matrix
