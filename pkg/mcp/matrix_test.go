package mcp_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/internal/mcpmatrix"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// The generated matrix: each member of the protocol × each way to misspell it × each transport. The verdict comes from the
// rules, what is forwarded arrives byte for byte, and what is forwarded is what a lenient server executes.
func TestMatrixOfRequests(t *testing.T) {
	for _, transport := range []mcpmatrix.Transport{mcpmatrix.Legacy, mcpmatrix.Modern, mcpmatrix.Original} {
		t.Run(string(transport), func(t *testing.T) {
			forwarded, refused := 0, 0
			for _, c := range some(mcpmatrix.Requests(transport)) {
				h := &call.Request{Method: "POST", Host: "company-mcp:3000", Path: "/mcp", Header: c.Header}
				m, r := mcp.Decode(h, bytes.Clone(c.Body), mcp.Options{})
				if (m != nil) != c.Want.Forward {
					t.Errorf("%s: forwarded %t, want %t: %.300q", c.Name, m != nil, c.Want.Forward, c.Body)
					continue
				}
				if m == nil {
					refused++
					wantRefusal(t, c, r)
					continue
				}
				forwarded++
				if !bytes.Equal(m.Encode(nil), c.Body) {
					t.Errorf("%s: forwards %.300q, want %.300q", c.Name, m.Encode(nil), c.Body)
				}
				agreeOn(t, m, c.Body)
			}
			t.Logf("%d forwarded, %d refused", forwarded, refused)
			if forwarded < 50 || refused < 500 {
				t.Errorf("%d forwarded and %d refused: the matrix has shrunk", forwarded, refused)
			}
		})
	}
}

// some is all of a matrix, but under the race detector, which makes it twenty times slower and has nothing to find in it, every
// seventh.
func some[T any](list []T) (kept []T) {
	if !raceEnabled {
		return list
	}
	for i := 0; i < len(list); i += 7 {
		kept = append(kept, list[i])
	}
	return kept
}

func wantRefusal(t *testing.T, c mcpmatrix.Request, r *mcp.Response) {
	t.Helper()
	if r.Status != c.Want.Status || rpcCode(t, r) != c.Want.Code {
		t.Errorf("%s: %d and %d because %q, want %d and %d", c.Name, r.Status, rpcCode(t, r), r.Reason, c.Want.Status, c.Want.Code)
	}
	if !slices.Contains([]call.Code{call.Malformed, call.Ambiguous, call.TooLarge}, r.Code) {
		t.Errorf("%s: recorded as %s", c.Name, r.Code)
	}
}

// In a batch, where one is read, the same rules hold for each element, and one that is refused takes the others with it.
func TestMatrixInBatches(t *testing.T) {
	const ping, note = `{"jsonrpc":"2.0","id":"ping","method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	forwarded, refused := 0, 0
	for _, c := range some(mcpmatrix.Requests(mcpmatrix.Legacy)) {
		c.Header["Mcp-Protocol-Version"] = []string{"2025-03-26"}
		h := &call.Request{Method: "POST", Host: "company-mcp:3000", Path: "/mcp", Header: c.Header}
		want := c.Want.Forward && !strings.HasPrefix(c.Name, "initialize/")
		for _, around := range [][2]string{{"[", "]"}, {"[" + ping + ",", "]"}, {" [", "," + note + " ]\n"}} {
			if strings.HasPrefix(c.Name, "answer/") && around[1] != "]" || strings.HasPrefix(c.Name, "answer/") && around[0] != "[" {
				continue // answers come with answers only
			}
			body := around[0] + string(c.Body) + around[1]
			m, _ := mcp.Decode(h, []byte(body), mcp.Options{Batches: true})
			if (m != nil) != want {
				t.Errorf("%s in a batch: forwarded %t, want %t: %.300q", c.Name, m != nil, want, body)
			}
			if m == nil {
				refused++
				continue
			}
			forwarded++
			if string(m.Encode(nil)) != body {
				t.Errorf("%s in a batch: forwards %.300q, want %.300q", c.Name, m.Encode(nil), body)
			}
		}
	}
	t.Logf("%d forwarded, %d refused", forwarded, refused)
}
