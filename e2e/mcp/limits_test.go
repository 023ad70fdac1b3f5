package mcp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"waymark.dev/waypoint/cmd/demo/company"
)

// readCall is a whole request for Ada's account, padded to at least size bytes.
func readCall(size int) string {
	const envelope = `{"jsonrpc":"2.0","id":1,"method":"tools/call",` +
		`"params":{"name":"read_account","arguments":{"account":"A-100"},"_meta":{"pad":%q}}}`
	return fmt.Sprintf(envelope, strings.Repeat("x", max(size-len(envelope), 0)))
}

// A body over the limit is refused before anything reaches the server; one at the limit passes.
func TestBodyOverTheLimit(t *testing.T) {
	const limit = 64 << 10
	f := start(t, options{notes: map[string]string{"waymark.dev/max-body-bytes": fmt.Sprint(limit)}})
	s := f.session(t, "teller", legacy, nil)
	header := map[string]string{"Mcp-Protocol-Version": legacy, "Mcp-Session-Id": s.ID()}
	c := f.caller(t, "teller")
	for _, tc := range []struct {
		size, status, runs int
	}{
		{limit, http.StatusOK, 1},
		{limit + 1, http.StatusRequestEntityTooLarge, 0},
		{8 * limit, http.StatusRequestEntityTooLarge, 0},
	} {
		before := f.bank.Runs(company.ReadAccount)
		body := readCall(tc.size)
		if len(body) != tc.size {
			t.Fatalf("internal error: %d bytes, want %d", len(body), tc.size)
		}
		if got, answer := post(t, c, body, header); got != tc.status {
			t.Errorf("%d bytes: got %d %.200s, want %d", tc.size, got, answer, tc.status)
		}
		if got := f.bank.Runs(company.ReadAccount) - before; got != tc.runs {
			t.Errorf("%d bytes: the tool ran %d times, want %d", tc.size, got, tc.runs)
		}
	}
	alive(t, s)
}
