package mcp_test

import (
	"encoding/json" // v1, on purpose: what the most lenient client would read
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/internal/mcpmatrix"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

// The same matrix in what a server sends. Whatever a client finds in what we write, by any reader there is, was judged.
func TestMatrixOfAnswers(t *testing.T) {
	for _, transport := range []mcpmatrix.Transport{mcpmatrix.Legacy, mcpmatrix.Modern, mcpmatrix.Original} {
		for _, carrier := range mcpmatrix.Carriers() {
			if transport == mcpmatrix.Original && carrier != mcpmatrix.Beside || transport == mcpmatrix.Modern && carrier == mcpmatrix.Beside {
				continue // there is no such thing
			}
			t.Run(string(transport)+"/"+string(carrier), func(t *testing.T) {
				fates := map[mcpmatrix.Fate]int{}
				for _, a := range some(mcpmatrix.Answers(transport, carrier)) {
					fates[a.Want]++
					checkAnswer(t, a, asker(t, transport, a))
				}
				t.Logf("%d pass, %d are faulty, %d lose an entry, %d do one or the other", fates[mcpmatrix.Passes], fates[mcpmatrix.Faulty],
					fates[mcpmatrix.Loses], fates[mcpmatrix.Either])
				if fates[mcpmatrix.Passes] < 30 || fates[mcpmatrix.Faulty] < 300 || fates[mcpmatrix.Loses] == 0 {
					t.Error("the matrix has shrunk")
				}
			})
		}
	}
}

// asker is the message that the answer answers.
func asker(t *testing.T, transport mcpmatrix.Transport, a mcpmatrix.Answer) *mcp.Message {
	t.Helper()
	var r *request
	switch {
	case a.Carrier == mcpmatrix.Beside:
		r = get("text/event-stream", "")
	case transport == mcpmatrix.Modern:
		r = modern().asks(a.Asked, a.Params).set("Mcp-Name", "read")
	default:
		r = legacy().asks(a.Asked, a.Params)
	}
	if transport == mcpmatrix.Original {
		r.unset("Mcp-Protocol-Version")
	}
	return r.message(t, mcp.Options{})
}

func checkAnswer(t *testing.T, a mcpmatrix.Answer, m *mcp.Message) {
	t.Helper()
	replies := reply{200, a.Header, string(a.Body)}.to(m)
	if replies.Mode() == mcp.Passthrough {
		media := strings.ToLower(a.Header.Get("Content-Type"))
		if strings.Contains(media, "json") || strings.Contains(media, "text/event-stream") {
			t.Errorf("%s: passes unread, but some client reads it as %s", a.Name, media)
		}
		return
	}
	items, err := collect(replies)
	out := show(items)
	switch a.Want {
	case mcpmatrix.Passes:
		if want := carried(a); err != nil || out != want {
			t.Errorf("%s: %.300q, %v; want %.300q", a.Name, out, err, want)
		}
	case mcpmatrix.Faulty:
		if !errors.Is(err, mcp.ErrUpstream) || out != "" {
			t.Errorf("%s: %.300q, %v; want a fault and nothing else", a.Name, out, err)
		}
	case mcpmatrix.Loses:
		if n := strings.Count(out, `"description"`); err != nil || n != 1 {
			t.Errorf("%s: %.300q, %v; want one entry of two", a.Name, out, err)
		}
	}
	known := judged(items)
	for _, text := range messages(out, replies.Stream()) {
		for _, found := range foundBy(text, a) {
			if !slices.Contains(known, found) {
				t.Errorf("%s: a client finds %q, which nobody judged, in %.400q", a.Name, found, out)
			}
		}
	}
}

// show is what is written if a policy hides what it does not know.
func show(items []*mcp.Item) string {
	var b strings.Builder
	for _, it := range items {
		b.Write(cut(it, []string{"smuggled", "smuggled:"}))
	}
	return b.String()
}

// carried is the one form in which a message arrives that passes.
func carried(a mcpmatrix.Answer) string {
	switch {
	case a.Carrier == mcpmatrix.JSON:
		return a.Text
	case strings.Contains(a.Name, "bare CR hides"):
		return ":\n\n" + mcpmatrix.Event(a.Text)
	}
	return mcpmatrix.Event(a.Text)
}

// judged lists what was shown to a policy: names of entries, links, and the URLs that a user is asked to open.
func judged(items []*mcp.Item) (found []string) {
	for _, it := range items {
		if it.Reply == nil {
			continue
		}
		for _, i := range it.Reply.Items {
			if !i.Faulty {
				found = append(found, i.Target.Name)
			}
		}
		for _, asks := range it.Reply.Asks {
			o, _ := jsonrpc.Members(asks.Arguments)
			url, _ := o.String("url")
			before, _, _ := strings.Cut(url, "\x00") // a policy sees the NUL
			found = append(found, asks.Method, url, before)
		}
		for _, link := range it.Reply.Links {
			before, _, _ := strings.Cut(link.URI, "\x00")
			found = append(found, link.URI, before)
		}
		if asks := it.Reply.Asks; asks == nil && !it.Reply.Final { // a notification names nothing that is judged
			found = append(found, "notifications/message", "notifications/progress", "notifications/resources/updated")
		}
	}
	return found
}

// messages are the texts that clients find: with the reader of the standard, and with one that splits lines where Python's
// str.splitlines does, as httpx-sse did up to 0.4.0.
func messages(out string, stream bool) (texts []string) {
	if !stream {
		return []string{out}
	}
	for _, ends := range []string{"\n", "\n|\r|\v|\f|\x1c|\x1d|\x1e|\u0085|\u2028|\u2029"} {
		var data []string
		for _, line := range append(regexp.MustCompile(ends).Split(out, -1), "") {
			if rest, ok := strings.CutPrefix(line, "data:"); ok {
				data = append(data, strings.TrimPrefix(rest, " "))
			}
			if line == "" && data != nil {
				texts, data = append(texts, strings.Join(data, "\n")), nil
			}
		}
	}
	return texts
}

// view is what a client makes of a message.
type view struct {
	Method string `json:"method"`
	Params asked  `json:"params"`
	Result struct {
		Tools, Prompts, Resources, ResourceTemplates []named
		Content                                      []struct{ Type, URI string }
		InputRequests                                map[string]struct {
			Method string
			Params asked
		}
	} `json:"result"`
	Error struct {
		Data struct{ Elicitations []asked }
	} `json:"error"`
}

type asked struct{ Mode, URL string }

type named struct{ Name, URI, URITemplate string }

var behindNUL = regexp.MustCompile(`\\u0000[^"]*"`)

// foundBy lists what lenient readers find in a message: one that folds case and takes the last of two members, and one that
// also stops at a NUL.
func foundBy(text string, a mcpmatrix.Answer) (found []string) {
	for _, text := range []string{text, behindNUL.ReplaceAllString(text, `"`)} {
		var v view
		_ = json.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).Decode(&v) // takes bytes after the value
		found = append(found, v.Method, v.Params.URL)
		for _, e := range v.entries(a) {
			found = append(found, e.Name, e.URI, e.URITemplate)
		}
		for _, block := range v.Result.Content {
			if block.Type == "resource_link" {
				found = append(found, block.URI)
			}
		}
		for _, q := range v.Result.InputRequests {
			found = append(found, q.Method, q.Params.URL)
		}
		for _, e := range v.Error.Data.Elicitations {
			found = append(found, e.URL)
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return s == "" })
}

// entries are those of the list that was asked for; on a stream beside the calls that is any. No client reads one list out of
// the answer to another request.
func (v *view) entries(a mcpmatrix.Answer) (list []named) {
	for method, entries := range map[string][]named{
		"tools/list": v.Result.Tools, "prompts/list": v.Result.Prompts, "resources/list": v.Result.Resources,
		"resources/templates/list": v.Result.ResourceTemplates,
	} {
		if a.Carrier == mcpmatrix.Beside || a.Asked == method {
			list = append(list, entries...)
		}
	}
	return list
}
