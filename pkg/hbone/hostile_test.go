package hbone_test

import (
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
)

// CVE-2023-44487: streams opened and reset faster than their handlers end. The handlers here never end by themselves,
// which is the worst case: their number must stay within the stream limit, and the connection must go.
func TestRapidReset(t *testing.T) {
	var started, running, most atomic.Int64
	addr, healthy := hostileServer(t, func(r *hbone.Request) {
		if r.Header().Get("kind") != "attack" {
			echo(r)
			return
		}
		started.Add(1)
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-r.Context().Done()
	})
	p := rawClient(t, addr)
	wait := p.drainInBackground()
	pairs := 0
	for id := uint32(1); pairs < 100_000; id += 2 {
		if p.headers(id, false, ":method", "CONNECT", ":authority", "10.0.0.9:3000", "kind", "attack") != nil {
			break
		}
		if p.framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		pairs++
	}
	wait()
	if pairs == 100_000 {
		t.Error("100,000 resets on one connection were tolerated")
	}
	if got := started.Load(); got > 101 {
		t.Errorf("%d handlers were started for streams that were reset at once, more than 101", got)
	}
	if got := most.Load(); got > 250 {
		t.Errorf("%d handlers ran at once, more than 250", got)
	}
	stillServes(t, healthy)
}

// A peer that carries the calls of many passes on their changes of mind: what was answered and then reset is no attack, and
// pays for some that were not.
func TestResetsOfManyCallers(t *testing.T) {
	addr, _ := hostileServer(t, echo)
	p := rawClient(t, addr)
	for i := range 600 {
		id := uint32(1 + 2*i)
		p.connect(id)
		if got := p.status(); got != "200" {
			t.Fatalf("stream %d: status %q", i, got)
		}
		if i%3 > 0 {
			p.framer.WriteData(id, false, []byte("x"))
			p.await(http2.FrameData)
		}
		if err := p.framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	p.ping()
}

// A handler that outlives its reset stream keeps its place: new streams are refused, not started.
func TestResetStreamKeepsItsPlaceWhileItsHandlerRuns(t *testing.T) {
	release := make(chan struct{})
	var started atomic.Int64
	_, addr := startServer(t, hbone.ServerConfig{
		Now:    frozen,
		Limits: hbone.Limits{MaxStreams: 10},
		Handler: func(*hbone.Request) {
			started.Add(1)
			<-release
		},
	})
	p := rawClient(t, addr)
	refused := 0
	for i := range uint32(30) {
		p.connect(1 + 2*i)
		p.framer.WriteRSTStream(1+2*i, http2.ErrCodeCancel)
	}
	for refused < 20 {
		if f := p.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); f.ErrCode == http2.ErrCodeRefusedStream {
			refused++
		}
	}
	if got := started.Load(); got > 10 {
		t.Errorf("%d handlers were started, more than 10", got)
	}
	close(release)
}

// CVE-2025-8671 (MadeYouReset): the six published ways to make a server reset a stream whose handler goes on working.
func TestMadeYouReset(t *testing.T) {
	primitives := []struct {
		name string
		send func(p *rawPeer, id uint32)
	}{
		{"WINDOW_UPDATE of zero", func(p *rawPeer, id uint32) { p.framer.WriteWindowUpdate(id, 0) }},
		{"WINDOW_UPDATE overflow", func(p *rawPeer, id uint32) { p.framer.WriteWindowUpdate(id, 1<<31-1) }},
		{"HEADERS on a half-closed stream", func(p *rawPeer, id uint32) {
			p.framer.WriteData(id, true, nil)
			p.headers(id, true, "late", "1")
		}},
		{"DATA on a half-closed stream", func(p *rawPeer, id uint32) {
			p.framer.WriteData(id, true, nil)
			p.framer.WriteData(id, false, []byte("late"))
		}},
		{"PRIORITY of wrong length", func(p *rawPeer, id uint32) {
			p.framer.WriteRawFrame(http2.FramePriority, 0, id, []byte{0, 0, 0, 0})
		}},
		{"PRIORITY on itself", func(p *rawPeer, id uint32) {
			p.framer.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}},
	}
	for _, tt := range primitives {
		t.Run(tt.name, func(t *testing.T) {
			var started, ended atomic.Int64
			addr, healthy := hostileServer(t, func(r *hbone.Request) {
				if r.Header().Get("kind") != "attack" {
					echo(r)
					return
				}
				started.Add(1)
				<-r.Context().Done()
				ended.Add(1)
			})
			p := rawClient(t, addr)
			wait := p.drainInBackground()
			streams := 0
			for id := uint32(1); streams < 10_000; id += 2 {
				if p.headers(id, false, ":method", "CONNECT", ":authority", "10.0.0.9:3000", "kind", "attack") != nil {
					break
				}
				tt.send(p, id)
				streams++
			}
			wait()
			if got := started.Load(); got > 101 {
				t.Errorf("%d handlers were started for streams that were reset at once, more than 101", got)
			}
			stillServes(t, healthy)
			waitFor(t, "handlers to notice the reset", func() bool { return ended.Load() == started.Load() })
		})
	}
}

