package conformance_test

import (
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// The suite as a client, against the Go SDK's server.
func TestServerSuites(t *testing.T) {
	n := peers.NeedNode(t)
	baseline := need(t, programs.baseline)
	for _, tc := range []struct {
		name           string
		form           string
		args           []string
		passed, failed int
	}{
		{"requirements 2025-11-25", sessions, []string{"--requirements", "2025-11-25"}, 82, 0},
		// All that fail are of the extension for tasks, which the server does not have and the suite does not score.
		{"requirements 2026-07-28", stateless, []string{"--requirements", "2026-07-28", "--expected-failures", baseline}, 165, 30},
		{"suite 2025-06-18", sessions, []string{"--suite", "all", "--spec-version", "2025-06-18"}, 56, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := goServer(t, tc.form)
			args := append([]string{"server", "--url", "http://" + server + "/mcp"}, tc.args...)
			direct := runSuite(t, n, nil, args...)
			direct.expect(t, 0, tc.passed, tc.failed)
			for _, w := range ways {
				t.Run(w.name, func(t *testing.T) {
					server := goServer(t, tc.form) // what the first run has changed in its server must not matter
					args := append([]string{"server", "--url", "http://" + server + "/mcp"}, tc.args...)
					redirect := "WAYMARK_REDIRECT=" + server + "=" + through(t, w, server)
					compare(t, w, direct, runSuite(t, n, []string{redirect}, args...))
				})
			}
		})
	}
}
