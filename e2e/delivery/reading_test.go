package delivery_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// read takes what a call's POST, or a GET for the rest of it, was answered with. It returns early if the caller leaves.
func (l *lane) read(ctx context.Context, c *call, resp *http.Response) error {
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		b, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusAccepted, len(b) == 0 && c.dropped(): // cancelled before it could be answered
			return nil
		}
		l.hear(ctx, c, b)
		return nil
	}
	stream := newEvents(resp.Body)
	for {
		e, err := stream.next()
		if err != nil {
			return err
		}
		if e.id != "" {
			if f, ok := c.at.advance(e.id); !ok {
				l.book.report(f, "event %s in the stream of %v", e.id, c)
			}
		}
		if len(e.data) > 0 {
			l.hear(ctx, c, e.data)
		}
		if l.leaves(ctx, c) {
			return nil
		}
	}
}

// leaves does what the caller of a call that has begun has in mind, and reports whether it reads no further.
func (l *lane) leaves(ctx context.Context, c *call) bool {
	l.mu.Lock()
	begun := c.steps > 0
	l.mu.Unlock()
	switch {
	case !begun:
		return false
	case c.stop == breaks:
		c.stop = stays
		return true
	case c.stop == cancels && l.version == modern:
		return true
	case c.stop == cancels && !c.gaveUp:
		c.gaveUp = true
		l.cancel(ctx, c)
	}
	return false
}

func (l *lane) cancel(ctx context.Context, c *call) {
	if err := l.post(ctx, l.cancellation(c)); err != nil && ctx.Err() == nil {
		l.book.report(broken, "the cancellation of %v: %v", c, err)
	}
}

// until bounds a call that its caller leaves.
func (l *lane) until(ctx context.Context, c *call) (context.Context, context.CancelFunc) {
	if c.stop == leaves {
		return context.WithTimeout(alone(ctx), c.wait+time.Millisecond)
	}
	return context.WithCancel(ctx)
}

// post sends what has no answer.
func (l *lane) post(ctx context.Context, text string) error { return accepted(l.say(ctx, text)) }

// listen reads a stream that stands beside the calls to its end.
func (l *lane) listen(body io.Closer, stream events, at *position) error {
	defer body.Close()
	for {
		e, err := stream.next()
		if err != nil {
			return err
		}
		if len(e.data) == 0 && e.id == "" { // a sign of life
			continue
		}
		if at != nil {
			if f, ok := at.advance(e.id); !ok {
				l.book.report(f, "event %s beside %s's calls", e.id, l.who)
			}
		}
		l.hear(l.standing, nil, e.data)
	}
}

// waits reports whether a caller still has no answer that it wants.
func (l *lane) waits(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.answers == 0 && !c.dropped()
}
