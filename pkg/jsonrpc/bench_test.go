package jsonrpc_test

import (
	"encoding/json" // v1, on purpose: the reader that performance is measured against
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// text2K is a tools/call of about 2 KB: what an agent sends when it edits a file.
var text2K = []byte(`{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"_meta":{"progressToken":17},"name":"edit_file","arguments":{` +
	`"path":"/srv/app/main.go","edits":[` + strings.Repeat(`{"line":120,"old":"return nil, err","new":"return nil, fmt.Errorf(\"read: %w\", err)"},`, 18) +
	`{"line":7,"old":"","new":"package main"}],"dryRun":false,"encoding":"utf-8","retries":3}}}`)

type edit struct {
	Path  string `json:"path"`
	Edits []struct {
		Line int    `json:"line"`
		Old  string `json:"old"`
		New  string `json:"new"`
	} `json:"edits"`
	DryRun   bool   `json:"dryRun"`
	Encoding string `json:"encoding"`
	Retries  int    `json:"retries"`
}

func BenchmarkCheck2K(b *testing.B) {
	b.SetBytes(int64(len(text2K)))
	b.ReportAllocs()
	for b.Loop() {
		if err := jsonrpc.Check(text2K, jsonrpc.RequestLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse2K(b *testing.B) {
	b.SetBytes(int64(len(text2K)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jsonrpc.Parse(text2K, jsonrpc.RequestLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingJSON2K is the floor of row 13 of the performance table.
func BenchmarkEncodingJSON2K(b *testing.B) {
	b.SetBytes(int64(len(text2K)))
	b.ReportAllocs()
	for b.Loop() {
		var m struct {
			JSONRPC string `json:"jsonrpc"`
			ID      int    `json:"id"`
			Method  string `json:"method"`
			Params  struct {
				Meta      map[string]any `json:"_meta"`
				Name      string         `json:"name"`
				Arguments edit           `json:"arguments"`
			} `json:"params"`
		}
		if err := json.Unmarshal(text2K, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAllocationBudget(t *testing.T) {
	for _, tt := range []struct {
		name string
		most float64
		run  func()
	}{
		{"Check", 0, func() { _ = jsonrpc.Check(text2K, jsonrpc.RequestLimits()) }},
		{"Parse", 3, func() { _, _ = jsonrpc.Parse(text2K, jsonrpc.RequestLimits()) }}, // the message, its members, its method
	} {
		if raceEnabled {
			t.Skip("the race detector drops pooled readers")
		}
		if got := testing.AllocsPerRun(200, tt.run); got > tt.most {
			t.Errorf("%s allocates %.1f times, budget %.0f", tt.name, got, tt.most)
		}
	}
}
