package clients_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// step is one thing that a client is told to do, and what must come of it.
type step struct {
	Do   string `json:"do"` // call a tool, list something, notify
	Name string `json:"name"`
	want line
}

// session is what one client object does, one step after the other.
type session struct {
	Name  string `json:"name"` // of the service or, if the caller is not the clerk, of the caller
	URL   string `json:"url"`
	Steps []step `json:"steps"`
}

// asked is what the client hears of the server's questions: nothing, unless it may be asked.
func (s session) asked() string {
	var methods []string
	for _, step := range s.Steps {
		if method, ok := asking[step.Name]; ok && s.Name == mute {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, " ")
}

// asking says what the tools ask for.
var asking = map[string]string{confirm: "elicitation/create", think: "sampling/createMessage", locate: "roots/list"}

// plan is what a program in another language gets to do.
type plan struct {
	Transport transport `json:"transport"`
	Sessions  []session `json:"sessions"`
}

// line is what came of a step, as the client reports it: the text of a result, the tool's own error, or a JSON-RPC error.
type line struct {
	Session string `json:"session"`
	Step    string `json:"step"`
	Text    string `json:"text"`
	Failed  bool   `json:"failed"` // the text is that of a result which says isError
	Code    int    `json:"code"`
	Error   string `json:"error"`
	Data    string `json:"data"`   // of a JSON-RPC error
	Broken  string `json:"broken"` // any other error: one that the client does not understand as an answer
}

func (l line) String() string {
	at := l.Session + ": " + l.Step + ": "
	switch {
	case l.Broken != "":
		return at + "BROKEN: " + l.Broken
	case l.Error != "" || l.Code != 0:
		return strings.TrimSpace(fmt.Sprintf("%s%d %s %s", at, l.Code, l.Error, l.Data))
	case l.Failed:
		return at + "tool error: " + l.Text
	}
	return at + l.Text
}

// What the protocol has for what was done, and for each form of a refusal.
var (
	hello     = line{Text: "hello"}
	sent      = line{Text: "sent"}
	noMethod  = line{Code: -32601, Error: "Method not found"}
	explained = line{Code: -31403, Error: "Not permitted", Data: `{"reason":"policy"}`}
	modelSees = line{Failed: true, Text: "Not permitted (entitlement_denied)"}
)

func masked(tool string) line { return line{Code: -32602, Error: "Unknown tool: " + tool} }

func call(tool string, want line) step     { return step{"call", tool, want} }
func list(method string, want line) step   { return step{"list", method, want} }
func notify(method string, want line) step { return step{"notify", method, want} }

// calm puts an allowed call before the first step and after each: after a refusal the client goes on.
func calm(steps ...step) []step {
	out := []step{call(greet, hello)}
	for _, s := range steps {
		out = append(out, s, call(greet, hello))
	}
	return out
}

// planFor is all that a client does on a transport. notes are the notifications it can send there.
func (f *fixture) planFor(t *testing.T, tr transport, notes []string) plan {
	t.Helper()
	refused := []step{call(forbidden, masked(forbidden)), list(templates, noMethod)}
	for _, method := range notes {
		refused = append(refused, notify(method, sent))
	}
	refused = append(refused, askedInVain(tr)...)
	p := plan{Transport: tr, Sessions: []session{
		{Name: "masked", URL: f.url(t, clerk, "masked", tr), Steps: calm(refused...)},
		{Name: "explained", URL: f.url(t, clerk, "explained", tr), Steps: calm(call(forbidden, explained))},
		{Name: "result", URL: f.url(t, clerk, "result", tr), Steps: calm(call(forbidden, modelSees))},
	}}
	if tr == modern { // there an answer is part of the repeated call: no message of its own that could be refused
		return p
	}
	return plan{tr, append(p.Sessions, session{Name: mute, URL: f.url(t, mute, "masked", tr), Steps: calm(unanswered()...)})}
}

// askedInVain are calls of tools that ask what the clerk may not be asked. Where the server asks with a request it gets an
// answer in the client's place; where it asks in its result that result is refused.
func askedInVain(tr transport) []step {
	if tr == modern {
		return []step{call(confirm, masked(confirm)), call(think, masked(think)), call(locate, masked(locate))}
	}
	return []step{
		call(confirm, line{Text: "decline"}),
		call(think, line{Text: "error -1 User rejected sampling request"}),
		call(locate, line{Text: "error -32601 Method not found"}),
	}
}

// unanswered are calls of tools that ask a client whose answers are refused: the server gets an error in their place.
func unanswered() []step {
	refused := line{Text: "error -31403 Not permitted"}
	return []step{call(confirm, refused), call(think, refused), call(locate, refused)}
}

// client is a program or a library under test.
type client struct {
	run  func(t *testing.T, p plan) []line // does what is planned and reports
	note []string                          // what it can notify
	says func(line) line                   // how it words what the protocol says; nil: as it is
	odd  map[string]line                   // by "session: step", what it makes of a step instead of what is wanted
	skip func(session, step) bool          // what it cannot do; nil: nothing
}

// on tests the client on each transport.
func (c client) on(t *testing.T, transports ...transport) {
	for _, tr := range transports {
		t.Run(string(tr), func(t *testing.T) { c.test(t, tr) })
	}
}

// test runs a client's plan on a transport and compares what it reports with what is wanted.
func (c client) test(t *testing.T, tr transport) {
	f := start(t)
	p := f.planFor(t, tr, c.note)
	if c.skip != nil {
		for i, s := range p.Sessions {
			p.Sessions[i].Steps = slices.DeleteFunc(s.Steps, func(step step) bool { return c.skip(s, step) })
		}
	}
	compare(t, c.run(t, p), c.wants(p))
	f.unharmed(t, tr)
	f.accounted(t, p)
}

// wants is what the client has to report, in order.
func (c client) wants(p plan) []line {
	var all []line
	for _, s := range p.Sessions {
		for _, step := range s.Steps {
			l := step.want
			if c.says != nil {
				l = c.says(l)
			}
			if odd, ok := c.odd[s.Name+": "+step.Do+" "+step.Name]; ok {
				l = odd
			}
			l.Session, l.Step = s.Name, step.Do+" "+step.Name
			all = append(all, l)
		}
		all = append(all, line{Session: s.Name, Step: "asked", Text: s.asked()})
	}
	return all
}

func compare(t *testing.T, got, want []line) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("the client did not get to: %s", want[i])
		case i >= len(want):
			t.Errorf("the client reports unasked: %s", got[i])
		case got[i].String() != want[i].String():
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}
