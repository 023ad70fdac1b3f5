// Package h2spec runs the h2spec conformance suite against both HTTP/2 servers of the waypoint: the HBONE listener, which is
// our own connection loop, and the server inside a tunnel, which is Go's.
//
// Every case of the suite passes, or stands in testdata/*.baseline with the reason why it does not. A case that begins to
// fail fails the test, and so does one that begins to pass: the baseline is what is true.
package h2spec
