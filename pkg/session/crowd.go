package session

import (
	"container/list"

	"waymark.dev/waypoint/pkg/identity"
)

// crowd is a map with two bounds. Over a principal's own, that principal's least recently used entry goes. Over the bound of
// all, the least recently used entry of whoever has most goes: a flood of one principal pushes out itself.
type crowd[K comparable, V any] struct {
	all, each int
	entries   map[K]*list.Element // of the principal's list
	of        map[identity.ID]*principal
	sizes     []map[identity.ID]struct{} // principals by how many entries they have
	most      int                        // the largest size that somebody has
}

type principal struct{ used *list.List } // least recently used first

type member[K comparable, V any] struct {
	key       K
	principal identity.ID
	value     V
}

// victim is an entry that had to go.
type victim[K comparable] struct {
	key       K
	principal identity.ID
	scope     string
	limit     int
}

func newCrowd[K comparable, V any](all, each int) *crowd[K, V] {
	return &crowd[K, V]{
		all: all, each: each, entries: map[K]*list.Element{}, of: map[identity.ID]*principal{},
		sizes: []map[identity.ID]struct{}{nil},
	}
}

func (c *crowd[K, V]) get(k K) (*V, bool) {
	e, ok := c.entries[k]
	if !ok {
		return nil, false
	}
	return &e.Value.(*member[K, V]).value, true
}

// touch makes k its principal's most recently used entry.
func (c *crowd[K, V]) touch(k K) {
	if e, ok := c.entries[k]; ok {
		c.of[e.Value.(*member[K, V]).principal].used.MoveToBack(e)
	}
}

// put adds or replaces an entry, and returns what had to go for it.
func (c *crowd[K, V]) put(k K, p identity.ID, v V) (gone []victim[K]) {
	c.remove(k)
	own := c.of[p]
	if own == nil {
		own = &principal{list.New()}
		c.of[p] = own
	}
	if own.used.Len() >= c.each {
		gone = append(gone, c.evict(p, "principal", c.each))
	}
	if len(c.entries) >= c.all {
		gone = append(gone, c.evict(c.largest(), "all", c.all))
	}
	if c.of[p] == nil { // its only entry was the victim
		c.of[p] = own
	}
	c.entries[k] = own.used.PushBack(&member[K, V]{k, p, v})
	c.resized(p, own.used.Len()-1, own.used.Len())
	return gone
}

func (c *crowd[K, V]) remove(k K) {
	e, ok := c.entries[k]
	if !ok {
		return
	}
	delete(c.entries, k)
	p := e.Value.(*member[K, V]).principal
	own := c.of[p]
	own.used.Remove(e)
	c.resized(p, own.used.Len()+1, own.used.Len())
	if own.used.Len() == 0 {
		delete(c.of, p)
	}
}

func (c *crowd[K, V]) evict(p identity.ID, scope string, limit int) victim[K] {
	k := c.of[p].used.Front().Value.(*member[K, V]).key
	c.remove(k)
	return victim[K]{k, p, scope, limit}
}

// largest returns a principal that has most.
func (c *crowd[K, V]) largest() identity.ID {
	for p := range c.sizes[c.most] {
		return p
	}
	panic("session: nobody has the most entries")
}

// resized keeps sizes: entries come and go one at a time, so the largest size moves by one at most.
func (c *crowd[K, V]) resized(p identity.ID, from, to int) {
	for len(c.sizes) <= to {
		c.sizes = append(c.sizes, map[identity.ID]struct{}{})
	}
	if from > 0 {
		delete(c.sizes[from], p)
	}
	if to > 0 {
		c.sizes[to][p] = struct{}{}
	}
	switch {
	case to > c.most:
		c.most = to
	case from == c.most && len(c.sizes[from]) == 0:
		c.most = to
	}
}
