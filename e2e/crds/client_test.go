package crds_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	asJSON  = "application/json"
	asMerge = "application/merge-patch+json"
)

// send puts one request to the server.
func (s *server) send(ctx context.Context, method, path, contentType string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", asJSON)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// refusal is what the server says to an author, in the words and with the fields that kubectl shows.
type refusal struct {
	Message string `json:"message"`
	Details struct {
		Causes []struct {
			Field string `json:"field"`
		} `json:"causes"`
	} `json:"details"`
}

// unchecked is the field of a cause that is none: that rules were not looked at, because of the other causes.
const unchecked = "<nil>"

// fields lists the fields that the refusal is about, each once.
func (r *refusal) fields() []string {
	var fields []string
	seen := map[string]bool{}
	for _, c := range r.Details.Causes {
		if !seen[c.Field] && c.Field != unchecked {
			seen[c.Field] = true
			fields = append(fields, c.Field)
		}
	}
	return fields
}

// put sends an object. It returns the object as the server has it now, or the refusal.
func (s *server) put(t *testing.T, method, path, contentType string, object any) (map[string]any, *refusal) {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	status, answer, err := s.send(t.Context(), method, path, contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	if status >= 300 {
		r := &refusal{}
		if err := json.Unmarshal(answer, r); err != nil {
			t.Fatalf("%s %s: %d with no status: %s", method, path, status, answer)
		}
		return nil, r
	}
	var stored map[string]any
	if err := json.Unmarshal(answer, &stored); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return stored, nil
}

// must is put for what has to succeed.
func (s *server) must(t *testing.T, method, path, contentType string, object any) map[string]any {
	t.Helper()
	stored, r := s.put(t, method, path, contentType, object)
	if r != nil {
		t.Fatalf("%s %s: %s", method, path, r.Message)
	}
	return stored
}

func (s *server) get(t *testing.T, path string) map[string]any {
	t.Helper()
	status, answer, err := s.send(t.Context(), http.MethodGet, path, "", nil)
	var object map[string]any
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, &object)
	}
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return object
}

// kubectl runs the real one, and returns what it prints.
func (s *server) kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.programs, "kubectl"), append([]string{"--kubeconfig", s.kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// show is kubectl for what has to succeed.
func (s *server) show(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.kubectl(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
