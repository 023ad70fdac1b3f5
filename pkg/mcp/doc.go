// Package mcp turns MCP bytes into Calls and Replies and back: the method table, the revisions, the mirrored headers, how a
// list is cut and how a refusal looks to each kind of client. It judges nothing.
//
// It refuses what it cannot read in exactly one way (see package jsonrpc), what contradicts itself (a header that disagrees
// with the body, a revision that disagrees with the metadata), and methods that are not in its table: an unknown method may
// carry a name that nobody authorised.
//
//	msg, refusal := mcp.Decode(&request, body, mcp.Options{})
//	if refusal != nil { … send it … }
//	msg.Fill(c)              // c.Method, c.Target, c.Arguments …
//	msg.Deny(mcp.Denial{Code: call.EntitlementDenied})
//
// A message may ask for several things that need a verdict each: the Parts of a batch, what a subscription Wants.
//
// Sections cited as "contract" are those of the project's MCP and A2A contract; docs/protocols.md says the same for users.
package mcp
