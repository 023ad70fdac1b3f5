package session

// Counts is how much a table holds.
type Counts struct {
	Sessions, Listings, Streams int
	Bytes                       int64
	Accounts                    int
}

// Counts looks into t. It panics where two books of one thing differ.
func (t *Table) Counts() Counts {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	t.listings.mu.Lock()
	defer t.listings.mu.Unlock()
	t.streams.mu.Lock()
	defer t.streams.mu.Unlock()
	t.bytes.mu.Lock()
	defer t.bytes.mu.Unlock()
	checkStreams(&t.streams)
	return Counts{
		count(t.sessions.crowd), count(t.listings.crowd), count(t.streams.crowd),
		t.bytes.all, checkAccounts(&t.bytes),
	}
}

// count returns how many entries c has, by each of its books.
func count[K comparable, V any](c *crowd[K, V]) int {
	ofCrews, ofSizes, most := 0, 0, 0
	for _, own := range c.crews {
		ofCrews += own.used.size
		most = max(most, own.used.size)
		if own.used.size == 0 || own.used.size > c.each {
			panic("a crew has no entries, or too many")
		}
	}
	for size, q := range c.sizes {
		ofSizes += size * q.size
	}
	n := len(c.entries)
	if n > c.all || n != ofCrews || n != ofSizes || n != c.used.size || most != c.most {
		panic("the books of a crowd differ")
	}
	return n
}

func checkStreams(s *streams) {
	inSessions := 0
	for s := range s.crowd.entries {
		if s.of.Key != (Key{}) {
			inSessions++
		}
	}
	for _, q := range s.ofSession {
		inSessions -= q.size
		if q.size == 0 {
			panic("a session has an empty queue of streams")
		}
	}
	if inSessions != 0 {
		panic("the books of streams differ")
	}
}

// checkAccounts returns how many accounts there are.
func checkAccounts(b *accounts) int {
	var ofPrincipals int64
	for _, a := range b.ofPrincipal {
		ofPrincipals += a.held
	}
	if ofPrincipals != b.all {
		panic("the books of bytes differ")
	}
	return len(b.ofPrincipal) + len(b.ofSession)
}
