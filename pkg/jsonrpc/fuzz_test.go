package jsonrpc_test

import (
	"bytes"
	"encoding/json" // v1, on purpose: what the most lenient Go server would execute
	"encoding/json/jsontext"
	"testing"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// FuzzParse holds the strict reader against two lenient ones. Whatever it accepts, encoding/json, which folds case and takes
// the last duplicate, and a map of the last duplicates read the same; and what it took apart, put together again, is the text.
func FuzzParse(f *testing.F) {
	for _, tt := range refused {
		if len(tt.text) < 4<<10 {
			f.Add([]byte(tt.text))
		}
	}
	f.Add([]byte(toolsCall))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"a","result":{"tools":[{"name":"x"}]}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		m, err := jsonrpc.Parse(text, jsonrpc.RequestLimits())
		if !bytes.Equal(before, text) {
			t.Fatal("Parse changed its input")
		}
		if (m == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v; want exactly one", m, err)
		}
		if err != nil {
			return
		}
		agree(t, m)
		rebuild(t, m)
	})
}

type envelope struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
}

func agree(t *testing.T, m *jsonrpc.Message) {
	var v1 envelope
	if err := json.Unmarshal(m.Raw, &v1); err != nil {
		t.Fatalf("encoding/json refuses what we accept: %v", err)
	}
	last := map[string]json.RawMessage{}
	if err := json.Unmarshal(m.Raw, &last); err != nil {
		t.Fatal(err)
	}
	var method string
	if raw, ok := last["method"]; ok {
		if err := json.Unmarshal(raw, &method); err != nil {
			t.Fatal(err)
		}
	}
	if m.Method != v1.Method || m.Method != method {
		t.Fatalf("method %q, encoding/json %q, last wins %q", m.Method, v1.Method, method)
	}
	for _, f := range []struct {
		name       string
		ours       []byte
		v1, lastOf json.RawMessage
	}{
		{"id", m.ID, v1.ID, last["id"]}, {"params", m.Params, v1.Params, last["params"]},
		{"result", m.Result, v1.Result, last["result"]}, {"error", m.Error, v1.Error, last["error"]},
	} {
		if !bytes.Equal(f.ours, f.v1) || !bytes.Equal(f.ours, f.lastOf) {
			t.Fatalf("%s %s, encoding/json %s, last wins %s", f.name, f.ours, f.v1, f.lastOf)
		}
	}
}

// rebuild splices every value back where it was found.
func rebuild(t *testing.T, m *jsonrpc.Message) {
	o, ok := jsonrpc.Members(m.Raw)
	if !ok {
		t.Fatal("an envelope without members")
	}
	for i := range o {
		if got := jsonrpc.Splice(m.Raw, &o[i], o[i].Value); !bytes.Equal(got, m.Raw) {
			t.Fatalf("splice of %q: %q, want %q", o[i].Name, got, m.Raw)
		}
		if !o[i].Value.IsValid(jsontext.AllowDuplicateNames(false)) {
			t.Fatalf("the value of %q is %q", o[i].Name, o[i].Value)
		}
		walk(t, o[i].Value)
	}
}

// walk takes a value apart all the way down and holds each piece against encoding/json.
func walk(t *testing.T, v jsontext.Value) {
	switch v.Kind() {
	case '{':
		o, ok := jsonrpc.Members(v)
		if !ok {
			t.Fatalf("no members in %q", v)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil || len(want) != len(o) {
			t.Fatalf("%d members in %q, encoding/json has %d (%v)", len(o), v, len(want), err)
		}
		for _, m := range o {
			if !bytes.Equal(want[m.Name], m.Value) {
				t.Fatalf("member %q is %q, encoding/json has %q", m.Name, m.Value, want[m.Name])
			}
			walk(t, m.Value)
		}
	case '[':
		elements, ok := jsonrpc.Elements(v)
		var want []json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil || !ok || len(want) != len(elements) {
			t.Fatalf("%d elements in %q, encoding/json has %d (%v)", len(elements), v, len(want), err)
		}
		for i, e := range elements {
			if !bytes.Equal(want[i], e.Value) {
				t.Fatalf("element %d is %q, encoding/json has %q", i, e.Value, want[i])
			}
			walk(t, e.Value)
		}
	case '"':
		var want string
		got, ok := jsonrpc.String(v)
		if err := json.Unmarshal(v, &want); err != nil || !ok || got != want {
			t.Fatalf("string %q is %q, encoding/json has %q", v, got, want)
		}
	}
}
