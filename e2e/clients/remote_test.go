package clients_test

import (
	"context"
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/e2e/peers"
)

// mcp-remote makes a remote server look like a program. The Go SDK's client talks to it over pipes, always with a handshake,
// whatever the bridge speaks on its other side.
func TestMCPRemote(t *testing.T) {
	n := peers.NeedNode(t)
	c := client{note: []string{moved, progress}, run: func(t *testing.T, p plan) []line {
		return walk(t, p, func(t *testing.T, tr transport, url string, h *hearing) (talker, error) {
			return goClient(t, &mcp.CommandTransport{Command: bridge(t, n, tr, url)}, versions[legacy], h)
		})
	}}
	c.on(t, legacy, sse)
	// In the modern form there is no such notification. Of the status that it demands for a method that is not there, the
	// bridge passes on the body as text only.
	c.note = []string{progress}
	c.odd = map[string]line{"masked: list " + templates: {
		Code:  -32001,
		Error: `mcp-remote: Error POSTing to endpoint: {"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"Method not found"}}`,
	}}
	c.on(t, modern)
}

// bridge prepares mcp-remote. It keeps its files away from those of whoever runs the test.
func bridge(t *testing.T, n peers.Node, tr transport, url string) *exec.Cmd {
	args := []string{url, "--allow-http", "--transport", "http-only"}
	switch tr {
	case modern:
		args = append(args, "--protocol", "auto")
	case sse:
		args[3] = "sse-only"
	}
	cmd := n.Program(context.WithoutCancel(t.Context()), "mcp-remote", args...)
	cmd.Env = append(cmd.Env, "MCP_REMOTE_CONFIG_DIR="+t.TempDir())
	return cmd
}
