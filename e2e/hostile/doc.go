// Package hostile puts five thousand slow and stuck peers on a waypoint, in every phase a connection has, while fifty healthy
// clients go on calling through it. The waypoint is a process of its own and is asked what it holds: before, during, and when
// the peers have gone.
//
// What must hold does not depend on how fast the machine is: every healthy call succeeds, memory per stuck peer is bounded,
// and afterwards memory and goroutines are back where they were. How much slower the healthy calls get is a figure, which the
// test prints and `make bench` compares with its target.
package hostile
