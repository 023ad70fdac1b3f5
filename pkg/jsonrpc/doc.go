// Package jsonrpc reads and writes JSON-RPC 2.0 envelopes from peers that may be hostile. It holds the one strict reader
// through which every JSON text of a peer goes: requests, responses and the data of server-sent events.
//
// It refuses every text that two parsers could read differently: duplicate member names (compared decoded), names that
// differ from a known one by case or Unicode folding only, bytes after the value, a byte order mark, invalid UTF-8, unpaired
// surrogates, numbers as ids that a float64 would change. What it accepts is never re-encoded: ids and values are kept as the
// bytes they came in.
//
//	m, err := jsonrpc.Parse(body, jsonrpc.RequestLimits())
//	m.Method // "tools/call"
//	m.ID     // the raw token, quotes included for a string
package jsonrpc
