package clients_test

//lint:file-ignore SA1019 roots and sampling are deprecated, and spoken for years to come

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A server may ask outside of any call, on the stream that stands beside them. A refusal reaches it there, too, whether the
// question is refused or the answer to it, and the client goes on.
func TestServerAsksBesideCalls(t *testing.T) {
	for _, tr := range []transport{legacy, sse} {
		for _, tc := range []struct {
			caller string
			code   int64
			asked  bool
		}{
			{clerk, -32601, false},
			{mute, -31403, true},
		} {
			t.Run(string(tr)+" "+tc.caller, func(t *testing.T) {
				f, h := start(t), &hearing{}
				c, err := goSDK(t, tr, f.url(t, tc.caller, "masked", tr), h)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, []line{take(t, c, call(greet, hello))}, []line{hello})
				if got, want := f.server.ask(t), tc.code; got != want {
					t.Errorf("got error %d, want %d", got, want)
				}
				if got, want := h.String() != "", tc.asked; got != want {
					t.Errorf("the client was asked: %t, want %t", got, want)
				}
				compare(t, []line{take(t, c, call(greet, hello))}, []line{hello})
				f.unharmed(t, tr)
			})
		}
	}
}

// ask asks the one client for its roots and returns the code of the error. The stream may be on its way still when the
// session is already open: what is asked before it stands is not heard.
func (s *server) ask(t *testing.T) int64 {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for session := range s.stateful.Sessions() {
			if code, heard := askOnce(t, session); heard {
				return code
			}
		}
	}
	t.Fatal("the server's question is never answered")
	return 0
}

func askOnce(t *testing.T, session *mcp.ServerSession) (code int64, heard bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience/10)
	defer cancel()
	_, err := session.ListRoots(ctx, nil)
	var rpc *jsonrpc.Error
	if errors.As(err, &rpc) {
		return rpc.Code, true
	}
	if err == nil {
		t.Error("a client's answer reached the server")
	}
	return 0, err == nil
}