// CVE-2023-45288: header blocks that never end.
func TestContinuationFlood(t *testing.T) {
	for _, size := range []int{0, 1, 1024, 16 << 10} {
		addr, healthy := hostileServer(t, echo)
		p := rawClient(t, addr)
		wait := p.drainInBackground()
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "CONNECT")})
		// Literal fields without indexing, so that every fragment is valid by itself.
		fragment := []byte(strings.Repeat("\x00\x01a\x01b", size/5+1))[:size/5*5]
		sent := 0
		for range 100_000 {
			if p.framer.WriteContinuation(1, false, fragment) != nil {
				break
			}
			sent += len(fragment) + 9
		}
		wait()
		if sent > 64<<20 {
			t.Errorf("fragments of %d bytes: %d bytes were taken", size, sent)
		}
		stillServes(t, healthy)
	}
}

// The bound itself, exactly: what is over it is refused before it is read.
func TestHeaderBlockBounds(t *testing.T) {
	addr, _ := hostileServer(t, echo)
	t.Run("frames", func(t *testing.T) {
		p := rawClient(t, addr)
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "CONNECT")})
		for range 32 {
			p.framer.WriteContinuation(1, false, nil)
		}
		p.expectEnd(http2.ErrCodeEnhanceYourCalm)
	})
	t.Run("bytes", func(t *testing.T) {
		p := rawClient(t, addr)
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 64<<10+1)})
		p.expectEnd(http2.ErrCodeEnhanceYourCalm)
	})
	t.Run("within", func(t *testing.T) {
		p := rawClient(t, addr)
		block := p.block(":method", "CONNECT", ":authority", "10.0.0.9:3000")
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1]})
		for i, b := range block[1:] {
			p.framer.WriteContinuation(1, i == len(block)-2, []byte{b})
		}
		if got, want := p.status(), "200"; got != want {
			t.Errorf("got status %q, want %q", got, want)
		}
	})
}

// CVE-2026-47774: the decoded size counts. A field of 4 KB that costs one byte on the wire is repeated.
func TestDecodedHeaderSize(t *testing.T) {
	addr, healthy := hostileServer(t, echo)
	p := rawClient(t, addr)
	p.headers(1, false, ":method", "CONNECT", ":authority", "10.0.0.9:3000", "cookie", strings.Repeat("a", 3<<10))
	if got, want := p.status(), "200"; got != want {
		t.Fatalf("got status %q, want %q", got, want)
	}
	for id := uint32(3); id < 43; id += 2 {
		block := p.block(":method", "CONNECT", ":authority", "10.0.0.9:3000")
		cookie := p.block("cookie", strings.Repeat("a", 3<<10)) // one byte: it is in the table
		if len(cookie) != 1 {
			t.Fatalf("the field takes %d bytes", len(cookie))
		}
		for range 10_000 {
			block = append(block, cookie...)
		}
		p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
		if got, want := p.status(), "431"; got != want {
			t.Fatalf("got status %q, want %q", got, want)
		}
	}
	stillServes(t, healthy)
}

func TestHeaderFieldCount(t *testing.T) {
	addr, _ := hostileServer(t, echo)
	p := rawClient(t, addr)
	for i, tt := range []struct {
		n    int
		want string
	}{{98, "200"}, {99, "431"}} {
		fields := []string{":method", "CONNECT", ":authority", "10.0.0.9:3000"}
		for range tt.n {
			fields = append(fields, "a", "b")
		}
		p.headers(uint32(1+2*i), false, fields...)
		if got := p.status(); got != tt.want {
			t.Errorf("%d fields: got status %q, want %q", tt.n, got, tt.want)
		}
	}
}

