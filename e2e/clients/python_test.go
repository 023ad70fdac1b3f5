package clients_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The official SDK for Python, version 1. A bare 4xx tears its whole transport down.
func TestPythonV1(t *testing.T) {
	py := needPython(t, "python-v1.txt")
	c := client{note: []string{moved, progress}, run: py.script("py1.py"), says: func(l line) line {
		if l.Code != 0 {
			l.Error = "McpError: " + l.Error
		}
		return l
	}}
	c.on(t, legacy, sse)
}

// Version 2, which speaks the modern form if it is told to find out.
func TestPythonV2(t *testing.T) {
	py := needPython(t, "python-v2.txt")
	c := client{note: []string{moved, progress}, run: py.script("py2.py"), says: func(l line) line {
		if l.Code != 0 {
			l.Error = "MCPError: " + l.Error
		}
		return l
	}}
	c.on(t, legacy, modern, sse)
}

// python is an interpreter with packages of its own.
type python string

// needPython returns an interpreter with the packages that a file in testdata lists. They are installed outside the checkout
// if nobody has yet; where that cannot be done the test is skipped and says what is missing.
func needPython(t *testing.T, requirements string) python {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("needs Python 3.10 or newer: %v", err)
	}
	list, err := filepath.Abs(filepath.Join("testdata", requirements))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := environment(list)
	if err != nil {
		t.Fatal(err)
	}
	interpreter := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(interpreter); err == nil {
		return python(interpreter)
	}
	if said, err := install(t.Context(), list, dir); err != nil {
		t.Skipf("needs the packages of testdata/%s, which pip could not install: %v: %s", requirements, err, said)
	}
	return python(interpreter)
}

// environment is where the packages of a list are kept: another list has another place.
func environment(list string) (string, error) {
	cache, err := os.UserCacheDir()
	text, err2 := os.ReadFile(list)
	if err := errors.Join(err, err2); err != nil {
		return "", err
	}
	return filepath.Join(cache, "waymark", fmt.Sprintf("python-%x", sha256.Sum256(text))[:24]), nil
}

// install makes an environment, whole or not at all. It returns the last of what was said.
func install(ctx context.Context, list, dir string) (string, error) {
	making, err := makingRoom(dir)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making)
	for _, args := range [][]string{
		{"python3", "-m", "venv", making},
		{filepath.Join(making, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--only-binary", ":all:", "--requirement", list},
	} {
		if said, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			lines := bytes.Split(bytes.TrimSpace(said), []byte("\n"))
			return string(lines[len(lines)-1]), err
		}
	}
	if err := os.Rename(making, dir); err != nil && !errors.Is(err, os.ErrExist) { // another was faster
		return "", err
	}
	return "", nil
}

func makingRoom(dir string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(filepath.Dir(dir), "making-")
}

// script runs a plan with a client in Python.
func (py python) script(name string) func(*testing.T, plan) []line {
	return func(t *testing.T, p plan) []line {
		return carryOut(t, p, func(ctx context.Context, plan string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, string(py), filepath.Join("testdata", name), plan)
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			return cmd
		})
	}
}
