package jsonrpc_test

import (
	"encoding/json/jsontext"
	"fmt"
	"testing"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

func TestMembers(t *testing.T) {
	text := jsontext.Value(` { "a" : 1 , "b\u0063":"x\"}" ,"":[{"}":"]"},2], "d":{}, "e" : null } `)
	o, ok := jsonrpc.Members(text)
	if !ok {
		t.Fatal("not an object")
	}
	got := ""
	for _, m := range o {
		got += fmt.Sprintf("%q=%s ", m.Name, m.Value)
		if string(text[m.Start:m.End]) != string(m.Value) {
			t.Errorf("%q stands at %d:%d, which holds %s", m.Name, m.Start, m.End, text[m.Start:m.End])
		}
	}
	if want := `"a"=1 "bc"="x\"}" ""=[{"}":"]"},2] "d"={} "e"=null `; got != want {
		t.Errorf("members %s, want %s", got, want)
	}
}

func TestElements(t *testing.T) {
	text := jsontext.Value(` [ 1 ,"a,]" , [2,[3]],{"x":[]} , true ] `)
	elements, ok := jsonrpc.Elements(text)
	if !ok {
		t.Fatal("not an array")
	}
	got := ""
	for _, e := range elements {
		got += string(text[e.Start:e.End]) + ";"
	}
	if want := `1;"a,]";[2,[3]];{"x":[]};true;`; got != want {
		t.Errorf("elements %s, want %s", got, want)
	}
	for _, text := range []string{``, ` `, `{}`, `1`, `"["`, `[1`} {
		if _, ok := jsonrpc.Elements(jsontext.Value(text)); ok {
			t.Errorf("Elements(%q) is an array", text)
		}
	}
}

// Members may be given bytes that nobody checked; it must not read past them.
func TestMembersOfBrokenText(t *testing.T) {
	for i := range toolsCall {
		if _, ok := jsonrpc.Members(jsontext.Value(toolsCall[:i])); ok {
			t.Errorf("Members(%q) is an object", toolsCall[:i])
		}
	}
}

func TestSet(t *testing.T) {
	for _, tt := range []struct{ text, name, value, want string }{
		{`{"a":1,"b":2}`, "a", `[3]`, `{"a":[3],"b":2}`},
		{` {"a" : 1 , "b":2} `, "b", `3`, ` {"a" : 1 , "b":3} `},
		{`{}`, "a", `1`, `{"a":1}`},
		{`{ } `, "a", `1`, `{ "a":1} `},
		{`{"b":"}"}`, "a", `1`, `{"b":"}","a":1}`},
	} {
		o, _ := jsonrpc.Members(jsontext.Value(tt.text))
		if got := string(o.Set([]byte(tt.text), tt.name, []byte(tt.value))); got != tt.want {
			t.Errorf("Set(%s, %s) = %s, want %s", tt.text, tt.name, got, tt.want)
		}
	}
}

func TestTwin(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"name":1,"uri":2}`, ""},
		{`{"name":1,"NAME":2}`, "NAME"},
		{`{"Uri":1}`, "Uri"},
		{`{"toK\u0065n":1}`, "toKen"},
		{`{"to\u212aen":1}`, "to\u212aen"}, // KELVIN SIGN
		{`{"cur\u017for":1}`, "cur\u017for"},
		{`{"names":1,"nam":2,"näme":3}`, ""},
		{`{"name\u0000":1}`, "name\x00"},
		{`{"name":1,"NAME\u0000x":1}`, "NAME\x00x"},
		{`{"nam\u0000e":1,"\u0000name":1}`, ""},
	} {
		o, _ := jsonrpc.Members(jsontext.Value(tt.text))
		if got := o.Twin("name", "uri", "token", "cursor"); got != tt.want {
			t.Errorf("Twin(%s) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestIDEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"1", "1", true}, {"1", "2", false}, {"1", `"1"`, false}, {`"a"`, `"\u0061"`, true}, {`"a"`, `"A"`, false},
		{"0", "-0", true}, {"", "", false}, {"", "1", false}, {`""`, `""`, true}, {`"x`, `"y"`, false},
	} {
		if got := jsonrpc.ID(tt.a).Equal(jsonrpc.ID(tt.b)); got != tt.want {
			t.Errorf("%q equal to %q: %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{string(jsonrpc.AppendError(nil, jsonrpc.ID("9007199254740991"), -32602, `Unknown tool: a"b`, nil)),
			`{"jsonrpc":"2.0","id":9007199254740991,"error":{"code":-32602,"message":"Unknown tool: a\"b"}}`},
		{string(jsonrpc.AppendError(nil, nil, -32700, "Parse error", nil)),
			`{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}`},
		{string(jsonrpc.AppendError(nil, jsonrpc.ID(`"\u0061"`), 1, "\xff", jsontext.Value(`{"a":1}`))),
			`{"jsonrpc":"2.0","id":"\u0061","error":{"code":1,"message":"` + "\ufffd" + `","data":{"a":1}}}`},
		{string(jsonrpc.AppendResult(nil, jsonrpc.ID("0"), jsontext.Value(`{}`))), `{"jsonrpc":"2.0","id":0,"result":{}}`},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

func TestMessageWith(t *testing.T) {
	m, err := jsonrpc.Parse([]byte(` {"params" : {"a":1},"method":"ping", "jsonrpc":"2.0"}`), jsonrpc.RequestLimits())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(m.WithParams([]byte(`{}`))), ` {"params" : {},"method":"ping", "jsonrpc":"2.0"}`; got != want {
		t.Errorf("WithParams = %s, want %s", got, want)
	}
	m, err = jsonrpc.Parse([]byte(`{"method":"ping","jsonrpc":"2.0"}`), jsonrpc.RequestLimits())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(m.WithParams([]byte(`{}`))), `{"method":"ping","jsonrpc":"2.0","params":{}}`; got != want {
		t.Errorf("WithParams = %s, want %s", got, want)
	}
}