// Frames that carry nothing, one kind after the other: a thousand pass, a flood ends the connection.
func TestNoiseFloods(t *testing.T) {
	floods := []struct {
		name string
		send func(p *rawPeer, i int) error
	}{
		{"SETTINGS", func(p *rawPeer, _ int) error { return p.framer.WriteSettings() }},
		{"SETTINGS that resize windows", func(p *rawPeer, i int) error {
			return p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		}},
		{"SETTINGS acknowledgements", func(p *rawPeer, _ int) error { return p.framer.WriteSettingsAck() }},
		{"PING", func(p *rawPeer, _ int) error { return p.framer.WritePing(false, [8]byte{}) }},
		{"PING acknowledgements", func(p *rawPeer, _ int) error { return p.framer.WritePing(true, [8]byte{}) }},
		{"WINDOW_UPDATE of the connection", func(p *rawPeer, _ int) error { return p.framer.WriteWindowUpdate(0, 1) }},
		{"WINDOW_UPDATE of a stream", func(p *rawPeer, _ int) error { return p.framer.WriteWindowUpdate(1, 1) }},
		{"PRIORITY", func(p *rawPeer, _ int) error {
			return p.framer.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}},
		{"empty DATA", func(p *rawPeer, _ int) error { return p.framer.WriteData(1, false, nil) }},
		{"DATA of padding only", func(p *rawPeer, _ int) error {
			return p.framer.WriteDataPadded(1, false, nil, make([]byte, 255))
		}},
		{"unknown frames", func(p *rawPeer, _ int) error { return p.framer.WriteRawFrame(0xfa, 0, 0, []byte("x")) }},
		{"GOAWAY", func(p *rawPeer, _ int) error { return p.framer.WriteGoAway(0, http2.ErrCodeNo, nil) }},
		{"RST_STREAM on a closed stream", func(p *rawPeer, i int) error {
			return p.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		}},
	}
	addr, healthy := hostileServer(t, echo)
	for _, tt := range floods {
		t.Run(tt.name, func(t *testing.T) {
			p := rawClient(t, addr)
			p.connect(1)
			p.status()
			for i := range 900 { // below the budget nothing happens
				if err := tt.send(p, i); err != nil {
					t.Fatal(err)
				}
			}
			p.ping()
			wait := p.drainInBackground()
			sent := 900
			for sent < 1_000_000 && tt.send(p, sent) == nil {
				sent++
			}
			wait()
			if sent == 1_000_000 {
				t.Error("a million of them were tolerated")
			}
			stillServes(t, healthy)
		})
	}
}

// A peer that asks and does not read the answers is cut before they pile up.
func TestPeerThatNeverReads(t *testing.T) {
	_, addr := startServer(t, hbone.ServerConfig{})
	p := newRawPeer(t, rawTLS(t, addr))
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings()
	for id := uint32(1); ; id += 2 { // requests that are refused cost no budget, only an answer
		if p.headers(id, true, ":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a") != nil {
			return
		}
		if id > 20_000_000 {
			t.Fatal("ten million unread answers were tolerated")
		}
	}
}

// CVE-2026-97032: table-size changes between and inside header blocks.
func TestTableSizeChanges(t *testing.T) {
	addr, healthy := hostileServer(t, echo)
	p := rawClient(t, addr)
	wait := p.drainInBackground()
	for i := range uint32(2000) {
		p.hpack.SetMaxDynamicTableSize(i % 4097)
		err := p.headers(1+2*i, true, ":method", "CONNECT", ":authority", "10.0.0.9:3000", "x", strings.Repeat("y", int(i%500)))
		if i%10 == 0 {
			p.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: i * 1000})
		}
		if err != nil {
			break
		}
	}
	p.conn.Close()
	wait()

	p = rawClient(t, addr)
	p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: []byte{0x3f, 0xe2, 0x1f}}) // a table of 4097 bytes: more than we allow
	p.expectEnd(http2.ErrCodeCompression)
	stillServes(t, healthy)
}

// All 256 frame types with all kinds of payload on all kinds of stream; CVE-2026-27141. The oracle: the connection ends
// or goes on answering, and nobody else notices.
func TestAllFrameTypes(t *testing.T) {
	addr, healthy := hostileServer(t, echo)
	payloads := [][]byte{nil, {0}, {0, 0, 0, 1}, make([]byte, 5), make([]byte, 8), make([]byte, 9), make([]byte, 300)}
	var p *rawPeer
	next := uint32(1)
	for typ := range 256 {
		for _, payload := range payloads {
			for _, offset := range []int{-1, 0, 1, 2, 1000} { // stream 0, an open one, even, idle ones
				if p == nil {
					p, next = rawClient(t, addr), 1
				}
				p.connect(next)
				id := uint32(max(0, int(next)+offset)) * uint32(min(1, offset+1))
				p.framer.WriteRawFrame(http2.FrameType(typ), 0, id, payload)
				p.framer.WriteRawFrame(http2.FrameType(typ), 0xff, id, payload)
				next += 2
				if !p.answersPing() {
					p.conn.Close()
					p = nil
				}
			}
		}
	}
	if p != nil {
		p.conn.Close()
	}
	stillServes(t, healthy)
}

