package mcp_test

import (
	"net/http"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// A tools/call of about 300 bytes, as the Go SDK sends it.
func call300(body string) *request {
	r := legacy().set("Mcp-Session-Id", "0123456789abcdef")
	r.body = body
	return r
}

const (
	legacy300 = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"_meta":{"progressToken":"17"},"name":"transfer_funds","arguments":` +
		`{"from":"DE89370400440532013000","to":"GB29NWBK60161331926819","amount":1250.50,"currency":"EUR","reference":"invoice 2026-1107"}}}`
	modern300 = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{}},"name":"read","arguments":{"path":"/srv/app/main.go","lines":[1,120]}}}`
)

func modernCall300() *request {
	r := modern()
	r.body = modern300
	return r
}

func BenchmarkDecode300(b *testing.B) {
	for _, bench := range []struct {
		name string
		r    *request
	}{{"legacy", call300(legacy300)}, {"modern", modernCall300()}} {
		b.Run(bench.name, func(b *testing.B) {
			body := []byte(bench.r.body)
			var c call.Call
			b.ReportAllocs()
			for b.Loop() {
				m, refusal := mcp.Decode(&bench.r.Request, body, mcp.Options{})
				if refusal != nil {
					b.Fatal(refusal.Reason)
				}
				m.Fill(&c)
			}
		})
	}
}

func BenchmarkReply2K(b *testing.B) {
	m, _ := call300(legacy300).decode(mcp.Options{})
	body := `{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"` + strings.Repeat("0123456789abcdef", 120) + `"}]}}`
	h := http.Header{"Content-Type": {"application/json"}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range m.Replies(200, h, strings.NewReader(body)).All() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops pooled readers")
	}
	for _, tt := range []struct {
		name string
		r    *request
	}{{"legacy", call300(legacy300)}, {"modern", modernCall300()}} {
		body := []byte(tt.r.body)
		var c call.Call
		got := testing.AllocsPerRun(200, func() {
			m, _ := mcp.Decode(&tt.r.Request, body, mcp.Options{})
			m.Fill(&c)
		})
		if got > 10 {
			t.Errorf("%s: %.0f allocations for a call of %d bytes, budget 10", tt.name, got, len(body))
		}
	}
}
