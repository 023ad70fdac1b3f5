package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// classicForm is HTTP with server-sent events: 2024-11-05. All answers come on one stream.
type classicForm struct {
	*lane
	path string
}

func (f *classicForm) plans() []plan { return classicPlans }

func (f *classicForm) send(ctx context.Context, text string) (*http.Response, error) {
	return f.exchange(ctx, http.MethodPost, f.path, text)
}

func (f *classicForm) open(ctx context.Context) error {
	resp, err := f.exchange(f.standing, http.MethodGet, "/sse", "", "Accept", "text/event-stream")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return accepted(resp, nil)
	}
	stream := newEvents(resp.Body)
	e, err := stream.next()
	if err != nil || e.name != "endpoint" {
		resp.Body.Close()
		return errors.Join(fmt.Errorf("a stream that begins with %q", e.data), err)
	}
	f.path = string(e.data)
	_, f.session, _ = strings.Cut(f.path, "sessionId=")
	hello := &call{version: classic, id: "0", want: f.prove.of(ofHello, f.who, f.session, 0), began: make(chan struct{}), ended: make(chan struct{})}
	f.calls[hello.id] = hello
	f.beside.Go(func() {
		if err := f.listen(resp.Body, stream, nil); f.standing.Err() == nil {
			f.book.report(broken, "%s's stream of 2024-11-05 ended: %v", f.who, err)
		}
	})
	if err := f.post(ctx, f.handshake()); err != nil {
		return err
	}
	select {
	case <-hello.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return f.post(ctx, initialized)
}

func (f *classicForm) carry(ctx context.Context, c *call) {
	posting, cancel := f.until(ctx, c)
	defer cancel()
	if c.fruitless = accepted(f.send(posting, c.text("", ""))); c.fruitless != nil {
		return
	}
	switch c.stop {
	case leaves:
	case races:
		pause(ctx, c.wait)
		f.cancel(ctx, c)
	case cancels:
		select {
		case <-c.began:
			f.cancel(ctx, c)
		case <-ctx.Done():
			f.book.report(lost, "the progress of %v", c)
		}
	default:
		select {
		case <-c.ended:
		case <-ctx.Done():
			c.fruitless = ctx.Err()
		}
	}
}

func (f *classicForm) close(context.Context) error {
	f.hangUp()
	return nil
}
