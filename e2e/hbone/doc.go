// Package hbone lets peers that nobody here wrote use our HBONE server, and our client use theirs: Istio's own pkg/hbone,
// both HTTP/2 clients of Go, and h2load.
//
// What is asked of each is what a mesh asks: that bytes arrive whole, that a side which closes first still receives the
// rest, that a refusal is a refusal and that a broken tunnel does not look like a finished one.
package hbone
