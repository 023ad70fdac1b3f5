package delivery_test

import (
	"context"
	"fmt"
	"net/http"
)

// modernForm is 2026-07-28: no sessions, and every POST says what it carries.
type modernForm struct{ *lane }

func (f *modernForm) plans() []plan { return modernPlans }

const modernMeta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{},"roots":{}}`

func (f *modernForm) open(ctx context.Context) error {
	f.session = modernSession(f.who)
	text := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":[%q]},"_meta":{"who":%q,%s}}}`,
		subscription, inbox, f.who, modernMeta)
	resp, err := f.exchange(f.standing, http.MethodPost, "/mcp", text, "Mcp-Protocol-Version", modern, "Mcp-Method", "subscriptions/listen")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return accepted(resp, nil)
	}
	f.beside.Go(func() {
		if err := f.listen(resp.Body, newEvents(resp.Body), nil); f.standing.Err() == nil {
			f.book.report(broken, "%s's subscription ended: %v", f.who, err)
		}
	})
	return nil
}

func (f *modernForm) carry(ctx context.Context, c *call) {
	ctx, cancel := f.until(ctx, c)
	defer cancel()
	if c.fruitless = f.post(ctx, c, ""); c.state == "" || c.fruitless != nil {
		return
	}
	f.mu.Lock()
	c.id = f.nextID(c)
	f.mu.Unlock()
	c.fruitless = f.post(ctx, c, fmt.Sprintf(`,"requestState":%q,"inputResponses":{"ask":%s}`, c.state, f.wants(c.asked)))
}

func (f *modernForm) post(ctx context.Context, c *call, more string) error {
	resp, err := f.exchange(ctx, http.MethodPost, "/mcp", c.text(","+modernMeta, more), "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", c.tool)
	if err != nil {
		return err
	}
	return f.read(ctx, c, resp)
}

func (f *modernForm) close(context.Context) error {
	f.hangUp()
	return nil
}
