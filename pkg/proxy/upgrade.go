package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// relayUpgrade passes on a 101 and then bytes both ways until either side ends.
func (f *flow) relayUpgrade(ctx context.Context, in *inbound) {
	server, ok := in.body.(io.ReadWriteCloser)
	if !ok {
		f.outcome.Err = errors.New("proxy: the upstream's 101 cannot be written to")
		f.send(plainResponse(http.StatusBadGateway, "upstream fault"))
		return
	}
	client, err := f.x.hijack()
	if err != nil {
		f.outcome.Err = err
		f.x.abort()
	}
	f.outcome.Status = in.status
	f.p.last(f.entry)
	f.p.outlive(f.entry, f.outcome.Call.Claims)
	defer client.Close()
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	h := in.header.Clone()
	upgrade := h.Get("Upgrade")
	dropResponseFields(h)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", upgrade)
	_ = h.Write(&b)
	b.WriteString("\r\n")
	if _, err := client.Write(b.Bytes()); err != nil {
		f.outcome.Err = err
		return
	}
	stop := context.AfterFunc(ctx, func() { // the rules turned against it, or the waypoint stops
		_ = client.SetDeadline(past)
		_ = server.Close()
	})
	defer stop()
	err = exchangeBytes(client, server)
	if !f.revoked(ctx) {
		f.outcome.Err = err
	}
}

// exchangeBytes copies both ways until the server has finished, or the client has left.
func exchangeBytes(client *released, server io.ReadWriteCloser) error {
	up := make(chan error, 1)
	go copyUp(server, client, up)
	down := make(chan error, 1)
	go copyDown(client, server, down)
	var err error
	select {
	case err = <-down:
		client.end(err)
		_ = server.Close()
		<-up
	case err = <-up:
		_ = server.Close()
		<-down
		client.end(err)
	}
	return err
}

func copyUp(server io.Writer, client io.Reader, done chan<- error) {
	_, err := io.Copy(server, client)
	done <- err
}

func copyDown(client io.Writer, server io.Reader, done chan<- error) {
	_, err := io.Copy(client, server)
	done <- err
}
