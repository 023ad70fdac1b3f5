package session

import (
	"fmt"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// listings count pages. The bound of all is the only one of the crowd: who reads most listings is forgotten first, which starts
// its count again and refuses nobody anything.
type listings struct {
	mu    sync.Mutex
	crowd *crowd[listing, turned]
}

// listing is one listing that a caller reads page by page.
type listing struct {
	session   Key
	principal identity.ID
	service   call.Service
	method    string
}

// turned is how far a caller has read.
type turned struct {
	pages int
	last  time.Time
}

// Turn counts a page of a listing; a request that is no later page starts it again. The error is ErrPages. A listing is the
// session's, or the principal's where there is none. One that is idle for as long as a session may be is forgotten.
func (t *Table) Turn(k Key, p identity.ID, s call.Service, method string, page bool) error {
	l := listing{k, p, s, method}
	t.listings.mu.Lock()
	defer t.listings.mu.Unlock()
	c, now := t.listings.crowd, t.now()
	c.forget(func(v *turned) bool { return t.expired(v.last, now) })
	if !page {
		c.remove(l)
		return nil
	}
	e := c.entries[l]
	if e == nil {
		c.put(l, p, turned{1, now}) // the first page came without a cursor
		e = c.entries[l]
	}
	if e.value.pages >= t.limits.Pages {
		return fmt.Errorf("%w: over %d of %s", ErrPages, t.limits.Pages, method)
	}
	e.value = turned{e.value.pages + 1, now}
	c.touch(e)
	return nil
}
