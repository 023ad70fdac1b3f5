package mcpmatrix

import (
	"net/http"
	"strings"
)

// Carrier is how a server's message gets to a client.
type Carrier string

// The carriers.
const (
	JSON   Carrier = "JSON body"
	Stream Carrier = "events of a POST"
	Beside Carrier = "events of a GET"
)

// Carriers lists them.
func Carriers() []Carrier { return []Carrier{JSON, Stream, Beside} }

// Fate is what must become of a server's message.
type Fate int

// The fates.
const (
	Passes Fate = iota + 1 // as it came
	Faulty                 // the answer ends with an error of ours
	Loses                  // the entry it spoils is gone, the rest is there
	Either                 // passes judged, or does not pass: never unjudged
)

// Answer is what a server sends to one who asked with Asked.
type Answer struct {
	Name    string
	Asked   string // the method
	Params  string // without the metadata of the transport
	Carrier Carrier
	Header  http.Header
	Body    []byte
	Text    string // of the message, without what is around it
	Want    Fate
}

// reply is a server's message that is as it should be.
type reply struct {
	name   string
	asked  string
	params string
	events bool // comes in event streams only
	root   *node
}

// Answers returns the matrix of what a server sends by one carrier to a client of one transport. The modern transport has no
// events but those of a POST, the original one none but those of a GET.
func Answers(t Transport, c Carrier) (list []Answer) {
	for _, r := range replies(t) {
		if r.events && c == JSON {
			continue
		}
		list = append(list, r.answer(c, "as it should be", r.root.text(nil, ""), Passes))
		list = append(list, r.members(c)...)
		list = append(list, r.bodies(c)...)
	}
	return list
}

func (r *reply) answer(c Carrier, name, text string, want Fate) Answer {
	a := Answer{Name: r.name + "/" + name, Asked: r.asked, Params: r.params, Carrier: c, Text: text, Want: want}
	a.Header, a.Body = http.Header{"Content-Type": {"application/json"}}, []byte(text)
	if c != JSON {
		a.Header, a.Body = http.Header{"Content-Type": {"text/event-stream"}}, []byte(Event(text))
	}
	return a
}

// Event is a message as an event. A line feed in it begins another data line, as a server would write it.
func Event(text string) string {
	return "data: " + strings.ReplaceAll(text, "\n", "\ndata: ") + "\n\n"
}

func (r *reply) members(c Carrier) (list []Answer) {
	ways := mutations()
	r.root.all(func(n *node) {
		for _, m := range ways {
			if spelled, ok := m.spell(n); ok {
				list = append(list, r.answer(c, n.name+"/"+m.name, r.root.text(n, spelled), n.fate(m, c)))
			}
		}
	})
	return list
}

// fate is what must become of an answer one member of which is spelled in the way m.
func (n *node) fate(m mutation, c Carrier) Fate {
	switch {
	case m.name == "10001 members", m.name == "spaces around" && c != JSON:
		return Either // within the limits of answers; a carriage return in an event ends a line
	case m.class == unreadable || m.class == duplicate || m.class == excessive:
		return Faulty
	case m.class == harmless && (n.place != outcome || m.name == "key in escapes"):
		return Passes
	case (m.class == twin || m.class == nulName) && n.place == free:
		return Passes
	case (m.class == twin || m.class == nulName || m.class == nulValue) && n.place == entry:
		return Loses
	case n.place == anyOf:
		return Either
	case m.class == twin || m.class == nulName:
		return Faulty
	}
	return Either
}

// bodies spoils the message as a whole.
func (r *reply) bodies(c Carrier) (list []Answer) {
	text := r.root.text(nil, "")
	for _, s := range spoils() {
		a := r.answer(c, s.name, s.bytes(text), Either)
		switch {
		case s.field == "Content-Type":
			continue // a media type chooses the carrier; charsets are below
		case s.field != "":
			a.Header[s.field] = s.lines
			a.Want = Faulty
			if len(s.lines) == 1 && s.lines[0] == "identity" {
				a.Want = Passes
			}
		}
		list = append(list, a)
	}
	for _, charset := range []string{"utf-16", "utf-7", "iso-8859-1", "us-ascii"} {
		a := r.answer(c, "charset "+charset, text, Faulty)
		a.Header["Content-Type"] = []string{a.Header["Content-Type"][0] + "; charset=" + charset}
		list = append(list, a)
	}
	for _, media := range mediaTypes {
		a := r.answer(c, "Content-Type "+media, text, Either)
		a.Header["Content-Type"] = []string{media}
		list = append(list, a)
	}
	if c != JSON {
		list = append(list, r.streams(c, text)...)
	}
	return list
}

// mediaTypes are those that some client takes for JSON or events and another does not.
var mediaTypes = []string{
	"application/json-seq", "application/jsonp", "APPLICATION/JSON", "text/json", "application/vnd.x+json", "application/json, text/html",
	"text/html; x=application/json", "text/event-stream-x", "text/event-stream, text/html", "TEXT/EVENT-STREAM", "text/html; x=\"text/event-stream\"",
	"application/text/event-stream", "text/event-stream;", "text/html", "",
}

// streams spoils the event around the message. hidden is a message that must not slip past with it.
func (r *reply) streams(c Carrier, text string) (list []Answer) {
	const hidden = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"smuggled"}]}}`
	for _, s := range []struct {
		name, body string
		want       Fate
	}{
		{"bare CR", "data: " + text + "\r\r", Passes},
		{"CRLF", "data: " + text + "\r\n\r\n", Passes},
		{"byte order mark of the stream", "\xef\xbb\xbfdata: " + text + "\n\n", Passes},
		{"no space", "data:" + text + "\n\n", Passes},
		{"unterminated", "data: " + text, Passes},
		{"line without a colon", "data\ndata: " + text + "\n\n", Either},
		{"other event", "event: other\ndata: " + hidden + "\n\ndata: " + text + "\n\n", Passes},
		{"event with a Cyrillic letter", "event: messag\u0435\ndata: " + hidden + "\n\ndata: " + text + "\n\n", Passes},
		{"event with a space behind", "event: message \ndata: " + hidden + "\n\ndata: " + text + "\n\n", Either},
		{"bare CR hides an event", ": x\rdata: " + hidden + "\r\rdata: " + text + "\n\n", Either},
		{"tab behind data", "data\t: " + hidden + "\n\ndata: " + text + "\n\n", Passes},
		{"upper case field", "DATA: " + hidden + "\n\ndata: " + text + "\n\n", Passes},
		{"byte order mark of an event", "\n\xef\xbb\xbfdata: " + hidden + "\n\ndata: " + text + "\n\n", Either},
		{"NUL in the id", "id: \x00\ndata: " + text + "\n\n", Passes},
		{"line separators", "data: " + separated(text) + "\n\n", Passes},
	} {
		a := r.answer(c, s.name, text, s.want)
		if a.Body = []byte(s.body); s.name == "line separators" {
			a.Text = separated(text)
		}
		list = append(list, a)
	}
	return list
}

// separated puts characters into a string of the message at which some readers end a line, and an event between them.
func separated(text string) string {
	const note = `"note":"x` + "\u2028\u2028data: {}\u2028\u0085\u2029" + `",`
	for _, open := range []string{`"result":{`, `"params":{`, `"data":{`} {
		if before, behind, ok := strings.Cut(text, open); ok {
			return before + open + note + behind
		}
	}
	return text
}
