package hbone_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// frames builds seeds: what write says, as bytes.
func frames(write func(f *http2.Framer, block func(...string) []byte)) []byte {
	var out, hbuf bytes.Buffer
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	enc := hpack.NewEncoder(&hbuf)
	write(f, func(fields ...string) []byte {
		hbuf.Reset()
		for i := 0; i < len(fields); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return bytes.Clone(hbuf.Bytes())
	})
	return out.Bytes()
}

// Whatever follows the preface: no panic, no goroutine or handler left behind, only well-formed frames from us, and no
// other connection notices.
func FuzzServerFrames(f *testing.F) {
	connect := []string{":method", "CONNECT", ":authority", "10.0.0.9:3000"}
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(connect...), EndHeaders: true})
		f.WriteData(1, false, []byte("hello"))
		f.WriteWindowUpdate(1, 1)
		f.WriteData(1, true, nil)
		f.WritePing(false, [8]byte{})
	}))
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
	}))
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		b := block(connect...)
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], PadLength: 9,
			Priority: http2.PriorityParam{StreamDep: 1}})
		f.WriteContinuation(1, true, b[3:])
		f.WriteDataPadded(1, false, []byte("hello"), make([]byte, 7))
		f.WriteRSTStream(1, http2.ErrCodeCancel)
		f.WriteData(1, false, []byte("late"))
		f.WritePriority(3, http2.PriorityParam{StreamDep: 3})
	}))
	var running atomic.Int64
	_, addr := startServer(f, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		running.Add(1)
		defer running.Add(-1)
		echo(r)
	}})
	healthy := dial(f, startPool(f, hbone.PoolConfig{}), addr)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newRawPeer(t, rawTLS(t, addr))
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				_, err := p.framer.ReadFrame()
				var se http2.StreamError
				var ce http2.ConnectionError
				if errors.As(err, &se) || errors.As(err, &ce) {
					t.Errorf("we sent a malformed frame: %v", err)
				}
				if isTimeout(err) {
					t.Error("the connection was not closed")
				}
				if err != nil {
					return
				}
			}
		})
		io.WriteString(p.conn, http2.ClientPreface)
		p.conn.Write(data)
		p.conn.(interface{ CloseWrite() error }).CloseWrite()
		wg.Wait()
		p.conn.Close()
		waitFor(t, "handlers to end", func() bool { return running.Load() == 1 })
		stillServes(t, healthy)
	})
}