// answersPing reports whether the connection is alive; if it is not, it has been closed.
func (p *rawPeer) answersPing() bool {
	p.framer.WritePing(false, [8]byte{9})
	for {
		f, err := p.framer.ReadFrame()
		if se, ok := err.(http2.StreamError); ok {
			p.tb.Fatalf("we were sent a malformed frame: %v", se)
		}
		if err != nil {
			return false
		}
		if ping, ok := f.(*http2.PingFrame); ok && ping.IsAck() && ping.Data == [8]byte{9} {
			return true
		}
	}
}

func TestConnectionErrors(t *testing.T) {
	tests := []struct {
		name string
		send func(p *rawPeer)
		want http2.ErrCode
	}{
		{"DATA on stream 0", func(p *rawPeer) { p.framer.WriteData(0, false, []byte("x")) }, http2.ErrCodeProtocol},
		{"DATA on an idle stream", func(p *rawPeer) { p.framer.WriteData(7, false, []byte("x")) }, http2.ErrCodeProtocol},
		{"HEADERS with an even id", func(p *rawPeer) { p.connect(2) }, http2.ErrCodeProtocol},
		{"HEADERS with a lower id", func(p *rawPeer) { p.connect(9); p.connect(7) }, http2.ErrCodeStreamClosed},
		{"RST_STREAM on an idle stream", func(p *rawPeer) { p.framer.WriteRSTStream(7, 0) }, http2.ErrCodeProtocol},
		{"WINDOW_UPDATE on an idle stream", func(p *rawPeer) { p.framer.WriteWindowUpdate(7, 1) }, http2.ErrCodeProtocol},
		{"WINDOW_UPDATE of zero for the connection", func(p *rawPeer) { p.framer.WriteWindowUpdate(0, 0) },
			http2.ErrCodeProtocol},
		{"WINDOW_UPDATE overflow of the connection", func(p *rawPeer) { p.framer.WriteWindowUpdate(0, 1<<31-1) },
			http2.ErrCodeFlowControl},
		{"PUSH_PROMISE from a client", func(p *rawPeer) {
			p.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2})
		}, http2.ErrCodeProtocol},
		{"CONTINUATION without HEADERS", func(p *rawPeer) { p.framer.WriteContinuation(1, true, nil) },
			http2.ErrCodeProtocol},
		{"other frame inside a header block", func(p *rawPeer) {
			p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "CONNECT")})
			p.framer.WritePing(false, [8]byte{})
		}, http2.ErrCodeProtocol},
		{"HPACK garbage", func(p *rawPeer) {
			p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff}, EndHeaders: true})
		}, http2.ErrCodeCompression},
		{"SETTINGS of odd length", func(p *rawPeer) {
			p.framer.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5))
		}, http2.ErrCodeFrameSize},
		{"SETTINGS with too many settings", func(p *rawPeer) {
			p.framer.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 6*65))
		}, http2.ErrCodeFrameSize},
		{"SETTINGS with a bad frame size", func(p *rawPeer) {
			p.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, http2.ErrCodeProtocol},
		{"frame over the announced size", func(p *rawPeer) {
			p.conn.Write(append(binary.BigEndian.AppendUint32(nil, 0x10000100), 0, 0, 0, 0, 1))
		}, http2.ErrCodeFrameSize},
		{"DATA beyond the connection window", func(p *rawPeer) {
			// 17 stalled streams of 1 MiB fill more than 16 MiB: sent at once, before credit can come back. Whether
			// the stream or the connection window breaks first is timing; both are FLOW_CONTROL_ERROR.
			p.connect(1)
			for range 66 {
				p.framer.WriteData(1, false, make([]byte, 16<<10))
			}
		}, http2.ErrCodeNo},
		{"padding larger than the frame", func(p *rawPeer) {
			p.connect(1)
			p.framer.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 0})
		}, http2.ErrCodeProtocol},
	}
	addr, healthy := hostileServer(t, func(r *hbone.Request) {
		c, err := r.Accept(nil)
		if err != nil {
			return
		}
		if r.Peer() == clientID && len(r.Header()) == 0 {
			<-r.Context().Done() // never reads
			return
		}
		io.Copy(c, c)
	})
	_ = healthy
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := rawClient(t, addr)
			tt.send(p)
			if tt.want == http2.ErrCodeNo {
				f := p.await(http2.FrameRSTStream).(*http2.RSTStreamFrame)
				if got, want := f.ErrCode, http2.ErrCodeFlowControl; got != want {
					t.Errorf("stream was reset with %v, want %v", got, want)
				}
				return
			}
			code, goAway, _ := p.end()
			if !goAway || code != tt.want {
				t.Errorf("got GOAWAY %v with %v, want one with %v", goAway, code, tt.want)
			}
		})
	}
}

