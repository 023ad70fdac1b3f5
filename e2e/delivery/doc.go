// Package delivery proves that everybody gets what is theirs, and nobody anything else: hundreds of principals call one server
// through the waypoint at once, under the same JSON-RPC ids and the same names of tools, over every transport, with answers
// out of order, cancellations, cut streams and resumptions.
//
// Every call, answer, event and server request carries a proof that binds it to a principal, a session and a number, so that
// each receiver can tell by itself whether it was meant. What the checker would report is shown by servers that cross
// deliveries on purpose.
//
// DELIVERY_CALLS sets how many calls are made, DELIVERY_SEED repeats a run:
//
//	DELIVERY_CALLS=1000000 go test -count=1 -timeout 1h -run TestCrossDelivery -v ./delivery
//
// Both ends and the waypoint are one process, with 2,000 open streams: about 3,500 file descriptors and 1 GB of memory,
// however many calls there are.
package delivery