// Whatever a server sends after its handshake: Dial and Read return, and nothing is left behind.
func FuzzClientFrames(f *testing.F) {
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200"), EndHeaders: true})
		f.WriteData(1, false, []byte("hello"))
		f.WriteData(1, true, nil)
	}))
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) // CVE-2026-33814
	}))
	f.Add(frames(func(f *http2.Framer, block func(...string) []byte) {
		f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "103"), EndHeaders: true})
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "503"), EndHeaders: true, EndStream: true})
		f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
		f.WriteRSTStream(1, http2.ErrCodeNo)
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := listenTLS(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(patience))
					conn.Write(data)
					conn.(interface{ CloseWrite() error }).CloseWrite()
					io.Copy(io.Discard, conn)
				})
			}
		})
		p := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(clientMaterial())})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := p.Dial(ctx, target(addrPortOf(l)))
		var de *hbone.DialError
		if err != nil && (!errors.As(err, &de) || errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("dial failed with %v", err)
		}
		if err == nil {
			c.SetDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				t.Error("the connection has ended and Read does not return")
			}
			c.Close()
		}
		p.Close()
		l.Close()
		wg.Wait()
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A request of arbitrary fields is accepted exactly if an independent reading of the contract accepts it, and the
// handler sees exactly what was sent.
func FuzzConnectRequest(f *testing.F) {
	for _, s := range []string{
		":method\x00CONNECT\x00:authority\x0010.0.0.9:3000",
		":method\x00CONNECT\x00:authority\x0010.0.0.9:3000\x00baggage\x00a=b\x00baggage\x00c=d",
		":method\x00CONNECT\x00:authority\x00a:1\x00host\x00b:1",
		":method\x00CONNECT\x00:scheme\x00https\x00:path\x00/\x00:authority\x00a:1",
		":method\x00GET\x00:authority\x00a:1", "te\x00trailers\x00:method\x00CONNECT",
		":method\x00CONNECT\x00:authority\x00a:1\x00te\x00trailers\x00x\x00",
		":method\x00CONNECT\x00:authority\x00a:1\x00X\x00y", ":method\x00CONNECT\x00:authority\x00a:1\x00x\x00\r\n",
	} {
		f.Add(s)
	}
	type seen struct {
		authority string
		fields    map[string][]string
	}
	requests := make(chan seen, 1)
	_, addr := startServer(f, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		requests <- seen{r.Authority(), r.Header()}
		if c, err := r.Accept(nil); err == nil {
			c.CloseWrite()
		}
	}})
	f.Fuzz(func(t *testing.T, s string) {
		parts := strings.Split(s, "\x00")
		if len(parts)%2 != 0 || len(s) > 32<<10 || len(parts) > 150 {
			t.Skip()
		}
		p := rawClient(t, addr)
		defer p.conn.Close()
		p.headers(1, true, parts...)
		got := p.answer()
		if want := expectedAnswer(parts); got != want {
			t.Fatalf("%q: got answer %q, want %q", parts, got, want)
		}
		if got != "200" {
			return
		}
		r := <-requests
		sent := map[string][]string{}
		for i := 0; i < len(parts); i += 2 {
			if parts[i] == ":authority" && r.authority != parts[i+1] {
				t.Errorf("handler saw authority %q, want %q", r.authority, parts[i+1])
			}
			if !strings.HasPrefix(parts[i], ":") {
				sent[parts[i]] = append(sent[parts[i]], parts[i+1])
			}
		}
		for name, values := range r.fields {
			if strings.Join(values, "\x00") != strings.Join(sent[strings.ToLower(name)], "\x00") {
				t.Errorf("handler saw %q: %q, sent %q", name, values, sent)
			}
			delete(sent, strings.ToLower(name))
		}
		if len(sent) > 0 {
			t.Errorf("handler did not see %q", sent)
		}
	})
}

// answer is the status, or "reset".
func (p *rawPeer) answer() string {
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return "reset " + f.ErrCode.String()
		}
	}
}

// expectedAnswer is the contract (ambient 4.2; RFC 9113, sections 8.2, 8.3 and 8.5) read a second time.
func expectedAnswer(parts []string) string {
	pseudo, size := map[string]string{}, 0
	regular, over := false, len(parts)/2 > 100
	for i := 0; i < len(parts); i += 2 {
		name, value := parts[i], parts[i+1]
		if size += len(name) + len(value) + 32; size > 64<<10 {
			over = true
		}
		if i >= 200 {
			break // beyond the count limit nothing is looked at
		}
		_, twice := pseudo[name]
		switch {
		case !httpguts.ValidHeaderFieldValue(value):
			return "reset PROTOCOL_ERROR"
		case strings.HasPrefix(name, ":"):
			if regular || twice {
				return "reset PROTOCOL_ERROR"
			}
			pseudo[name] = value
			continue
		case !httpguts.ValidHeaderFieldName(name) || strings.ContainsAny(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
			return "reset PROTOCOL_ERROR"
		case strings.Contains(" connection proxy-connection keep-alive transfer-encoding upgrade ", " "+name+" "),
			name == "te" && value != "trailers":
			return "reset PROTOCOL_ERROR"
		}
		regular = true
	}
	if over {
		return "431"
	}
	_, _, _, err := hbone.ParseAuthority(pseudo[":authority"])
	if len(pseudo) != 2 || pseudo[":method"] != "CONNECT" || err != nil {
		return "400"
	}
	for i := 0; i < len(parts); i += 2 {
		if parts[i] == "host" && parts[i+1] != pseudo[":authority"] {
			return "400"
		}
	}
	return "200"
}