// What is wrong with one stream costs that stream, and the budget of resets.
func TestStreamErrors(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
	}{
		{"upper case name", []string{":method", "CONNECT", ":authority", "a:1", "Upper", "1"}},
		{"pseudo-header after regular", []string{":method", "CONNECT", "a", "b", ":authority", "a:1"}},
		{"duplicate pseudo-header", []string{":method", "CONNECT", ":method", "CONNECT", ":authority", "a:1"}},
		{"newline in a value", []string{":method", "CONNECT", ":authority", "a:1", "a", "b\r\nc: d"}},
		{"space in a name", []string{":method", "CONNECT", ":authority", "a:1", "a b", "c"}},
		{"connection", []string{":method", "CONNECT", ":authority", "a:1", "connection", "close"}},
		{"transfer-encoding", []string{":method", "CONNECT", ":authority", "a:1", "transfer-encoding", "chunked"}},
		{"te", []string{":method", "CONNECT", ":authority", "a:1", "te", "gzip"}},
	}
	addr, _ := hostileServer(t, echo)
	p := rawClient(t, addr)
	for i, tt := range tests {
		p.headers(uint32(1+2*i), false, tt.fields...)
		f := p.await(http2.FrameRSTStream).(*http2.RSTStreamFrame)
		if f.StreamID != uint32(1+2*i) || f.ErrCode != http2.ErrCodeProtocol {
			t.Errorf("%s: got %v on stream %d, want %v on stream %d",
				tt.name, f.ErrCode, f.StreamID, http2.ErrCodeProtocol, 1+2*i)
		}
	}
	p.ping()
}

// Memory of stalled streams: each buffers its window and no more, and together they stop at the connection's bound.
func TestStalledStreamsAreBounded(t *testing.T) {
	stalled := make(chan struct{})
	_, addr := startServer(t, hbone.ServerConfig{
		Limits: hbone.Limits{StreamWindow: 256 << 10, ConnWindow: 1 << 20, ConnBuffer: 4 << 20},
		Handler: func(r *hbone.Request) {
			if _, err := r.Accept(nil); err == nil {
				<-stalled
			}
		},
	})
	defer close(stalled)
	p := newRawPeer(t, rawTLS(t, addr))
	io.WriteString(p.conn, http2.ClientPreface)
	p.framer.WriteSettings()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p.await(http2.FrameWindowUpdate) // the connection window is 1 MiB from the start
	window, sent := 1<<20, 0         // what we may send on the connection
	for id := uint32(1); window > 0 && id < 400; id += 2 {
		p.connect(id)
		for n := 0; n < 256<<10 && window >= 16<<10; n += 16 << 10 {
			p.framer.WriteData(id, false, make([]byte, 16<<10))
			window -= 16 << 10
			sent += 16 << 10
		}
		p.framer.WritePing(false, [8]byte{byte(id)})
		for acked := false; !acked; { // collect the credit
			f, err := p.framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					window += int(f.Increment)
				}
			case *http2.PingFrame:
				acked = f.IsAck()
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if sent > 6<<20 {
		t.Errorf("stalled streams took %d bytes, more than the bound of 4 MiB and one window", sent)
	}
	if sent < 4<<20 {
		t.Errorf("stalled streams took only %d bytes: connection credit must not depend on them below 4 MiB", sent)
	}
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 24<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// Small frames must not pin large buffers.
func TestStalledTinyFrames(t *testing.T) {
	addr, _ := hostileServer(t, func(r *hbone.Request) {
		if r.Header().Get("kind") != "stall" {
			echo(r)
			return
		}
		if _, err := r.Accept(nil); err == nil {
			<-r.Context().Done()
		}
	})
	p := rawClient(t, addr)
	p.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "kind", "stall")
	p.status()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 20_000 {
		p.framer.WriteData(1, false, []byte{1})
	}
	p.ping()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 4<<20 {
		t.Errorf("20,000 unread bytes hold %d bytes", grown)
	}
}
