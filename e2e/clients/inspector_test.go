package clients_test

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"os/exec"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// The Inspector's command line is a client for each command. It looks for a tool in the list before it calls it: one that is
// refused by name is not there. The refusal of an argument is what it meets on the way.
func TestInspector(t *testing.T) {
	n := peers.NeedNode(t)
	const hello = `[{"type":"text","text":"hello"}]`
	for _, tr := range []transport{legacy, modern, sse} {
		t.Run(string(tr), func(t *testing.T) {
			f := start(t)
			ask := func(caller, style string, args ...string) string {
				return inspect(t, n, f.url(t, caller, style, tr), tr, args...)
			}
			for _, tc := range []struct{ what, got, want string }{
				{"a tool", ask(clerk, "masked", use(greet)...), hello},
				{"a hidden tool", ask(clerk, "masked", use(forbidden)...), `tool_not_found: Tool 'forbidden' not found on server.`},
				{"masked", ask(clerk, "masked", use(spend, "amount=11")...), `error: Unknown tool: spend`},
				{"explained", ask(clerk, "explained", use(spend, "amount=11")...), `error: Not permitted`},
				{"result", ask(clerk, "result", use(spend, "amount=11")...), modelReads},
				{"within bounds", ask(clerk, "masked", use(spend, "amount=10")...), hello},
				{"a method", ask(clerk, "masked", "--method", templates), noTemplates(tr)},
				{"a question", ask(clerk, "masked", use(locate)...), asked(tr)},
				{"an answer", ask(mute, "masked", use(locate)...), answered(tr)},
				{"a notification", ask(shy, "masked", use(greet)...), hello},
			} {
				if tc.got != tc.want {
					t.Errorf("%s: got %s, want %s", tc.what, tc.got, tc.want)
				}
			}
			f.unharmed(t, tr)
			f.recorded(t, inspected(tr))
		})
	}
}

// What it prints in each case.
const modelReads = `tool error: [{"type":"text","text":"Not permitted (entitlement_denied)"}]`

func noTemplates(tr transport) string {
	if tr == modern { // it shows the body of an HTTP error as text
		return `error: Error POSTing to endpoint: {"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}`
	}
	return `error: Method not found`
}

func asked(tr transport) string {
	if tr == modern {
		return `error: Unknown tool: locate`
	}
	return `[{"type":"text","text":"error -32601 Method not found"}]`
}

func answered(tr transport) string {
	if tr == modern { // part of the repeated call: there is no message that could be refused
		return `[{"type":"text","text":"0 roots"}]`
	}
	return `[{"type":"text","text":"error -31403 Not permitted"}]`
}

// inspected are the refusals that its commands meet.
func inspected(tr transport) map[string]int {
	m := map[string]int{"clerk tools/call spend": 3, "clerk " + templates: 1, "clerk roots/list": 1}
	if tr == modern {
		m["clerk tools/call locate"] = 1
		return m
	}
	m["mute response"], m["shy notifications/initialized"] = 1, 1
	return m
}

// use are the arguments to call a tool.
func use(tool string, args ...string) []string {
	out := []string{"--method", "tools/call", "--tool-name", tool}
	for _, a := range args {
		out = append(out, "--tool-arg", a)
	}
	return out
}

// inspect runs one command and returns what it prints: the result, or the error's code and message.
func inspect(t *testing.T, n peers.Node, url string, tr transport, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	all := []string{"--cli", url, "--transport", "http", "--protocol-era", string(tr)}
	if tr == sse {
		all = []string{"--cli", url, "--transport", "sse", "--protocol-era", "legacy"}
	}
	cmd := n.Program(ctx, "mcp-inspector", append(append(all, args...), "--format", "json", "--quiet")...)
	cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return printed(t, out.Bytes(), said.Bytes())
}

// printed is the gist of one command's output: the content of a result, or the code and message of an error.
func printed(t *testing.T, out, said []byte) string {
	t.Helper()
	var r struct {
		Result struct {
			Content jsontext.Value `json:"content"`
			IsError bool           `json:"isError"`
		} `json:"result"`
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if len(out) == 0 {
		out = said
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s%s", err, out, said)
	}
	switch {
	case r.Error.Code != "":
		return r.Error.Code + ": " + r.Error.Message
	case r.Result.IsError:
		return "tool error: " + string(r.Result.Content)
	}
	return string(r.Result.Content)
}
