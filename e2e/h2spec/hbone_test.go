package h2spec_test

import (
	"io"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
)

// h2spec has no client certificate, so a forwarder stands in front of the listener and lends it one. Its requests are GET
// and POST, which are refused: this is the listener as h2spec finds it.
func TestHBONEListener(t *testing.T) {
	t.Parallel()
	addr := peers.Server(t, func(r *hbone.Request) { t.Errorf("a request reached the handler: %s", r.Authority()) })
	run(t, peers.ForwardTLS(t, addr), "testdata/hbone.baseline")
}

// The same with the requests rewritten to CONNECT on their way, so that tunnels open and the rules for DATA, windows and
// the states of a stream have something to be about.
func TestHBONETunnels(t *testing.T) {
	t.Parallel()
	addr := peers.Server(t, func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		io.WriteString(c, "what a server answers")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	run(t, asConnect(t, peers.ForwardTLS(t, addr)), "testdata/tunnels.baseline")
}
