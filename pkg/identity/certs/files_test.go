package certs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func paths(dir string) (chain, key, roots string) {
	return filepath.Join(dir, certs.ChainFile), filepath.Join(dir, certs.KeyFile), filepath.Join(dir, certs.RootsFile)
}

func open(t *testing.T, dir string) *certs.Files {
	t.Helper()
	f, err := certs.NewFiles(paths(dir))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := certstest.NewCA(td).WriteFiles(dir, serverID); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir)
	m, err := f.Current()
	if err != nil || m.ID != serverID || f.Err() != nil {
		t.Errorf("got %+v, %v, %v", m, err, f.Err())
	}
	if _, err := certs.NewFiles("a", "", "c"); err == nil {
		t.Error("a missing path was accepted")
	}
}

// Each way in which a file can be unusable, at the start and after a good state. At the start the source is not ready;
// later it keeps what was good and says why.
func TestFilesThatCannotBeUsed(t *testing.T) {
	chain, key, roots := certs.ChainFile, certs.KeyFile, certs.RootsFile
	write := func(name, content string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(name string) func(t *testing.T, dir string) { // flips a character inside the base64
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(name, strings.Replace(string(b), "MI", "AA", 1))(t, dir)
		}
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"no chain", remove(chain), "no such file or directory"},
		{"no key", remove(key), "no such file or directory"},
		{"no roots", remove(roots), "no such file or directory"},
		{"empty chain", write(chain, ""), "cert-chain.pem is empty"},
		{"empty key", write(key, " \n"), "key.pem is empty"},
		{"empty roots", write(roots, "\n"), "root-cert.pem is empty"},
		{"chain is not PEM", write(chain, "hello"), "failed to find any PEM data in certificate input"},
		{"key is not PEM", write(key, "hello"), "failed to find any PEM data in key input"},
		{"roots are not PEM", write(roots, "hello"), "certs: roots: not PEM"},
		{"corrupt chain", flip(chain), "certs: certificate and key"},
		{"corrupt key", flip(key), "certs: certificate and key"},
		{"corrupt roots", flip(roots), "certs: roots: certificate 1"},
		{"text after the roots", func(t *testing.T, dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, roots))
			write(roots, string(b)+"-----BEGIN CERTIFICATE-----\ntruncated")(t, dir)
		}, "certs: roots: not PEM"},
		{"a broken root before a good one", func(t *testing.T, dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, roots))
			write(roots, "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"+string(b))(t, dir)
		}, "certs: roots: 1 of 2 PEM blocks are broken"},
		{"key among the roots", func(t *testing.T, dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, key))
			write(roots, string(b))(t, dir)
		}, `certs: roots: unexpected PEM block "PRIVATE KEY"`},
		{"huge roots", write(roots, strings.Repeat("a", 1<<20+1)), "is larger than 1048576 bytes"},
		{"key of another certificate", func(t *testing.T, dir string) {
			other := t.TempDir()
			if err := certstest.NewCA(td).WriteFiles(other, serverID); err != nil {
				t.Fatal(err)
			}
			b, _ := os.ReadFile(filepath.Join(other, key))
			write(key, string(b))(t, dir)
		}, "private key does not match public key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := certstest.NewCA(td).WriteFiles(dir, serverID); err != nil {
				t.Fatal(err)
			}
			good := open(t, dir)
			tt.spoil(t, dir)
			if m, err := open(t, dir).Current(); !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("at the start: %v, %v, want not ready because of %q", m, err, tt.want)
			}
			follow(t, good, 3*time.Second)
			if m, err := good.Current(); err != nil || m.ID != serverID {
				t.Errorf("after a good state: %v, %v, want the good state", m, err)
			}
			if err := good.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("after a good state: says %v, want %q", err, tt.want)
			}
		})
	}
}

// follow runs the source for that long, on a clock of its own.
func follow(t *testing.T, f *certs.Files, d time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesRotate(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewCA(td)
	if err := ca.WriteFiles(dir, serverID); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir)
	before, err := f.Current()
	if err != nil {
		t.Fatal(err)
	}
	follow(t, f, 3*time.Second)
	if same, err := f.Current(); err != nil || same != before {
		t.Errorf("nothing changed: got another material, %v", err)
	}
	if err := ca.WriteFiles(dir, clientID); err != nil {
		t.Fatal(err)
	}
	follow(t, f, 3*time.Second)
	if after, err := f.Current(); err != nil || after.ID != clientID || before.ID != serverID {
		t.Errorf("after rotation: got %v, %v", after, err)
	}
}

func TestFilesExpired(t *testing.T) {
	for name, from := range map[string]time.Duration{"expired": -2 * time.Hour, "not yet valid": time.Hour} {
		dir := t.TempDir()
		start := time.Now().Add(from)
		if err := certstest.NewCA(td).WriteFiles(dir, serverID, certstest.WithValidity(start, start.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		if m, err := open(t, dir).Current(); !errors.Is(err, certs.ErrNotReady) {
			t.Errorf("%s: got %v, %v, want %v", name, m, err, certs.ErrNotReady)
		}
	}
}
