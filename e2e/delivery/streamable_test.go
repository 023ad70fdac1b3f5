package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// streamableForm is Streamable HTTP with sessions: 2025-03-26 to 2025-11-25.
type streamableForm struct{ *lane }

func (f *streamableForm) plans() []plan { return streamablePlans }

func (f *streamableForm) send(ctx context.Context, text string) (*http.Response, error) {
	return f.exchange(ctx, http.MethodPost, "/mcp", text, "Mcp-Session-Id", f.session, "Mcp-Protocol-Version", f.spoken())
}

// spoken is what the version header says: 2025-03-26 has none.
func (f *streamableForm) spoken() string {
	if f.session == "" || f.version == "2025-03-26" {
		return ""
	}
	return f.version
}

func (f *streamableForm) open(ctx context.Context) error {
	if f.session == "" {
		if err := f.begin(ctx); err != nil {
			return err
		}
	}
	f.beside.Go(f.stand)
	return f.post(ctx, initialized)
}

// begin makes the server open a session.
func (f *streamableForm) begin(ctx context.Context) error {
	resp, err := f.send(ctx, f.handshake())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	m, err := parse(b)
	if err != nil || m.Result == nil {
		return fmt.Errorf("%s: %q: %w", resp.Status, b, err)
	}
	f.session = resp.Header.Get("Mcp-Session-Id")
	if m.Result.Meta.Proof != f.prove.of(ofHello, f.who, f.session, 0) {
		f.book.report(stranger, "%s got the session of another", f.who)
	}
	return nil
}

// stand keeps the stream open that stands beside the calls, and comes back whenever the server ends it.
func (f *streamableForm) stand() {
	var at position
	for f.standing.Err() == nil {
		resp, err := f.get(f.standing, at.id)
		if err == nil {
			err = f.listen(resp.Body, newEvents(resp.Body), &at)
		}
		if err != io.EOF && !f.vanishes && f.standing.Err() == nil {
			f.book.report(broken, "the stream beside %s's calls (%s): %v", f.who, f.version, err)
			return
		}
	}
}

func (f *streamableForm) get(ctx context.Context, last string) (*http.Response, error) {
	if last != "" {
		f.book.resumed.Add(1)
	}
	resp, err := f.exchange(ctx, http.MethodGet, "/mcp", "", "Accept", "text/event-stream", "Mcp-Session-Id", f.session,
		"Mcp-Protocol-Version", f.spoken(), "Last-Event-Id", last)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = accepted(resp, nil)
	}
	return resp, err
}

// resumptions bounds how often a client comes back for one answer.
const resumptions = 3

func (f *streamableForm) carry(ctx context.Context, c *call) {
	ctx, cancel := f.until(ctx, c)
	defer cancel()
	if c.stop == races {
		f.beside.Go(func() {
			if pause(ctx, c.wait) {
				f.cancel(alone(f.standing), c)
			}
		})
	}
	resp, err := f.send(ctx, c.text("", ""))
	if err == nil {
		err = f.read(ctx, c, resp)
	}
	for range resumptions {
		if !f.waits(c) || c.at.id == "" {
			break
		}
		if resp, err = f.get(ctx, c.at.id); err == nil {
			err = f.read(ctx, c, resp)
		}
	}
	c.fruitless = err
}

func (f *streamableForm) close(ctx context.Context) error {
	f.hangUp()
	return accepted(f.exchange(ctx, http.MethodDelete, "/mcp", "", "Mcp-Session-Id", f.session, "Mcp-Protocol-Version", f.spoken()))
}
