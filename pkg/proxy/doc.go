// Package proxy is the straight line a request takes through the waypoint: a tunnel names a destination, the destination
// has a protocol, a message is decoded, judged, forwarded and relayed, and the outcome is observed exactly once.
//
//	hbone tunnel ─ resolve authority ─┬─ raw (TCP, TLS): judge, dial, 200, splice
//	                                  └─ HTTP: 200, then per exchange:
//	                                     hygiene → decode → judge → forward → relay → observe
//
// It refuses, before any byte reaches an upstream: authorities that are not attached to this waypoint, HTTP/1 framing or
// paths that two parsers could read differently, messages the codec cannot read, and calls the pipeline does not pass.
//
// Inner HTTP is served and sent by net/http behind the exchange and upstream seams (http.go, upstream.go); nothing above
// them knows http.Request or http.ResponseWriter. Which connection to an endpoint a request takes is decided in
// connections.go, how callers are taken leave of in drain.go.
package proxy
