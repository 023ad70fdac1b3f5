package wds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Status is what is known of the client at one moment, for people and tests.
type Status struct {
	Address   string
	Connected bool      // istiod has answered on the stream that is open
	Since     time.Time // when Connected became what it is

	Streams    int       // that istiod has answered on, this one included
	LastUpdate time.Time // when a response was applied last; zero: never
	LastError  string    // why the last stream ended, or there was none; "" while that did not happen

	Refused       int    // resources that could not be used, ever
	LastRefused   string // which, the last time, and why
	LastRefusedAt time.Time
}

// Status returns the present one.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Ready returns nil once all that istiod knows was applied once, of each type. It then stays nil, also while istiod is away.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.first) == 0:
		return nil
	case c.cause != nil:
		return fmt.Errorf("wds: %s has not said its %s yet: %w", c.opt.Address, strings.Join(c.first, " and "), c.cause)
	default:
		return fmt.Errorf("wds: %s has not said its %s yet", c.opt.Address, strings.Join(c.first, " and "))
	}
}

// answered notes that istiod is there; it is called once for each stream.
func (c *Client) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	away := time.Since(c.status.Since)
	c.status.Connected, c.status.Since = true, time.Now()
	c.status.Streams++
	level := slog.LevelDebug
	if c.status.Streams == 1 || c.spoken.text != "" {
		level = slog.LevelInfo
	}
	c.spoken = spoken{}
	c.log(level, "istiod is followed", "address", c.opt.Address, "away", away.Round(time.Millisecond))
}

// applied notes that a response of a type is in force.
func (c *Client) applied(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.LastUpdate = time.Now()
	c.first = slices.DeleteFunc(c.first, func(s string) bool { return s == what })
}

// refused notes resources that could not be used.
func (c *Client) refused(what string, n int, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Refused += n
	c.status.LastRefused, c.status.LastRefusedAt = detail, time.Now()
	c.log(slog.LevelWarn, "istiod sent what cannot be used; what was known before stays", "what", what, "resources", n, "causes", brief(detail))
}

// ended notes that a stream is over, or could not be had; nil: because we stop. That istiod ends streams after a while is no
// news, nor is the same cause twice within some minutes.
func (c *Client) ended(err error, orderly bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.Connected {
		c.status.Connected, c.status.Since = false, time.Now()
	}
	if err == nil {
		return
	}
	text := brief(err.Error())
	c.cause, c.status.LastError = errors.New(text), text
	level := slog.LevelDebug
	if !orderly && c.spoken.again(text, time.Now()) {
		level = slog.LevelWarn
	}
	c.log(level, "istiod is not followed", "address", c.opt.Address, "cause", text, "wait", wait)
}

func (c *Client) log(level slog.Level, message string, args ...any) {
	c.opt.Log.Log(context.Background(), level, message, args...)
}

// silence is how long a cause that is known is not repeated.
const silence = 5 * time.Minute

// spoken is what was logged last.
type spoken struct {
	text string
	at   time.Time
}

// again says whether text is worth saying, and remembers it.
func (s *spoken) again(text string, now time.Time) bool {
	if text == s.text && now.Sub(s.at) < silence {
		return false
	}
	s.text, s.at = text, now
	return true
}
