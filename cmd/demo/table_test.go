package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTableFitsAHundredColumns(t *testing.T) {
	var out strings.Builder
	tab := &table{out: &out}
	rows := []row{
		{
			caller: "teller-agent", call: "read_account A-100", verdict: allowed,
			reason: "bank/tellers rules[0]", took: 2345 * time.Microsecond,
		},
		{
			caller: "intern-agent", call: "export_all", verdict: denied, took: 12 * time.Second, wrong: "want allowed",
			reason: strings.Repeat("a long reason ", 8) + strings.Repeat("x", 60),
		},
	}
	if err := tab.head(); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := tab.row(r); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, l := range lines {
		if len(l) > 100 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
	if got, want := lines[0], "CALLER         CALL                     VERDICT    REASON                                         MS"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := lines[2], "teller-agent   read_account A-100       allowed    bank/tellers rules[0]                         2.3"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := lines[3], "UNEXPECTED: want allowed;"; !strings.Contains(got, want) {
		t.Errorf("got %q, want it to contain %q", got, want)
	}
}

func TestColourOnlyWhereAsked(t *testing.T) {
	r := row{verdict: allowed}
	if got, want := (&table{}).paint(r), "allowed  "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (&table{colour: true}).paint(r), "\x1b[32mallowed  \x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.wrong = "want denied"
	if got, want := (&table{colour: true}).paint(r), "\x1b[31mallowed  \x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if terminal(new(strings.Builder)) {
		t.Error("a buffer is taken for a terminal")
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{"", []string{""}},
		{"one", []string{"one"}},
		{"one two three", []string{"one two", "three"}},
		{"abcdefghijklmno pq", []string{"abcdefgh", "ijklmno", "pq"}},
		{"été été été", []string{"été été", "été"}},
	} {
		if got := wrap(tc.in, 8); !slices.Equal(got, tc.want) {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}
