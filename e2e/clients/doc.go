// Package clients proves that the clients people really use live through our refusals: official SDKs in Go, TypeScript and
// Python, mark3labs/mcp-go, the Inspector's command line and the mcp-remote bridge, on every transport each of them speaks.
//
// All of them work through the same plan. After each refusal (of a request, of a notification, of what a server asks of its
// client, of what the client answers) the client has to report it in its own way, and the next call that is allowed has to
// succeed on the same client object. What reached the server is recorded there: a refused message never does.
package clients
