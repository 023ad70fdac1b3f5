// Package oauth is the client of an authorization server: it trades tokens (RFC 8693) and asks about them (RFC 7662).
//
//	c, err := oauth.New(oauth.Options{Endpoint: place, Auth: oauth.SecretBasic("waypoint", secret)})
//	token, err := c.Exchange(ctx, oauth.Request{Subject: user, Audiences: []string{"company-mcp"}})
//	claims, err := introspector.Introspect(ctx, opaque)
//
// It refuses every answer that could be read in two ways, a token that cannot stand in a header field, and rights that nobody asked
// for. Errors say what kind of answer it was; what was sent, and what the server wrote, is never part of them.
package oauth
