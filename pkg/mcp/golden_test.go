package mcp_test

import (
	"bufio"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

var update = flag.Bool("update", false, "write what the code does into the golden sections")

// TestGolden runs every exchange of testdata: request is what a client of that revision sends, response what a server answers,
// hide the names this caller may not see; options are those of the route. call, parts, trimmed, items and relayed, or refusal,
// are what becomes of them.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sections := map[string]string{}
			for _, f := range a.Files {
				sections[f.Name] = string(f.Data)
			}
			got := exchange(t, sections)
			for i := range a.Files {
				f := &a.Files[i]
				if text, golden := got[f.Name]; golden {
					if !*update && text != string(f.Data) {
						t.Errorf("%s:\n%swant:\n%s", f.Name, text, f.Data)
					}
					f.Data = []byte(text)
					delete(got, f.Name)
				}
			}
			if *update {
				for _, name := range slices.Sorted(maps.Keys(got)) {
					a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
				}
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if len(got) > 0 {
				t.Errorf("the file has no section for %v", got)
			}
		})
	}
}

// exchange runs one file and returns its golden sections.
func exchange(t *testing.T, sections map[string]string) map[string]string {
	start, header, body := parseHTTP(t, sections["request"])
	target := strings.Fields(start)
	path, query, _ := strings.Cut(target[1], "?")
	h := &call.Request{Method: target[0], Path: path, Query: query, Host: header.Get("Host"), Header: header}
	delete(header, "Host")
	m, refusal := mcp.Decode(h, []byte(body), parseOptions(t, sections))
	got := map[string]string{}
	if refusal != nil {
		got["refusal"] = showResponse(refusal) + "reason: " + refusal.Reason + "\n"
		return got
	}
	c := filled(m)
	got["call"] = showCall(t, c)
	got["denied"] = showResponse(m.Deny(mcp.Denial{Code: call.EntitlementDenied}))
	if string(m.Encode(nil)) != body {
		t.Errorf("Encode(nil) = %s, want the bytes as they came", m.Encode(nil))
	}
	hidden := strings.Fields(sections["hide"])
	for _, part := range m.Parts() {
		got["parts"] += showCall(t, filled(part))
	}
	if m.Wants() != nil {
		got["trimmed"] = trimmed(m, hidden)
	}
	if sections["response"] == "" {
		return got
	}
	start, header, body = parseHTTP(t, sections["response"])
	status, err := strconv.Atoi(strings.Fields(start)[1])
	if err != nil {
		t.Fatal(err)
	}
	items, fault := collect(m.Replies(status, header, strings.NewReader(body)))
	got["items"] = showItems(t, items)
	got["relayed"] = strings.TrimSuffix(relayed(items, hidden...), "\n") + "\n"
	if fault != nil {
		got["fault"] = fault.Error() + "\n"
	}
	return got
}

func parseOptions(t *testing.T, sections map[string]string) mcp.Options {
	o := mcp.Options{Style: mcp.Style(strings.TrimSpace(sections["style"]))}
	for line := range strings.Lines(sections["options"]) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name {
		case "batches":
			o.Batches = true
		case "assumed":
			o.Assumed = mcp.ParseVersion(value)
		default:
			t.Fatalf("no such option: %s", line)
		}
	}
	return o
}

// trimmed is what a subscription becomes without the hidden names.
func trimmed(m *mcp.Message, hidden []string) string {
	keep := make([]bool, len(m.Wants()))
	for i, w := range m.Wants() {
		keep[i] = !slices.Contains(hidden, w.Name)
	}
	more := m.Trim(keep)
	return fmt.Sprintf("%s\nasks more: %t\n", m.Encode(nil), more)
}

func parseHTTP(t *testing.T, text string) (start string, header http.Header, body string) {
	head, body, _ := strings.Cut(text, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	start, fields, _ := strings.Cut(head, "\n")
	mime, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\n\n"))).ReadMIMEHeader()
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return start, http.Header(mime), body
}

func showCall(t *testing.T, c *call.Call) string {
	out := map[string]any{"protocol": c.Protocol, "direction": c.Direction, "method": c.Method, "intent": c.Intent}
	for name, v := range map[string]string{
		"version": c.Version, "session": c.Session, "target.kind": string(c.Target.Kind), "target.name": c.Target.Name,
		"trace.parent": c.Trace.Parent, "trace.state": c.Trace.State, "trace.link": c.Trace.Link,
	} {
		if v != "" {
			out[name] = v
		}
	}
	if c.Arguments != nil {
		out["arguments"] = c.Arguments
	}
	b, err := json.Marshal(out, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func showResponse(r *mcp.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d (%s)\n", r.Status, r.Code)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(&b, "%s\n", strings.TrimSuffix(string(r.Body), "\n"))
	}
	return b.String()
}

func showItems(t *testing.T, items []*mcp.Item) string {
	var b strings.Builder
	for _, it := range items {
		r := it.Reply
		switch uri, ok := it.Endpoint(); {
		case ok:
			fmt.Fprintf(&b, "endpoint %s\n", uri)
			continue
		case it.Batch() != nil:
			fmt.Fprintf(&b, "array\n%s", showItems(t, it.Batch()))
			continue
		case r == nil:
			b.WriteString("control\n")
			continue
		}
		switch {
		case r.Err != nil:
			fmt.Fprintf(&b, "%d error %s", r.Seq, r.Err)
		case r.Final:
			fmt.Fprintf(&b, "%d result", r.Seq)
		case r.Asks != nil:
			fmt.Fprintf(&b, "%d request", r.Seq)
		default:
			fmt.Fprintf(&b, "%d notice %s", r.Seq, r.Body)
		}
		b.WriteByte('\n')
		for _, asks := range r.Asks {
			fmt.Fprintf(&b, "  asks %s\n", strings.ReplaceAll(strings.TrimSpace(showCall(t, asks)), "\n", "\n  "))
		}
		for _, link := range r.Links {
			fmt.Fprintf(&b, "  links to %s\n", link.URI)
		}
		if h, ok := it.Handshake(); ok {
			fmt.Fprintf(&b, "  handshake of %s, client %v, server %v\n", h.Version, h.Client, h.Server)
		}
		for _, i := range r.Items {
			fmt.Fprintf(&b, "  %s %q faulty=%t %s\n", i.Target.Kind, i.Target.Name, i.Faulty, r.Body[i.Start:i.End])
		}
	}
	return b.String()
}
