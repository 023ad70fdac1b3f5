package hbone

import "sync"

// chunk is one piece of a receive buffer. Idle streams hold none.
type chunk struct {
	next *chunk
	r, w int // unread bytes are data[r:w]
	data [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func getChunk() *chunk { return chunks.Get().(*chunk) }

func (k *chunk) put() {
	k.next, k.r, k.w = nil, 0, 0
	chunks.Put(k)
}

// queue is the unread data of one stream.
type queue struct {
	head, tail *chunk
	size       int
}

// push takes over k, or copies its bytes where the last chunk has room: small frames must not pin a whole chunk each.
// It reports whether k was taken.
func (q *queue) push(k *chunk) bool {
	n := k.w - k.r
	q.size += n
	if q.tail != nil && chunkSize-q.tail.w >= n {
		q.tail.w += copy(q.tail.data[q.tail.w:], k.data[k.r:k.w])
		return false
	}
	if q.tail == nil {
		q.head = k
	} else {
		q.tail.next = k
	}
	q.tail = k
	return true
}

// read moves bytes into p and gives emptied chunks back.
func (q *queue) read(p []byte) int {
	n := 0
	for n < len(p) && q.head != nil {
		k := q.head
		m := copy(p[n:], k.data[k.r:k.w])
		k.r += m
		n += m
		if k.r == k.w {
			q.pop()
		}
	}
	q.size -= n
	return n
}

func (q *queue) pop() {
	k := q.head
	if q.head = k.next; q.head == nil {
		q.tail = nil
	}
	k.put()
}

// drop discards everything and returns how much that was.
func (q *queue) drop() int {
	n := q.size
	for q.head != nil {
		q.pop()
	}
	q.size = 0
	return n
}

// batch is a run of frames on its way out.
type batch struct{ buf []byte }

var batches = sync.Pool{New: func() any { return &batch{make([]byte, 0, batchSize)} }}

func getBatch() *batch { return batches.Get().(*batch) }

func (b *batch) put() {
	if cap(b.buf) > 2*batchSize {
		return // grown by an unusual backlog; not worth keeping
	}
	b.buf = b.buf[:0]
	batches.Put(b)
}

// Write appends, so that frames can be written into the batch.
func (b *batch) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}
