package rights_test

import (
	"encoding/json/jsontext"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity/rights"
)

func details(t testing.TB, s string) rights.Details {
	t.Helper()
	if s == "" {
		return nil
	}
	d, err := rights.ParseDetails(jsontext.Value(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d
}

func TestPermit(t *testing.T) {
	const one = `[{"type":"payment","tools":["transfer"],"arguments":{"/amount":{"maximum":100,"minimum":1},"/to/0":{"prefix":"DE"},"/currency":{"enum":["EUR","USD"]}}}]`
	const ok = `{"amount":100,"to":["DE1"],"currency":"EUR"}`
	tests := map[string]struct {
		details, typ, tool, arguments string
		want                          bool
	}{
		"fits":                  {one, "payment", "transfer", ok, true},
		"another spelling":      {one, "payment", "transfer", `{"amount":1e2,"to":["DE1"],"currency":"\u0045UR"}`, true},
		"too much":              {one, "payment", "transfer", `{"amount":100.0000001,"to":["DE1"],"currency":"EUR"}`, false},
		"huge":                  {one, "payment", "transfer", `{"amount":1e999999,"to":["DE1"],"currency":"EUR"}`, false},
		"too little":            {one, "payment", "transfer", `{"amount":0,"to":["DE1"],"currency":"EUR"}`, false},
		"a text":                {one, "payment", "transfer", `{"amount":"100","to":["DE1"],"currency":"EUR"}`, false},
		"missing":               {one, "payment", "transfer", `{"to":["DE1"],"currency":"EUR"}`, false},
		"another prefix":        {one, "payment", "transfer", `{"amount":1,"to":["FR1"],"currency":"EUR"}`, false},
		"another value":         {one, "payment", "transfer", `{"amount":1,"to":["DE1"],"currency":"GBP"}`, false},
		"in two spellings":      {one, "payment", "transfer", `{"amount":1,"Amount":1000,"to":["DE1"],"currency":"EUR"}`, false},
		"no arguments":          {one, "payment", "transfer", ``, false},
		"another tool":          {one, "payment", "withdraw", ok, false},
		"another type":          {one, "files", "transfer", ok, false},
		"no tools are all":      {`[{"type":"payment"}]`, "payment", "x", ``, true},
		"an empty list is none": {`[{"type":"payment","tools":[]}]`, "payment", "x", ``, false},
		"one of several":        {`[{"type":"a"},{"type":"payment","tools":["x"]}]`, "payment", "x", ``, true},
		"none at all":           {``, "payment", "x", ``, false},
		"a constant, reordered": {`[{"type":"a","arguments":{"/o":{"const":{"x":1,"y":2}}}}]`, "a", "t", `{"o":{"y":2.0,"x":1}}`, true},
		"another constant":      {`[{"type":"a","arguments":{"/o":{"const":null}}}]`, "a", "t", `{"o":0}`, false},
	}
	for name, tt := range tests {
		if got := details(t, tt.details).Permit(tt.typ, tt.tool, jsontext.Value(tt.arguments)); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if d := details(t, one); !d.Could("payment", "transfer") || d.Could("payment", "withdraw") || d.Could("files", "transfer") {
		t.Error("Could is not about type and tool")
	}
}

func TestParseDetails(t *testing.T) {
	for s, want := range map[string]string{
		`{}`:                          "authorization_details: is no list",
		`[1]`:                         "authorization_details[0]: is no object, or has a name twice",
		`[{}]`:                        "authorization_details[0]: has no type",
		`[{"type":""}]`:               "authorization_details[0]: has no type",
		`[{"type":"a","Tools":[]}]`:   "authorization_details[0]: has tools in another spelling",
		`[{"type":"a","tools":null}]`: "authorization_details[0]: tools: is no list of texts",
		`[{"type":"a","type":"b"}]`:   "authorization_details: is no list",
		`[{"type":"a","arguments":{"/x":{"max":1}}}]`:  "authorization_details[0]: arguments: is no object of bounds (const, enum, minimum, maximum, prefix)",
		`[{"type":"a","arguments":{"x":{"const":1}}}]`: "authorization_details[0]: arguments: has a name that is no JSON pointer, or a bound that is none",
		`[{"type":"a","arguments":{"/x":{}}}]`:         "authorization_details[0]: arguments: has a name that is no JSON pointer, or a bound that is none",
		`[{"type":"a","actions":"read"}]`:              "authorization_details[0]: actions: is no list of texts",
	} {
		if _, err := rights.ParseDetails(jsontext.Value(s)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", s, err, want)
		}
	}
}

func TestWithin(t *testing.T) {
	tests := []struct {
		less, more string
		want       bool
	}{
		{`[]`, `[]`, true},
		{`[{"type":"a"}]`, `[]`, false},
		{`[{"type":"a"}]`, `[{"type":"a"}]`, true},
		{`[{"type":"a","tools":["x"]}]`, `[{"type":"a"}]`, true},
		{`[{"type":"a"}]`, `[{"type":"a","tools":["x"]}]`, false},
		{`[{"type":"a","tools":["x","y"]}]`, `[{"type":"a","tools":["x"]}]`, false},
		{`[{"type":"a","arguments":{"/n":{"maximum":5}}}]`, `[{"type":"a","arguments":{"/n":{"maximum":6}}}]`, true},
		{`[{"type":"a","arguments":{"/n":{"maximum":7}}}]`, `[{"type":"a","arguments":{"/n":{"maximum":6}}}]`, false},
		{`[{"type":"a","arguments":{"/n":{"minimum":0}}}]`, `[{"type":"a","arguments":{"/n":{"maximum":6}}}]`, false},
		{`[{"type":"a","arguments":{"/n":{"const":3}}}]`, `[{"type":"a","arguments":{"/n":{"maximum":6}}}]`, true},
		{`[{"type":"a","arguments":{"/n":{"enum":[3,9]}}}]`, `[{"type":"a","arguments":{"/n":{"maximum":6}}}]`, false},
		{`[{"type":"a","arguments":{"/n":{"prefix":"abc"}}}]`, `[{"type":"a","arguments":{"/n":{"prefix":"ab"}}}]`, true},
		{`[{"type":"a","arguments":{"/n":{"prefix":"a"}}}]`, `[{"type":"a","arguments":{"/n":{"prefix":"ab"}}}]`, false},
		{`[{"type":"a","actions":["r"]}]`, `[{"type":"a","actions":["r","w"]}]`, true},
		{`[{"type":"a","actions":["w"]}]`, `[{"type":"a","actions":["r"]}]`, false},
		{`[{"type":"a"}]`, `[{"type":"a","identifier":"7"}]`, false},
		{`[{"type":"a","identifier":"7"}]`, `[{"type":"a","identifier":"7"}]`, true},
		{`[{"type":"a","new":true}]`, `[{"type":"a"}]`, false},
	}
	for _, tt := range tests {
		if err := details(t, tt.less).Within(details(t, tt.more)); (err == nil) != tt.want {
			t.Errorf("%s within %s: %v", tt.less, tt.more, err)
		}
	}
}

func TestNarrow(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	a := rights.Rights{Scope: []string{"r", "w", "x"}, NotAfter: at(100)}
	b := rights.Rights{Scope: []string{"w", "x"}, NotAfter: at(50)}
	got, err := rights.Narrow(rights.Rights{}, a, b)
	if err != nil || len(got.Scope) != 2 || !got.NotAfter.Equal(at(50)) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := rights.Narrow(rights.Rights{Scope: []string{}}, a, b); err != nil || len(got.Scope) != 0 {
		t.Errorf("nothing asked for on purpose: %+v, %v", got, err)
	}
	if _, err := rights.Narrow(rights.Rights{Scope: []string{"r"}}, a, b); err == nil || err.Error() != `scope: "r" is more than what was shown` {
		t.Errorf("got %v", err)
	}
	if got, err := rights.Narrow(rights.Rights{NotAfter: at(70)}, a, b); err != nil || !got.NotAfter.Equal(at(50)) {
		t.Errorf("a longer life is cut: %+v, %v", got, err)
	}
	if _, err := rights.Narrow(rights.Rights{}); err == nil {
		t.Error("nothing to narrow")
	}
}

// Whatever is read permits no more than itself, and is within itself.
func FuzzDetails(f *testing.F) {
	f.Add(`[{"type":"a","tools":["x"],"arguments":{"/n":{"maximum":5}}}]`, `{"n":4}`)
	f.Add(`[{"type":"a","arguments":{"/n":{"const":{"a":1}}},"identifier":"7"}]`, `{"n":{"a":1e0}}`)
	f.Fuzz(func(t *testing.T, s, arguments string) {
		d, err := rights.ParseDetails(jsontext.Value(s))
		if err != nil {
			return
		}
		if err := d.Within(d); err != nil {
			t.Errorf("%s is not within itself: %v", s, err)
		}
		again, err := rights.ParseDetails(d.Marshal())
		if err != nil {
			t.Errorf("%s was written as %s: %v", s, d.Marshal(), err)
		}
		for i := range d {
			if d.Permit(d[i].Type, "x", jsontext.Value(arguments)) != again.Permit(d[i].Type, "x", jsontext.Value(arguments)) {
				t.Errorf("%s says something else after it was written", s)
			}
		}
	})
}
