package main

import (
	"bytes"
	"fmt"
	"strings"
)

// policy has ten rules of the sorts people write; the last one lets the calls through.
const policy = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: tellers, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: company-mcp}]
  rules:
  - {from: [{source: {principals: [cluster.local/ns/bank/sa/clerk]}}]}
  - {to: [{operation: {tools: [a, b]}}]}
  - {to: [{operation: {tools: ["get_*"]}}]}
  - {to: [{operation: {methods: [resources/read]}}]}
  - {from: [{source: {ipBlocks: [192.168.0.0/16]}}]}
  - {to: [{operation: {tools: ["*_all"]}}]}
  - {when: [{cel: 'mcp.tool.name.startsWith("list_")'}]}
  - {when: [{cel: 'source.identity.namespace == "audit" && destination.port == 3000'}]}
  - {to: [{operation: {tools: [read], arguments: [{pointer: /amount, min: 100}]}}]}
  - {from: [{source: {namespaces: [bank]}}], to: [{operation: {tools: [read], arguments: [{pointer: /amount, max: 99}]}}]}
`

// plainRequest is a POST of n bytes that no codec looks into.
func plainRequest(n int) []byte {
	return append(fmt.Appendf(nil, "POST /things HTTP/1.1\r\nHost: web.bank:8080\r\nUser-Agent: bench\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", n), bytes.Repeat([]byte("q"), n)...)
}

// toolCall is a tools/call whose body has n bytes.
func toolCall(n int) []byte {
	const before, after = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"account":"a1","amount":7,"note":"`, `"}}}`
	body := pad(before, after, n)
	return append(fmt.Appendf(nil, "POST /mcp HTTP/1.1\r\nHost: company-mcp:3000\r\nUser-Agent: bench\r\n"+
		"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2025-06-18\r\n"+
		"Mcp-Session-Id: 9f86d081884c7d659a2feaa0c55ad015\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// toolResult is the answer to toolCall, n bytes long.
func toolResult(n int) []byte {
	return pad(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"`, `"}],"isError":false}}`, n)
}

func pad(before, after string, n int) []byte {
	filling := max(0, n-len(before)-len(after))
	// Prose and digits, as results have them, and nothing that JSON escapes.
	text := strings.Repeat("The account 4711-0042 holds 12.50 and was seen on Monday. ", filling/50+1)[:filling]
	return []byte(before + text + after)
}

// listenRequest opens the event stream of an MCP session, each of its own: one session may have only so many.
const listenRequest = "GET /mcp HTTP/1.1\r\nHost: company-mcp:3000\r\nUser-Agent: bench\r\nAccept: text/event-stream\r\n" +
	"Mcp-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: 9f86d081-%d\r\n\r\n"
