package mcp

import (
	"net/http"
	"net/url"
	"strings"

	"waymark.dev/waypoint/pkg/sse"
)

// endpoint checks the event by which a 2024-11-05 server says where to POST: once, and on its own origin.
func (r *Replies) endpoint(it *Item) error {
	data := string(it.event.Data)
	if !r.m.streams() || r.opened || it.event.Unterminated {
		return faulty("an endpoint event out of place")
	}
	r.opened = true
	u, err := url.Parse(data)
	switch {
	case err != nil, strings.ContainsAny(data, "\\\n\t "):
		return faulty("an endpoint that is no URI")
	case u.Opaque != "", u.User != nil, u.Host == "" && (u.Scheme != "" || strings.HasPrefix(data, "//")):
		return faulty("an endpoint on another origin")
	case u.Host != "" && (u.Scheme != "http" || !strings.EqualFold(origin(u.Host), origin(r.m.head.Host))):
		return faulty("an endpoint on another origin")
	}
	it.endpoint = r.m.resolve(u)
	return nil
}

// origin leaves out the port that http has anyway.
func origin(host string) string { return strings.TrimSuffix(host, ":80") }

// resolve returns the request target that a client makes of a reference on the page it has just fetched, "" if it makes none.
func (m *Message) resolve(ref *url.URL) string {
	page, err := url.ParseRequestURI(m.head.Path)
	if err != nil {
		return ""
	}
	page.RawQuery = m.head.Query
	u := page.ResolveReference(ref)
	if u.RawQuery == "" {
		return u.EscapedPath()
	}
	return u.EscapedPath() + "?" + u.RawQuery
}

// Endpoint returns where the clients of a 2024-11-05 stream POST to, as path and query, if the item is the event that says so.
func (it *Item) Endpoint() (uri string, ok bool) { return it.endpoint, it.endpoint != "" }

// Inject renders a refusal, or that the server is not available, of a POST on the 2024-11-05 transport: the event for the
// stream on which its caller waits, and what to answer the POST with. Any other answer to the POST ends the caller's session
// (contract 8.4). There is no event if nobody waits.
func (m *Message) Inject(d Denial) (event []byte, r *Response) {
	if m.rpc == nil && m.batch == nil {
		return nil, m.Deny(d)
	}
	for _, w := range m.waiting() { // one by one: that revision has no arrays
		e := sse.Event{Data: w.denial(d), HasData: true}
		event = e.Append(append(event, "event: message\n"...)) // which Append leaves out, as most clients may do without
	}
	return event, &Response{Status: http.StatusAccepted, Header: http.Header{}, Code: d.Code}
}
