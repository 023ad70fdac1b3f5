package mcp

import (
	"bytes"
	"io"
	"net/http"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// object yields a body that is one message, or an error page.
func (r *Replies) object(yield func(*Item, error) bool) {
	limit := int64(r.m.opt.Response.Bytes)
	raw, err := io.ReadAll(io.LimitReader(r.body, limit+1))
	switch {
	case err != nil:
		yield(nil, err)
		return
	case int64(len(raw)) > limit:
		yield(nil, faulty("a body over %d bytes", limit))
		return
	}
	it := &Item{m: r.m, raw: raw}
	if err := r.readObject(it); err != nil {
		yield(nil, err)
		return
	}
	yield(it, nil)
}

// readObject reads a whole body. A response must be the answer to the request, whatever the status: some clients read the
// body of an error status too. What is no response passes only where no client could take it for one.
func (r *Replies) readObject(it *Item) error {
	// 202 says that the answer comes elsewhere, as it always does on 2024-11-05; its text is for nobody.
	expected := r.success() && r.status != http.StatusAccepted && len(r.m.waiting()) > 0
	if len(bytes.TrimSpace(it.raw)) == 0 || !expected && !looksJSON(it.raw) {
		return nil
	}
	if r.m.batch != nil && isArray(it.raw) {
		if err := jsonrpc.Check(it.raw, r.m.opt.Response); err != nil {
			return faulty("%s", err.Cause)
		}
		return r.readArray(it, it.raw)
	}
	rpc, err := jsonrpc.Parse(it.raw, r.m.opt.Response)
	switch {
	case err == nil && rpc.Kind == jsonrpc.Response:
		return r.readResponse(it, rpc)
	case !expected && harmless(it.raw, r.m.opt.Response):
		return nil
	case err != nil:
		return faulty("%s", err.Cause)
	}
	return faulty("not a response")
}

// readResponse reads a response that came alone.
func (r *Replies) readResponse(it *Item, rpc *jsonrpc.Message) error {
	if rpc.ID != nil || r.success() { // a server that could not read the id leaves it out
		if err := r.match(it, rpc.ID); err != nil {
			return err
		}
	}
	return r.fill(it, rpc)
}

// looksJSON reports whether a lenient reader could find JSON in a body, also behind a byte order mark or in UTF-16.
func looksJSON(b []byte) bool {
	if wide(b) {
		return true
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// harmless reports whether a body is JSON in which no client finds a message that carries something.
func harmless(raw []byte, l jsonrpc.Limits) bool {
	if jsonrpc.Check(raw, l) != nil {
		return false
	}
	o, ok := jsonrpc.Members(raw)
	if !ok || o.Find("result") != nil || o.Find("method") != nil || o.Twin("result", "method") != "" {
		return false
	}
	return !mayElicit(o)
}
