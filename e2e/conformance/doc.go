// Package conformance holds the end-to-end tests that compare: the official conformance suite and the everything servers of
// two SDKs are run directly, and then through a tunnel and the waypoint, and what comes out must be the same check by
// check. Any difference fails, in either direction.
//
// Both runs use the same URL. What differs is where the connection goes, as in a mesh: the client's is redirected to its
// end of the tunnel, without its knowing. What cannot be the same twice even without us (ports, tokens, times) is replaced
// by its kind before the comparison (volatile_test.go); what differs because refusing is our job is listed, with the reason,
// in ours_test.go.
package conformance
