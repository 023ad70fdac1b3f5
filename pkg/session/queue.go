package session

// queue is a list that runs through its members, the least recently used one first: every step is O(1), and none allocates.
type queue[T any] struct {
	root link[T]
	size int
}

// link is a member's place in one queue. A member has one for each queue that it can be in at the same time.
type link[T any] struct {
	prev, next *link[T]
	member     *T
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.root.prev, q.root.next = &q.root, &q.root
	return q
}

// oldest returns the least recently used member, nil if there is none.
func (q *queue[T]) oldest() *T { return q.root.next.member }

func (q *queue[T]) pushBack(l *link[T]) {
	l.prev, l.next = q.root.prev, &q.root
	l.prev.next, q.root.prev = l, l
	q.size++
}

func (q *queue[T]) remove(l *link[T]) {
	l.prev.next, l.next.prev = l.next, l.prev
	l.prev, l.next = nil, nil
	q.size--
}

func (q *queue[T]) moveToBack(l *link[T]) {
	q.remove(l)
	q.pushBack(l)
}
