package h2spec_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/e2e/peers"
)

// asConnect forwards HTTP/2 connections to a and turns each GET or POST on them into CONNECT. Everything else goes on as it
// came, and so do header blocks that cannot be decoded or are not a plain request: they are what h2spec wants judged.
func asConnect(t *testing.T, a netip.AddrPort) netip.AddrPort {
	return peers.Forward(t, func(ctx context.Context) (peers.Duplex, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", a.String())
		if err != nil {
			return nil, err
		}
		return newConnector(c.(*net.TCPConn)), nil
	})
}

// connector is a connection to the server; what is written to it is rewritten.
type connector struct {
	net.Conn // as an interface: io.Copy must not find TCPConn's ReadFrom, which would go past Write
	server   *net.TCPConn
	frames   *io.PipeWriter
	ended    chan struct{}
	decoder  *hpack.Decoder // follows h2spec's encoder over the whole connection
	block    bytes.Buffer
	encoder  *hpack.Encoder // never indexes, so that the server's table stays empty
}

func newConnector(server *net.TCPConn) *connector {
	r, w := io.Pipe()
	c := &connector{Conn: server, server: server, frames: w, ended: make(chan struct{}), decoder: hpack.NewDecoder(4096, nil)}
	c.encoder = hpack.NewEncoder(&c.block)
	c.encoder.SetMaxDynamicTableSize(0)
	go func() {
		defer close(c.ended)
		r.CloseWithError(c.rewrite(r))
	}()
	return c
}

func (c *connector) Write(p []byte) (int, error) { return c.frames.Write(p) }

// CloseWrite passes the end on, behind everything that was written.
func (c *connector) CloseWrite() error {
	c.frames.Close()
	<-c.ended
	return c.server.CloseWrite()
}

func (c *connector) Close() error {
	err := c.server.Close()
	c.frames.Close()
	<-c.ended
	return err
}

const frameHeader = 9

// rewrite copies the preface and then frame by frame. A frame that ends early goes on as far as it came.
func (c *connector) rewrite(r io.Reader) error {
	if _, err := io.CopyN(c.server, r, int64(len(http2.ClientPreface))); err != nil {
		return err
	}
	for {
		frame := make([]byte, frameHeader)
		if n, err := io.ReadFull(r, frame); err != nil {
			c.server.Write(frame[:n])
			return err
		}
		size := int(frame[0])<<16 | int(binary.BigEndian.Uint16(frame[1:3]))
		frame = append(frame, make([]byte, size)...)
		if n, err := io.ReadFull(r, frame[frameHeader:]); err != nil {
			c.server.Write(frame[:frameHeader+n])
			return err
		}
		if _, err := c.server.Write(c.translate(frame)); err != nil {
			return err
		}
	}
}

// translate returns the frame to send in place of this one.
func (c *connector) translate(frame []byte) []byte {
	flags := http2.Flags(frame[4])
	if http2.FrameType(frame[3]) != http2.FrameHeaders || !flags.Has(http2.FlagHeadersEndHeaders) ||
		flags.Has(http2.FlagHeadersPadded) || flags.Has(http2.FlagHeadersPriority) {
		return frame
	}
	fields, err := c.decoder.DecodeFull(frame[frameHeader:])
	if err != nil {
		return frame
	}
	c.block.Reset()
	for _, f := range connectFields(fields) {
		c.encoder.WriteField(f)
	}
	size := c.block.Len()
	out := append([]byte{byte(size >> 16), byte(size >> 8), byte(size)}, frame[3:frameHeader]...)
	return append(out, c.block.Bytes()...)
}

// connectFields turns a plain request into CONNECT and leaves everything else alone.
func connectFields(fields []hpack.HeaderField) []hpack.HeaderField {
	const pseudo = 4
	if len(fields) < pseudo || fields[0].Name != ":method" || fields[1].Name != ":scheme" ||
		fields[2].Name != ":path" || fields[2].Value == "" || fields[3].Name != ":authority" {
		return fields
	}
	for _, f := range fields[pseudo:] {
		if f.IsPseudo() {
			return fields
		}
	}
	return append([]hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: peers.Authority},
	}, fields[pseudo:]...)
}
