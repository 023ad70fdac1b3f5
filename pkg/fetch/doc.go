// Package fetch speaks HTTP to places that operators name: key sets, authorization servers, token services.
//
// Whoever may write a policy could otherwise make the waypoint call whatever it can reach. So an https place is looked up once per
// connection, and only addresses that were checked are connected to: never this machine, the link, the metadata services of
// clouds, or an address that embeds another one. A service of the mesh is reached through the mesh, which proves who it is; DNS
// plays no part then. Redirects are not followed, no proxy is used, no cookie is kept, no encoding is undone, and nothing beyond
// a limit is read.
//
//	c, err := fetch.New(fetch.Options{URL: "https://idp.example.com/keys", Timeout: 5 * time.Second})
//	body, header, err := c.Get(ctx)
//
// Errors never hold what was sent or answered.
package fetch
