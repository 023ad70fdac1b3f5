package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// patience is how long one request may take.
const patience = 20 * time.Second

// arguments are what the tools of the bank take.
var arguments = map[string]map[string]any{
	"read_account": {"account": "A-100"},
	"update_limit": {"account": "A-100", "amount": 700},
	"export_all":   {},
}

func (p peer) connect(ctx context.Context, url string) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	return client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: p.transport()}}, nil)
}

func (p peer) call(ctx context.Context, url, tool string) error {
	s, err := p.connect(ctx, url)
	if err != nil {
		fmt.Println("no session:", err)
		return nil
	}
	defer s.Close()
	fmt.Println(outcome(ctx, s, tool))
	return nil
}

// untilInputEnds returns a context that ends when standard input does: `kubectl exec` sends no signals.
func untilInputEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}

func (p peer) watch(ctx context.Context, url, tool string) error {
	ctx, cancel := untilInputEnds(ctx)
	defer cancel()
	s, err := p.connect(ctx, url)
	if err != nil {
		return err
	}
	defer s.Close()
	for was := ""; ; {
		now := outcome(ctx, s, tool)
		if ctx.Err() != nil {
			return nil
		}
		if now != was {
			fmt.Println(time.Now().Format(time.RFC3339Nano), now)
			was = now
		}
	}
}

func outcome(ctx context.Context, s *mcp.ClientSession, tool string) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments[tool]})
	var rpc *jsonrpc.Error
	switch {
	case errors.As(err, &rpc):
		return fmt.Sprintf("%d %s", rpc.Code, rpc.Message)
	case err != nil:
		return "BROKEN: " + err.Error()
	case res.IsError:
		return "tool error"
	}
	return "ok"
}

func (p peer) get(ctx context.Context, url string) error {
	status, err := request(ctx, &http.Client{Transport: p.transport(), Timeout: patience}, http.MethodGet, url)
	if err != nil {
		fmt.Println("no answer:", err)
		return nil
	}
	fmt.Println(status)
	return nil
}

func (p peer) load(ctx context.Context, url string, clients int) error {
	running, cancel := untilInputEnds(ctx)
	defer cancel()
	began := time.Now()
	var sent, failed atomic.Int64
	var mu sync.Mutex
	last, gap := time.Now(), time.Duration(0)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			client := &http.Client{Transport: p.transport(), Timeout: patience}
			for running.Err() == nil {
				// net/http sends a POST again only if none of it was sent.
				status, err := request(ctx, client, http.MethodPost, url)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d", status)
				}
				sent.Add(1)
				mu.Lock()
				if now := time.Now(); err != nil {
					failed.Add(1)
					fmt.Fprintf(os.Stderr, "%s after %s: %v\n", now.Format(time.TimeOnly+".000"), now.Sub(began).Round(time.Millisecond), err)
				} else {
					gap, last = max(gap, now.Sub(last)), now
				}
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	all.Wait()
	fmt.Printf("%d requests sent, %d failed, longest gap %s\n", sent.Load(), failed.Load(), gap.Round(time.Millisecond))
	return nil
}

func request(ctx context.Context, client *http.Client, method, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
