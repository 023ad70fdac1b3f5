// Redirect is compiled into the SDK's conformance client, whose source it is laid over: its connections to the server it is
// told to test go where WAYMARK_LANES says, as the rules that a mesh installs in a pod have it. The client keeps the URL
// it knows, and so does everything that repeats it: the Host header, the documents of OAuth.
package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
)

func init() {
	lanes := os.Getenv("WAYMARK_LANES")
	if lanes == "" || len(os.Args) < 2 {
		return
	}
	server, err := url.Parse(os.Args[len(os.Args)-1])
	if err != nil {
		log.Fatal(err)
	}
	lane := ask(lanes + "?to=" + url.QueryEscape(server.Host))
	dialer := &net.Dialer{}
	http.DefaultTransport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == server.Host {
			addr = lane
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

// ask does not use the transport that is about to be changed: its idle connections would stay.
func ask(question string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(question)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	lane, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s: %v", question, res.Status, err)
	}
	return string(lane)
}
