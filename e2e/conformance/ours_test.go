package conformance_test

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// refused are requests that no server sees because two parsers could read them differently, or because nothing may follow from
// them. The suite sends them on purpose; the codes it gets are the server's, the words are ours.
var refused = []struct {
	theirs *regexp.Regexp // what the Go SDK's server says
	ours   string
}{
	{regexp.MustCompile(`^header mismatch: Mcp-(Method|Name) header value .* does not match body value .*$`), "Header mismatch"},
	{regexp.MustCompile(`^missing required Mcp-(Method|Name) header.*$`), "Header mismatch"},
	{regexp.MustCompile(`^Mcp-Protocol-Version header .* does not match request .*$`), "Header mismatch"},
	{regexp.MustCompile(`^missing or invalid _meta field ".*"$`), "Invalid params"},
	{regexp.MustCompile(`^unsupported protocol version$`), "Unsupported protocol version"},
	{regexp.MustCompile(`^method not found: "initialize"$`), "Method not found"},
	{regexp.MustCompile(`^JSON RPC not handled: "unknown/method" unsupported$`), "Method not found"},
}

// headers names those that are ours to change: they belong to one connection, or would let the server send what we cannot
// read (accept-encoding), or keep other proxies from holding events back (x-accel-buffering).
var headers = []string{"connection", "keep-alive", "accept-encoding", "x-accel-buffering"}

// A list that a policy filters differs from caller to caller, and must not say that a cache may give it to anybody.
var scopes = strings.NewReplacer(`"cacheScope":"public"`, `"cacheScope":"private"`)

// level returns a JSON value without what the waypoint is meant to change. It is applied to both sides.
func (w way) level(v any) any {
	switch v := v.(type) {
	case string:
		// Every event is written anew; "message" is the name that an event without one has.
		v = strings.ReplaceAll(v, "event: message\n", "")
		if w.policy != "" {
			v = scopes.Replace(v)
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = w.level(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = w.level(v[k])
		}
		w.levelMembers(out)
		return out
	}
	return v
}

func (w way) levelMembers(m map[string]any) {
	if m["event"] == "message" && m["data"] != nil {
		delete(m, "event")
	}
	if sent, ok := m["headers"].(map[string]any); ok {
		for _, h := range headers {
			delete(sent, h)
		}
	}
	if code, ok := m["code"].(float64); ok && code < -32000 {
		if message, ok := m["message"].(string); ok {
			m["message"] = reworded(message)
		}
	}
	if versions, ok := m["supported"].([]any); ok { // a set
		slices.SortFunc(versions, func(a, b any) int { return cmp.Compare(a.(string), b.(string)) })
	}
	if w.policy != "" && m["cacheScope"] == "public" {
		m["cacheScope"] = "private"
	}
}

func reworded(message string) string {
	for _, r := range refused {
		if r.theirs.MatchString(message) {
			return r.ours
		}
	}
	return message
}

// closing matches the checks that count the Go SDK's event "close", which is empty. Clients heed the retry in it and ignore
// the rest; we pass on the retry alone, which this suite does not count (TestPollingStreams does).
var closing = regexp.MustCompile(`^(stream-closed|server-sse-priming-event)$`)

func (c check) level(w way) check {
	c.Details = w.level(c.Details)
	details, ok := c.Details.(map[string]any)
	if ok && closing.MatchString(c.ID) && details["receivedToolResponse"] != true {
		delete(details, "eventCount")
		c.Description = closed.ReplaceAllString(c.Description, "after some event(s)")
	}
	return c
}

var closed = regexp.MustCompile(`after \d+ event\(s\)`)
