// Package exchange is the stage that trades the caller's token for one that is meant for the destination. It is the last one: only
// a call that may pass is worth a token.
//
// The token that the caller sent never goes on: it is taken out of every place where a token of this service can be, whatever
// becomes of the exchange. What a caller puts into the body of a message is its own word; bodies are judged and forwarded as they
// are.
//
//	stage, err := exchange.New(exchange.Options{Policy: "bank/company-mcp", Trade: trader, Locations: places})
package exchange
