// Package session keeps what callers hold open: sessions, event streams, pages of listings, bytes in memory. Everything is
// bounded for a session, for a principal and in all, and who reaches a bound loses its own oldest first.
//
//	held := session.New(session.Limits{}, time.Now, func(e session.Eviction) { log.Warn(e.String()) })
//	k := session.KeyOf(service, id)
//	err := held.Open(k, session.Record{Principal: caller, Version: "2025-11-25"})
//	record, err := held.Find(k, other) // ErrStranger
//
//	place := held.Stream(k, caller, func(err error) { exchange.Abort(err) })
//	defer place.Done()
//
//	hold := held.Hold(k, caller)
//	defer hold.Release()
//	err = hold.Grow(len(chunk)) // ErrBytes
//
// A session id is a secret of its caller's: the table keeps a hash of it. A record that was evicted or has expired is gone,
// and the session is bound anew to whoever uses it next, as after a restart; the server still judges the id itself.
package session
