// Package mcpmatrix generates hostile MCP messages: every member of the protocol spelled in every way that two parsers could
// read differently, on each transport, with the verdict that each must get.
//
//	for _, c := range mcpmatrix.Requests(mcpmatrix.Modern) {
//		// POST c.Body with c.Header; c.Want says whether it must arrive, or how it must be refused.
//	}
//
// A verdict is computed from the rules of the strict reader (docs/protocols.md) and from where a member stands, never by asking
// the code under test. The package knows nothing of that code and is for tests only.
package mcpmatrix
