package session

import "time"

// Limits bound what is held. A field that is not positive means its default.
type Limits struct {
	Sessions             int           // records in all
	SessionsPerPrincipal int           // records of one principal
	Idle                 time.Duration // how long a record outlives its last use

	Streams             int // open event streams in all
	StreamsPerPrincipal int
	StreamsPerSession   int

	Pages    int // pages of one listing that a caller may turn
	Listings int // listings that are remembered

	Bytes             int64 // in memory at one moment, in all
	BytesPerPrincipal int64
	BytesPerSession   int64
}

// DefaultLimits are what docs/limits.md says: more than any agent we know needs, and little enough for a pod of 2 GiB.
//
//	                     session    principal   in all
//	records                         4,096       100,000   forgotten 24h after their last use
//	open event streams   32         2,048       16,384
//	pages of a listing   10,000     10,000                of a principal where there is no session
//	listings                                    65,536
//	bytes in memory      64 MiB     256 MiB     1 GiB
func DefaultLimits() Limits {
	return Limits{
		Sessions: 100_000, SessionsPerPrincipal: 4_096, Idle: 24 * time.Hour,
		Streams: 16_384, StreamsPerPrincipal: 2_048, StreamsPerSession: 32,
		Pages: 10_000, Listings: 65_536,
		Bytes: 1 << 30, BytesPerPrincipal: 256 << 20, BytesPerSession: 64 << 20,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		or(l.Sessions, d.Sessions), or(l.SessionsPerPrincipal, d.SessionsPerPrincipal), or(l.Idle, d.Idle),
		or(l.Streams, d.Streams), or(l.StreamsPerPrincipal, d.StreamsPerPrincipal), or(l.StreamsPerSession, d.StreamsPerSession),
		or(l.Pages, d.Pages), or(l.Listings, d.Listings),
		or(l.Bytes, d.Bytes), or(l.BytesPerPrincipal, d.BytesPerPrincipal), or(l.BytesPerSession, d.BytesPerSession),
	}
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
