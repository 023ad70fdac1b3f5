package clients_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// The official SDK for TypeScript, version 1. An error's message repeats its code.
func TestTypeScriptV1(t *testing.T) {
	c := client{note: []string{moved, progress, unheard}, run: script("ts1.mjs"), says: func(l line) line {
		if l.Code != 0 {
			l.Error = fmt.Sprintf("McpError: MCP error %d: %s", l.Code, l.Error)
		}
		return l
	}}
	c.on(t, legacy, sse)
}

// Version 2, which speaks the modern form if it is told to find out.
func TestTypeScriptV2(t *testing.T) {
	c := client{note: []string{moved, progress, unheard}, run: script("ts2.mjs"), says: func(l line) line {
		if l.Code != 0 {
			l.Error = "ProtocolError: " + l.Error
		}
		return l
	}}
	c.on(t, legacy, sse)
	// In the modern form it does not send notifications of older ones. Of the status that the form demands for a method that
	// is not there, it shows the body as text only.
	c.note = []string{progress, unheard}
	c.odd = map[string]line{"masked: list " + templates: {Broken: `SdkHttpError CLIENT_HTTP_NOT_IMPLEMENTED: ` +
		`Error POSTing to endpoint: {"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"Method not found"}}`}}
	c.on(t, modern)
}

// script runs a plan with a client in JavaScript. Modules find their packages by the folder they lie in.
func script(name string) func(*testing.T, plan) []line {
	return func(t *testing.T, p plan) []line {
		n := peers.NeedNode(t)
		dir := t.TempDir()
		err := errors.Join(os.CopyFS(dir, os.DirFS("testdata")), os.Symlink(n.Path(), filepath.Join(dir, "node_modules")))
		if err != nil {
			t.Fatal(err)
		}
		return carryOut(t, p, func(ctx context.Context, plan string) *exec.Cmd {
			return n.Script(ctx, filepath.Join(dir, name), plan)
		})
	}
}

// carryOut hands a plan to a program, as its argument, and reads the report it prints.
func carryOut(t *testing.T, p plan, program func(ctx context.Context, plan string) *exec.Cmd) []line {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	cmd := program(ctx, string(text))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, said.Bytes())
	}
	return report(t, out)
}

// report reads lines of JSON.
func report(t *testing.T, out []byte) []line {
	t.Helper()
	var lines []line
	for r := bytes.NewBuffer(out); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return lines
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, l)
	}
}
