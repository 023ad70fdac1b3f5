// Command demo runs a whole mesh in one process and makes real calls through it: a development CA, two agents with
// SPIFFE identities, `company-mcp` (the official SDK's server), our waypoint as the binary runs it, and the ztunnels'
// two ends. It prints what became of each call and exits with status 1 if anything came out other than it should.
//
//	go run . [--config DIR] [--serve]
//
// What a row says is never written down beforehand: the verdict is what the caller saw, the reason is the record the
// waypoint wrote of that call, and the two must agree with each other, with what the tool server really executed and
// with what the row is there to show. See docs/demo.md.
package main
