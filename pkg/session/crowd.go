package session

import "waymark.dev/waypoint/pkg/identity"

// crowd is a map with two bounds. Over a principal's own, that principal's least recently used entry goes. Over the bound of
// all, the least recently used entry of whoever would have most goes: a flood of one principal pushes out itself, and of
// several that flood, each pushes out those who flood. Nobody's last entries go while somebody else has more.
type crowd[K comparable, V any] struct {
	all, each int
	entries   map[K]*entry[K, V]
	crews     map[identity.ID]*crew[K, V]
	used      *queue[entry[K, V]]  // everybody's entries
	sizes     []*queue[crew[K, V]] // crews by how many entries they have
	most      int                  // the largest size that a crew has
}

// entry stands in two queues: its principal's and everybody's.
type entry[K comparable, V any] struct {
	key            K
	value          V
	crew           *crew[K, V]
	inCrew, inUsed link[entry[K, V]]
}

// crew is what one principal has in a crowd. It stands in the queue of the crews of its size.
type crew[K comparable, V any] struct {
	principal identity.ID
	used      *queue[entry[K, V]]
	inSizes   link[crew[K, V]]
}

// victim is an entry that had to go.
type victim[K comparable, V any] struct {
	key       K
	value     V
	principal identity.ID
	scope     string
	limit     int
}

func newCrowd[K comparable, V any](all, each int) *crowd[K, V] {
	return &crowd[K, V]{
		all: all, each: each,
		entries: map[K]*entry[K, V]{}, crews: map[identity.ID]*crew[K, V]{}, used: newQueue[entry[K, V]](),
	}
}

// touch makes e the most recently used entry.
func (c *crowd[K, V]) touch(e *entry[K, V]) {
	c.used.moveToBack(&e.inUsed)
	e.crew.used.moveToBack(&e.inCrew)
	c.sizes[e.crew.used.size].moveToBack(&e.crew.inSizes)
}

// sweep is how many expired entries one operation forgets: more than it can add, so that they do not pile up.
const sweep = 8

// forget removes the least recently used entries that have expired, some at a time.
func (c *crowd[K, V]) forget(expired func(*V) bool) {
	for range sweep {
		e := c.used.oldest()
		if e == nil || !expired(&e.value) {
			return
		}
		c.remove(e.key)
	}
}

// put adds an entry, or replaces it. Where one had to go for it, that is the victim; else it is nil.
func (c *crowd[K, V]) put(k K, p identity.ID, v V) (gone *victim[K, V]) {
	c.remove(k)
	own := c.crews[p]
	switch {
	case own != nil && own.used.size >= c.each:
		gone = c.evict(own, "principal", c.each)
	case len(c.entries) >= c.all:
		gone = c.evict(c.fullest(own), "all", c.all)
	}
	c.add(k, p, v)
	return gone
}

// fullest returns a crew that would have most if own had one entry more: own, if it is one of several.
func (c *crowd[K, V]) fullest(own *crew[K, V]) *crew[K, V] {
	if own != nil && own.used.size+1 >= c.most {
		return own
	}
	return c.sizes[c.most].oldest()
}

func (c *crowd[K, V]) evict(of *crew[K, V], scope string, limit int) *victim[K, V] {
	e := of.used.oldest()
	c.remove(e.key)
	return &victim[K, V]{e.key, e.value, of.principal, scope, limit}
}

func (c *crowd[K, V]) add(k K, p identity.ID, v V) {
	own := c.crews[p]
	if own == nil {
		own = &crew[K, V]{principal: p, used: newQueue[entry[K, V]]()}
		own.inSizes.member = own
		c.crews[p] = own
	}
	e := &entry[K, V]{key: k, value: v, crew: own}
	e.inCrew.member, e.inUsed.member = e, e
	c.entries[k] = e
	c.used.pushBack(&e.inUsed)
	own.used.pushBack(&e.inCrew)
	c.resized(own, own.used.size-1)
}

func (c *crowd[K, V]) remove(k K) {
	e := c.entries[k]
	if e == nil {
		return
	}
	delete(c.entries, k)
	c.used.remove(&e.inUsed)
	e.crew.used.remove(&e.inCrew)
	c.resized(e.crew, e.crew.used.size+1)
	if e.crew.used.size == 0 {
		delete(c.crews, e.crew.principal)
	}
}

// resized moves a crew to the queue of its size. Entries come and go one at a time, so the largest size moves by one at most.
func (c *crowd[K, V]) resized(of *crew[K, V], from int) {
	to := of.used.size
	for len(c.sizes) <= to {
		c.sizes = append(c.sizes, newQueue[crew[K, V]]())
	}
	if from > 0 {
		c.sizes[from].remove(&of.inSizes)
	}
	if to > 0 {
		c.sizes[to].pushBack(&of.inSizes)
	}
	if to > c.most || from == c.most && c.sizes[from].size == 0 {
		c.most = to
	}
}
