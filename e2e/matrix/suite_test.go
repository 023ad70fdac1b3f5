package matrix_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

// suiteVariable names a folder with the files that github.com/nst/JSONTestSuite has in test_parsing. It is no Go module, so that
// no go.mod can ask for it, and its files are not copied into this repository: tools/jsonsuite finds them, and make e2e sets
// the variable.
const suiteVariable = "JSON_TEST_SUITE"

// The suite's files by the first letter of their names: y must be accepted, n must be refused, i is up to the reader. These are
// where we differ from y, on purpose, and what we have decided on i.
var (
	// A member named twice is JSON; but no two readers agree on what it means.
	refusedThough = []string{"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json", overLimit}
	// Numbers beyond what a float holds are carried as the bytes they are. All else that is up to us is refused: one number
	// too long, broken UTF-8, lone surrogates, byte order marks, UTF-16, and 500 arrays in one another.
	acceptedOfI = []string{
		"i_number_double_huge_neg_exp.json", "i_number_neg_int_huge_exp.json", "i_number_pos_double_huge_exp.json",
		"i_number_real_neg_overflow.json", "i_number_real_pos_overflow.json", "i_number_real_underflow.json",
		"i_number_too_big_neg_int.json", "i_number_too_big_pos_int.json", "i_number_very_big_negative_int.json",
	}
)

// overLimit holds a number of more bytes than anybody may send by default. Where that is allowed, it is accepted.
const overLimit = "y_number_double_close_to_zero.json"

// suiteSizes is how many files of each letter the suite has, at least.
var suiteSizes = map[byte]int{'y': 95, 'n': 188, 'i': 35}

// accepted is our verdict on a file.
func accepted(name string) bool {
	switch name[0] {
	case 'y':
		return !slices.Contains(refusedThough, name)
	case 'i':
		return slices.Contains(acceptedOfI, name)
	}
	return false
}

func TestJSONTestSuite(t *testing.T) {
	dir := os.Getenv(suiteVariable)
	if dir == "" {
		t.Skipf("%s does not name the files of JSONTestSuite, and tools/jsonsuite could not fetch them", suiteVariable)
	}
	files, err := filepath.Glob(filepath.Join(dir, "[yni]_*.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[byte]int{}
	for _, file := range files {
		name := filepath.Base(file)
		found[name[0]]++
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if refusal := jsonrpc.Check(text, jsonrpc.RequestLimits()); (refusal == nil) != accepted(name) {
			t.Errorf("%s: %v, want accepted %t", name, refusal, accepted(name))
		}
		if name == overLimit {
			limits := jsonrpc.RequestLimits()
			limits.Number = 128
			if refusal := jsonrpc.Check(text, limits); refusal != nil {
				t.Errorf("%s within a limit of 128 bytes: %v", name, refusal)
			}
		}
		neverDecoded(t, name, text)
		if name[0] == 'n' || name[0] == 'y' {
			within(t, name, text)
		}
	}
	for letter, want := range suiteSizes {
		if found[letter] < want {
			t.Errorf("%d files of %c, want %d at least", found[letter], letter, want)
		}
	}
	t.Logf("%d must be accepted, %d refused, %d are up to us", found['y'], found['n'], found['i'])
}

// neverDecoded posts a text of the suite as it is. None is a message of MCP.
func neverDecoded(t *testing.T, name string, text []byte) {
	t.Helper()
	m, r := mcp.Decode(post(), text, mcp.Options{})
	if m != nil || r.Status != http.StatusBadRequest && r.Status != http.StatusUnsupportedMediaType {
		t.Errorf("%s: decoded as a message, or refused with %+v", name, r)
	}
}

// within puts a text of the suite where a caller can put any value: it passes with the bytes it has, or not at all.
func within(t *testing.T, name string, text []byte) {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":` + string(text) + `}}}`
	m, _ := mcp.Decode(post(), []byte(body), mcp.Options{})
	if got := m != nil; got != accepted(name) && !completes(name, text) {
		t.Errorf("%s as an argument: decoded %t", name, got)
	}
	if m != nil && !strings.Contains(string(m.Encode(nil)), string(text)) {
		t.Errorf("%s as an argument: forwarded as %s", name, m.Encode(nil))
	}
}

// completes reports whether a text that is not JSON may be part of one: `1,"y":2` is.
func completes(name string, text []byte) bool {
	return name[0] == 'n' && strings.ContainsAny(string(text), ",}")
}

func post() *call.Request {
	return &call.Request{Method: http.MethodPost, Path: "/mcp", Header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-06-18"},
	}}
}
