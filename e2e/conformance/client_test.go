package conformance_test

import (
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// scenarios is more than any suite for clients has; each has a server of its own, and most run at once.
const scenarios = 64

// The suite as a server, for the Go SDK's client. Authorization servers are reached directly, as in a mesh where only the
// MCP server is enrolled.
func TestClientSuites(t *testing.T) {
	n := peers.NeedNode(t)
	client, baseline := need(t, programs.client), need(t, programs.baseline)
	for _, tc := range []struct {
		name           string
		args           []string
		passed, failed int
	}{
		{"core", []string{"--suite", "core"}, 263, 0},
		{"all", []string{"--suite", "all", "--expected-failures", baseline}, 494, 13},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"client", "--command", client}, tc.args...)
			direct := runSuite(t, n, nil, args...)
			direct.expect(t, 0, tc.passed, tc.failed)
			for _, w := range ways {
				t.Run(w.name, func(t *testing.T) {
					lanes := "WAYMARK_LANES=" + dispatcher(t, newLanes(t, scenarios, w))
					compare(t, w, direct, runSuite(t, n, []string{lanes}, args...))
				})
			}
		})
	}
}
