package sse_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"waymark.dev/waypoint/pkg/sse"
)

// show renders events as Go values read, so that a table can say what was dispatched.
func show(events []*sse.Event) string {
	var b strings.Builder
	for _, e := range events {
		switch {
		case e.Comment:
			b.WriteString("[comment]")
			continue
		case e.HasData:
			fmt.Fprintf(&b, "[%q", e.Data)
		default:
			b.WriteString("[-")
		}
		if e.Name != "" {
			fmt.Fprintf(&b, " event=%s", e.Name)
		}
		if e.HasID {
			fmt.Fprintf(&b, " id=%q", e.ID)
		}
		if e.Retry != "" {
			fmt.Fprintf(&b, " retry=%s", e.Retry)
		}
		if e.Unterminated {
			b.WriteString(" unterminated")
		}
		b.WriteString("]")
	}
	return b.String()
}

func read(r io.Reader, limit int) ([]*sse.Event, error) {
	var events []*sse.Event
	for reader := sse.NewReader(r, limit); ; {
		e, err := reader.Next()
		if err == io.EOF {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

func TestReader(t *testing.T) {
	for _, tt := range []struct{ name, text, want, written string }{
		{"empty", "", "", ""},
		{"blank_lines", "\n\r\n\r\r\n", "", ""},
		{"LF", "data: a\n\n", `["a"]`, "data: a\n\n"},
		{"CRLF", "data: a\r\n\r\n", `["a"]`, "data: a\n\n"},
		{"bare_CR", "data: a\r\r", `["a"]`, "data: a\n\n"},
		{"mixed_line_ends", "event: x\rdata: a\r\ndata: b\n\r", `["a\nb" event=x]`, "event: x\ndata: a\ndata: b\n\n"},
		{"013_101_bare_CR_hides_a_second_event", "data: a\r\rdata: b\n\n", `["a"]["b"]`, "data: a\n\ndata: b\n\n"},
		{"013_102_several_data_lines", "data: {\ndata:  \"a\"\ndata: }\n\n", `["{\n \"a\"\n}"]`, "data: {\ndata:  \"a\"\ndata: }\n\n"},
		{"013_103_BOM", "\xef\xbb\xbfdata: a\n\n", `["a"]`, "data: a\n\n"},
		{"BOM_later_is_part_of_a_name", "data: a\n\n\xef\xbb\xbfdata: b\n\n", `["a"]`, "data: a\n\n"},
		{"013_104_unterminated_event", "data: a\n", `["a" unterminated]`, "data: a\n\n"},
		{"013_104_unterminated_line", "data: a", `["a" unterminated]`, "data: a\n\n"},
		{"013_107_id_with_NUL", "id: a\x00b\ndata: x\n\n", `["x"]`, "data: x\n\n"},
		{"no_space", "data:a\n\n", `["a"]`, "data: a\n\n"},
		{"two_spaces", "data:  a\n\n", `[" a"]`, "data:  a\n\n"},
		{"no_colon", "data\n\n", `[""]`, "data: \n\n"},
		{"no_colon_between", "data: a\ndata\ndata: b\n\n", `["a\n\nb"]`, "data: a\ndata: \ndata: b\n\n"},
		{"unknown_field", "foo: 1\nDATA: b\ndata: a\n\n", `["a"]`, "data: a\n\n"},
		{"priming", "id: 7\ndata:\n\n", `["" id="7"]`, "id: 7\ndata: \n\n"},
		{"id_alone", "id: 7\n\n", `[- id="7"]`, "id: 7\n\n"},
		{"id_reset", "id\ndata: a\n\n", `["a" id=""]`, "id: \ndata: a\n\n"},
		{"retry", "retry: 1500\n\n", `[- retry=1500]`, "retry: 1500\n\n"},
		{"retry_no_digits", "retry: 1.5\nretry: -1\nretry: +1\nretry:\ndata: a\n\n", `["a"]`, "data: a\n\n"},
		{"last_field_wins", "event: a\nevent: b\nid: 1\nid: 2\ndata: x\n\n", `["x" event=b id="2"]`, "event: b\nid: 2\ndata: x\n\n"},
		{"message_by_name", "event: message\ndata: a\n\n", `["a" event=message]`, "data: a\n\n"},
		{"event_without_anything", "event: message\n\nevent: x\n\n", `[- event=x]`, "event: x\n\n"},
		{"comment", ": ok\n\n", `[comment]`, ":\n\n"},
		{"comment_inside", "data: a\n: ping\ndata: b\n\n", `["a\nb"]`, "data: a\ndata: b\n\n"},
		{"comments_then_event", ":\n: x\ndata: a\n\n", `[comment][comment]["a"]`, ":\n\n:\n\ndata: a\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, err := read(strings.NewReader(tt.text), 1<<10)
			if got := show(events); got != tt.want || err != nil {
				t.Errorf("read %s, %v; want %s", got, err, tt.want)
			}
			slow, err := read(iotest.OneByteReader(strings.NewReader(tt.text)), 1<<10)
			if got := show(slow); got != tt.want || err != nil {
				t.Errorf("read byte by byte %s, %v; want %s", got, err, tt.want)
			}
			var written []byte
			for _, e := range events {
				written = e.Append(written)
			}
			if string(written) != tt.written {
				t.Errorf("written %q, want %q", written, tt.written)
			}
		})
	}
}

// An event is delivered when its blank line is there, not when the next byte is.
func TestReaderDoesNotWait(t *testing.T) {
	for _, text := range []string{"data: a\n\n", "data: a\r\r", "data: a\r\n\r\n", ": ping\n"} {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, text)
			// The pipe stays open: a reader that waits for more hangs the test.
		}()
		if _, err := sse.NewReader(r, 1<<10).Next(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		_ = r.Close()
	}
}

func TestReaderLimit(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string
		err        error
	}{
		{"013_105_line", "data: " + strings.Repeat("a", 100) + "\n\n", "", sse.ErrTooLarge},
		{"013_105_event_of_many_lines", strings.Repeat("data: a\n", 20), "", sse.ErrTooLarge},
		{"013_105_line_without_end", strings.Repeat("a", 1<<20), "", sse.ErrTooLarge},
		{"013_105_endless_comments_inside", "data: a\n" + strings.Repeat(": b\n", 30), "", sse.ErrTooLarge},
		{"second_event", "data: a\n\ndata: " + strings.Repeat("a", 100) + "\n\n", `["a"]`, sse.ErrTooLarge},
		{"many_small_events", strings.Repeat("data: a\n\n", 3), `["a"]["a"]["a"]`, nil},
		{"many_comments", strings.Repeat(": aaaaaaaaaaaaaaaa\n", 3), `[comment][comment][comment]`, nil},
		{"exactly", "data: " + strings.Repeat("a", 58) + "\n", `["` + strings.Repeat("a", 58) + `" unterminated]`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, err := read(strings.NewReader(tt.text), 64)
			if got := show(events); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("read %s, %v; want %s, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestReaderStaysFailed(t *testing.T) {
	broken := errors.New("broken")
	r := sse.NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), 64)
	if e, err := r.Next(); err != nil || string(e.Data) != "a" {
		t.Fatalf("first event %v, %v", e, err)
	}
	for range 2 {
		if e, err := r.Next(); e != nil || !errors.Is(err, broken) {
			t.Errorf("after the break: %v, %v; want the error and half an event dropped", e, err)
		}
	}
}

// Data that we wrote ourselves may hold a CR; every reader takes it for a line end, so it must not end the line unseen.
func TestAppendCR(t *testing.T) {
	e := sse.Event{HasData: true, Data: []byte("{\r\n}\r")}
	if got, want := string(e.Append(nil)), "data: {\ndata: \ndata: }\ndata: \n\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

// FuzzSSE holds that what is written is read back as it was judged, however it arrives, and that writing it again changes
// nothing.
func FuzzSSE(f *testing.F) {
	for _, s := range []string{
		"data: a\n\n", "data: a\r\rdata: b\r\n\r\n", "\xef\xbb\xbfid: 1\nretry: 5\nevent: x\ndata\ndata: {\n\n", ": c\n\ndata: last",
		"id: a\x00\n\n", "event: message\n\n", "data:\n\n", "\r\n\n\r", "event: endpoint\ndata: /x?y=z\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit = 1 << 12
		events, err := read(strings.NewReader(string(text)), limit)
		slow, slowErr := read(iotest.OneByteReader(strings.NewReader(string(text))), limit)
		if show(events) != show(slow) || !errors.Is(slowErr, err) {
			t.Fatalf("read at once %s, %v; byte by byte %s, %v", show(events), err, show(slow), slowErr)
		}
		var once []byte
		for _, e := range events {
			once = e.Append(once)
		}
		again, err := read(strings.NewReader(string(once)), 8*limit)
		if err != nil {
			t.Fatalf("our own writing %q: %v", once, err)
		}
		for _, e := range events { // the two differences that writing makes
			e.Unterminated = false
			if e.Name == "message" {
				e.Name = ""
			}
		}
		if show(again) != show(events) {
			t.Fatalf("written %q reads %s, want %s", once, show(again), show(events))
		}
		var twice []byte
		for _, e := range again {
			twice = e.Append(twice)
		}
		if string(twice) != string(once) {
			t.Fatalf("written twice %q, once %q", twice, once)
		}
	})
}
