package mcp_test

import (
	"bytes"
	"encoding/json" // v1, on purpose: what the most lenient client would read
	"net/http"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/mcp"
)

// seenBy returns the names of the tools and the URLs that a client finds which folds case, takes the last of two names and reads
// events the simplest way there is.
func seenBy(text []byte, stream bool) (names, urls []string) {
	messages := [][]byte{text}
	if stream {
		messages = nil
		for event := range strings.SplitSeq(string(text), "\n\n") {
			var data []string
			for line := range strings.SplitSeq(event, "\n") {
				if rest, ok := strings.CutPrefix(line, "data:"); ok {
					data = append(data, strings.TrimPrefix(rest, " "))
				}
			}
			messages = append(messages, []byte(strings.Join(data, "\n")))
		}
	}
	for _, message := range messages {
		message = bytes.TrimPrefix(message, []byte("\xef\xbb\xbf"))
		found := make([]lenientReply, 1)
		_ = json.NewDecoder(bytes.NewReader(message)).Decode(&found[0]) // takes bytes after the value
		if looks := bytes.TrimSpace(message); len(looks) > 0 && looks[0] == '[' {
			_ = json.NewDecoder(bytes.NewReader(message)).Decode(&found)
		}
		for _, m := range found {
			for _, tool := range m.Result.Tools {
				names = append(names, tool.Name)
			}
			urls = append(urls, m.urls()...)
		}
	}
	return names, urls
}

// lenientReply is an answer as such a client reads it.
type lenientReply struct {
	Result struct {
		Tools   []struct{ Name string }
		Content []struct{ Type, URI string }
	}
	Error struct {
		Code float64
		Data struct {
			Elicitations []struct{ URL string }
		}
	}
}

// urls are where it leads to.
func (m *lenientReply) urls() (urls []string) {
	for _, block := range m.Result.Content {
		if block.Type == "resource_link" && block.URI != "" {
			urls = append(urls, block.URI)
		}
	}
	if m.Error.Code == -32042 {
		for _, e := range m.Error.Data.Elicitations {
			if e.URL != "" {
				urls = append(urls, e.URL)
			}
		}
	}
	return urls
}

// judgedIn returns the names of the entries and the URLs that a policy was shown.
func judgedIn(items []*mcp.Item) (names, urls []string) {
	for _, it := range items {
		n, u := judgedIn(it.Batch())
		names, urls = append(names, n...), append(urls, u...)
		if it.Reply == nil {
			continue
		}
		for _, i := range it.Reply.Items {
			names = append(names, i.Target.Name)
		}
		for _, l := range it.Reply.Links {
			urls = append(urls, l.URI)
		}
		for _, c := range it.Reply.Asks {
			var params struct{ URL string }
			_ = json.Unmarshal(c.Arguments, &params)
			urls = append(urls, params.URL)
		}
	}
	return names, urls
}

// FuzzReplies holds that a tool which a policy hides is seen by no client, and that no client is led anywhere without a policy
// having seen it, whatever the server answers.
func FuzzReplies(f *testing.F) {
	link := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"resource_link","uri":"https://a/","name":"n"}]}}`
	away := sentAway("-32042", `,"data":{"elicitations":[{"mode":"url","url":"https://a/"}]}`)
	for i, in := range []reply{
		jsonReply(toolsResult), sseReply("data: " + toolsResult + "\n\n"), sseReply("\xef\xbb\xbfid: 1\rdata: " + toolsResult + "\r\r"),
		{404, http.Header{"Content-Type": {"text/plain"}}, toolsResult}, jsonReply("[" + toolsResult + "]"),
		jsonReply(strings.Replace(toolsResult, "tools", "Tools", 1)), jsonReply(strings.Replace(toolsResult, `"name":"wire"`, `"name":"read","Name":"wire"`, 1)),
		{400, http.Header{}, `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`}, sseReply("data: " + toolsResult),
		jsonReply(toolsResult + toolsResult), sseReply("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"tools\":[{\"name\":\"wire\"}]}}\n\n"),
		sseReply("event: close\nretry: 5\n\n: x\n\n"), jsonReply(asking(`{"method":"roots/list"}`)),
		jsonReply(link), jsonReply(away), {403, http.Header{}, strings.Replace(away, `"id":1`, `"id":null`, 1)},
		jsonReply("[" + strings.Replace(toolsResult, `"id":1`, `"id":2`, 1) + "," + link + "]"),
		sseReply("id: 1\ndata: [" + toolsResult + `,{"jsonrpc":"2.0","method":"notifications/x"}]` + "\n\ndata: [" + toolsResult + "]\n\n"),
	} {
		for kind := range 6 {
			f.Add(uint8(i+kind), in.status, in.header.Get("Content-Type"), []byte(in.body))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, status int, contentType string, body []byte) {
		m := []*request{
			listing(), modernListing(), get("text/event-stream", ""), listing().with(`"id":1`, `"id":"1"`),
			batched(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, partList), batched(partNote, `{"jsonrpc":"2.0","id":"1","method":"tools/list"}`),
		}[kind%6].message(t, mcp.Options{Batches: true})
		h := http.Header{}
		if contentType != "" {
			h["Content-Type"] = []string{contentType}
		}
		replies := m.Replies(status, h, bytes.NewReader(body))
		if replies.Mode() == mcp.Passthrough {
			return
		}
		items, _ := collect(replies)
		names, judged := judgedIn(items)
		hidden := slices.DeleteFunc(names, func(name string) bool { return name == "read" })
		shown := relayed(items, hidden...)
		seen, led := seenBy([]byte(shown), replies.Stream())
		for _, name := range seen {
			if name != "read" {
				t.Fatalf("a client sees %q in %q, of %q", name, shown, body)
			}
		}
		for _, url := range led {
			if !slices.Contains(judged, url) {
				t.Fatalf("a client is led to %q by %q, of %q", url, shown, body)
			}
		}
		unchanged(t, items)
	})
}

// unchanged holds that what is replaced by itself stays as it came.
func unchanged(t *testing.T, items []*mcp.Item) {
	for _, it := range items {
		unchanged(t, it.Batch())
		if it.Reply != nil && it.Reply.Final && it.Reply.Body != nil && it.Reply.Items == nil && !bytes.Equal(it.With(it.Reply.Body), it.Bytes()) {
			t.Fatalf("replacing a body by itself: %q, want %q", it.With(it.Reply.Body), it.Bytes())
		}
	}
}
