package jwks

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
)

const shards = 16

type digest = [sha256.Size]byte

// entry is what became of one token under one generation of keys. It never changes.
type entry struct {
	digest digest
	issuer *issuer
	set    *keySet // the generation
	claims *identity.Claims
	until  time.Time
}

// cache holds the entries used last, by the digest of the whole token. A nil cache holds none.
type cache struct{ shards [shards]shard }

type shard struct {
	mu      sync.Mutex
	entries map[digest]*list.Element
	order   list.List // of *entry, the one used last in front
	size    int
}

func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	c := new(cache)
	for i := range c.shards {
		c.shards[i].entries, c.shards[i].size = map[digest]*list.Element{}, (size+shards-1)/shards
	}
	return c
}

// get returns the entry of a token that holds at now.
func (c *cache) get(d digest, now time.Time) *entry {
	if c == nil {
		return nil
	}
	s := &c.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[d]
	if e == nil {
		return nil
	}
	if got := e.Value.(*entry); now.Before(got.until) {
		s.order.MoveToFront(e)
		return got
	}
	s.drop(e)
	return nil
}

func (c *cache) put(d digest, e *entry) {
	if c == nil {
		return
	}
	e.digest = d
	s := &c.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[d]; old != nil {
		s.drop(old)
	}
	for s.order.Len() >= s.size {
		s.drop(s.order.Back())
	}
	s.entries[d] = s.order.PushFront(e)
}

func (c *cache) remove(d digest) {
	s := &c.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[d]; e != nil {
		s.drop(e)
	}
}

func (s *shard) drop(e *list.Element) {
	delete(s.entries, s.order.Remove(e).(*entry).digest)
}
