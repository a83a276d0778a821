package frame

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

const patience = 30 * time.Second

// A peer is the worker's end, in this process.
type peer struct {
	*testing.T
	nc net.Conn
	r  *bufio.Reader
}

// pair is a served Conn and its peer; both end with the test.
func pair(t *testing.T, log func(LogFrame)) (*Conn, *peer) {
	t.Helper()
	if log == nil {
		log = func(LogFrame) {}
	}
	c, theirs, err := Pair(log)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	go c.Serve()
	t.Cleanup(func() {
		nc.Close()
		c.Close()
		<-c.Closed()
	})
	return c, &peer{T: t, nc: nc, r: bufio.NewReader(nc)}
}

// next reads one frame of the daemon.
func (p *peer) next() (Frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(p.r, h[:]); err != nil {
		return Frame{}, err
	}
	data := make([]byte, binary.LittleEndian.Uint32(h[:]))
	if _, err := io.ReadFull(p.r, data); err != nil {
		return Frame{}, err
	}
	head := binary.LittleEndian.Uint16(h[10:])
	return Frame{ID: binary.LittleEndian.Uint32(h[4:]), Kind: Kind(h[8]), Flags: h[9], Head: data[:head], Body: data[head:]}, nil
}

func (p *peer) send(f Frame) {
	if _, err := p.nc.Write(Append(nil, &f)); err != nil {
		p.Logf("send: %v", err)
	}
}

// want reads frames until one of kind comes.
func (p *peer) want(kind Kind) Frame {
	for {
		f, err := p.next()
		if err != nil {
			p.Errorf("waiting for a frame of kind %d: %v", kind, err)
			return f
		}
		if f.Kind == kind {
			return f
		}
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestCallsCross(t *testing.T) {
	c, p := pair(t, nil)
	go func() { // answers in pairs, the later first
		for range 50 {
			a, b := p.want(Call), p.want(Call)
			p.send(Frame{ID: b.ID, Kind: Result, Body: b.Body})
			p.send(Frame{ID: a.ID, Kind: Result, Body: a.Body})
		}
	}()
	ctx := within(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			event := fmt.Sprintf(`{"n":%d}`, i)
			reply, err := c.Call(ctx, &sandbox.Call{ID: fmt.Sprint(i), Event: []byte(event)})
			if err != nil || string(reply.Payload) != event {
				t.Errorf("call %d: %v, %v", i, reply, err)
			}
		})
	}
	wg.Wait()
}

func TestCallFields(t *testing.T) {
	c, p := pair(t, nil)
	trace := mayfly.NewTrace()
	at := time.UnixMilli(1_700_000_000_123)
	go c.Call(within(t), &sandbox.Call{ID: "an\nid", Trace: trace, Deadline: at, Attempt: 2, Hops: 5, Trigger: "queue", ARN: "arn", Event: []byte("{}"), HTTP: true})
	f := p.want(Call)
	want := []string{"an id", trace.XRay(), "1700000000123", "arn", "queue", "2", trace.Header(), "5"}
	if got := string(f.Head); got != strings.Join(want, "\n") {
		t.Errorf("the head is %q", got)
	}
	if f.Flags != HTTP || string(f.Body) != "{}" {
		t.Errorf("flags %d, body %q", f.Flags, f.Body)
	}
}

func TestForgedFramesAreDropped(t *testing.T) {
	var lines []LogFrame
	c, p := pair(t, func(l LogFrame) { lines = append(lines, l) })
	go func() {
		f := p.want(Call)
		for _, id := range []uint32{0, f.ID + 1, 1 << 31} { // calls that do not exist
			p.send(Frame{ID: id, Kind: Result, Body: []byte(`"forged"`)})
			p.send(Frame{ID: id, Kind: Error, Body: []byte(`{}`)})
			p.send(Frame{ID: id, Kind: Head})
			p.send(Frame{ID: id, Kind: Chunk, Body: []byte("x")})
			p.send(Frame{ID: id, Kind: End})
			p.send(Frame{ID: id, Kind: Loaded})
			p.send(Frame{ID: id, Kind: Log, Body: []byte("late")})
		}
		p.send(Frame{ID: f.ID, Kind: Chunk, Body: []byte("x")}) // before a head
		p.send(Frame{ID: f.ID, Kind: End})
		p.send(Frame{Kind: Hello})
		p.send(Frame{Kind: Hello})
		p.send(Frame{ID: f.ID, Kind: Result, Body: []byte(`"real"`)})
		p.send(Frame{ID: f.ID, Kind: Result, Body: []byte(`"again"`)})
	}()
	reply, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")})
	if err != nil || string(reply.Payload) != `"real"` {
		t.Fatalf("%v, %v", reply, err)
	}
	for _, l := range lines {
		if l.Call != "" {
			t.Errorf("a forged line has the call %q", l.Call)
		}
	}
}

func TestReplies(t *testing.T) {
	for name, c := range map[string]struct {
		frame Frame
		want  string // in the error
	}{
		"not JSON":           {Frame{Kind: Result, Body: []byte("{")}, mayfly.ErrorTypeMarshal},
		"an error":           {Frame{Kind: Error, Body: []byte(`{"errorType":"E","errorMessage":"m"}`)}, "E: m"},
		"an error, not JSON": {Frame{Kind: Error, Body: []byte("zzz")}, "did not say how"},
		"a bad head":         {Frame{Kind: Head, Head: []byte("zzz"), Flags: Whole}, mayfly.ErrorTypeMarshal},
		"a bad head, stream": {Frame{Kind: Head, Head: []byte("[]")}, mayfly.ErrorTypeMarshal},
		"a bad status":       {Frame{Kind: Head, Head: []byte(`{"status":99}`)}, mayfly.ErrorTypeMarshal},
		"another's answer":   {Frame{Kind: Loaded}, "kind 17"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, p := pair(t, nil)
			go func() {
				c.frame.ID = p.want(Call).ID
				p.send(c.frame)
			}()
			_, err := conn.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestStream(t *testing.T) {
	c, p := pair(t, nil)
	const total = 3 << 20
	go func() {
		f := p.want(Call)
		p.send(Frame{ID: f.ID, Kind: Head, Head: []byte(`{"status":201,"headers":[["a","1"],["a","2"]],"cookies":["c=d"]}`)})
		credit := WindowSize
		for sent := 0; sent < total; sent += 1 << 10 {
			for credit < 1<<10 {
				credit += int(binary.LittleEndian.Uint32(p.want(Window).Body))
			}
			p.send(Frame{ID: f.ID, Kind: Chunk, Body: make([]byte, 1<<10)})
			credit -= 1 << 10
		}
		p.send(Frame{ID: f.ID, Kind: End})
	}()
	reply, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, reply.Body)
	if n != total || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if m := reply.Meta; m.Status != 201 || len(m.Header["A"]) != 2 || len(m.Cookies) != 1 {
		t.Errorf("the head is %+v", m)
	}
}

func TestStreamEnds(t *testing.T) {
	start := func(t *testing.T, ctx context.Context) (*Conn, *peer, *sandbox.Reply, uint32) {
		c, p := pair(t, nil)
		id := make(chan uint32, 1)
		go func() {
			f := p.want(Call)
			p.send(Frame{ID: f.ID, Kind: Head})
			p.send(Frame{ID: f.ID, Kind: Chunk, Body: []byte("part")})
			id <- f.ID
		}()
		reply, err := c.Call(ctx, &sandbox.Call{ID: "a", Event: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
		return c, p, reply, <-id
	}
	t.Run("by an error", func(t *testing.T) {
		_, p, reply, id := start(t, within(t))
		p.send(Frame{ID: id, Kind: End, Body: []byte(`{"errorType":"E","errorMessage":"m"}`)})
		data, err := io.ReadAll(reply.Body)
		var failed *mayfly.FunctionError
		if string(data) != "part" || !errors.As(err, &failed) || failed.Type != "E" {
			t.Errorf("%q, %v", data, err)
		}
	})
	t.Run("by the consumer", func(t *testing.T) {
		_, p, reply, id := start(t, within(t))
		reply.Body.Close()
		reply.Body.Close()
		if f := p.want(Cancel); f.ID != id {
			t.Errorf("cancelled %d, want %d", f.ID, id)
		}
		p.send(Frame{ID: id, Kind: Chunk, Body: []byte("late")})
		if _, err := reply.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body was read")
		}
	})
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t))
		_, p, reply, id := start(t, ctx)
		cancel()
		if f := p.want(Cancel); f.ID != id {
			t.Errorf("cancelled %d, want %d", f.ID, id)
		}
		if _, err := io.ReadAll(reply.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("by the worker's end", func(t *testing.T) {
		_, p, reply, _ := start(t, within(t))
		p.nc.Close()
		if _, err := io.ReadAll(reply.Body); !errors.Is(err, ErrClosed) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("past its window", func(t *testing.T) {
		c, p, reply, id := start(t, within(t))
		for range 2 {
			p.send(Frame{ID: id, Kind: Chunk, Body: make([]byte, WindowSize)})
		}
		<-c.Closed()
		if _, err := io.ReadAll(reply.Body); err == nil {
			t.Error("the stream went on")
		}
	})
}

func TestCallEndsWithItsContext(t *testing.T) {
	c, p := pair(t, nil)
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		p.want(Call)
		cancel()
	}()
	if _, err := c.Call(ctx, &sandbox.Call{ID: "a", Event: []byte("{}")}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	p.want(Cancel)
}

// TestWorkerStopsReading: no caller blocks on a worker that does not read.
func TestWorkerStopsReading(t *testing.T) {
	c, p := pair(t, nil)
	event := []byte(`"` + strings.Repeat("x", 4<<20) + `"`)
	ctx, cancel := context.WithCancel(within(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.Call(ctx, &sandbox.Call{ID: "a", Event: event}); !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	for { // the first has filled the socket
		c.mu.Lock()
		n := len(c.calls)
		c.mu.Unlock()
		if n == 4 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	wg.Wait()
	for range 4 { // what was sent arrives whole
		if f := p.want(Call); len(f.Body) != len(event) {
			t.Errorf("an event has %d bytes, want %d", len(f.Body), len(event))
		}
	}
}

func TestWorkerEnds(t *testing.T) {
	c, p := pair(t, nil)
	go func() {
		p.want(Call)
		p.nc.Close()
	}()
	if _, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")}); !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	<-c.Closed()
	if _, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")}); !errors.Is(err, ErrClosed) {
		t.Errorf("the error of a later call is %v", err)
	}
}

func TestLinesOfLateCalls(t *testing.T) {
	got := make(chan LogFrame, 2)
	c, p := pair(t, func(l LogFrame) { got <- l })
	go func() {
		f := p.want(Call)
		p.send(Frame{ID: f.ID, Kind: Log, Flags: 1 | 4<<2, Body: []byte("during")})
		p.send(Frame{ID: f.ID, Kind: Result, Body: []byte("1")})
		p.send(Frame{ID: f.ID, Kind: Log, Body: []byte("after")})
	}()
	if _, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if l := <-got; string(l.Text) != "during" || l.Call != "a" || l.Stream != mayfly.Stderr || l.Level != "error" {
		t.Errorf("the line is %+v", l)
	}
	if l := <-got; string(l.Text) != "after" || l.Call != "a" || l.Stream != mayfly.Stdout || l.Level != "" {
		t.Errorf("the line is %+v", l)
	}
}

// FuzzReceive: whatever a worker sends, its calls end and nothing panics.
func FuzzReceive(f *testing.F) {
	for _, frame := range []Frame{
		{ID: 1, Kind: Result, Body: []byte(`{}`)}, {ID: 1, Kind: Head, Head: []byte(`{"status":200}`), Body: []byte("x")},
		{ID: 1, Kind: Log, Body: []byte("line")}, {ID: 1, Kind: Error, Flags: Last, Body: []byte(`{"errorType":"E"}`)},
	} {
		f.Add(append(Append(nil, &frame), Append(nil, &Frame{ID: 1, Kind: End})...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := &Lines{}
		lines.Bind(Silent{}, &sandbox.Spec{}, "i")
		c, theirs, err := Pair(lines.Print)
		if err != nil {
			t.Fatal(err)
		}
		go c.Serve()
		go func(end *os.File) {
			end.Write(data)
			end.Close()
		}(theirs)
		reply, err := c.Call(within(t), &sandbox.Call{ID: "a", Event: []byte("{}")})
		if err == nil && reply.Body != nil {
			io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		}
		c.Close()
		<-c.Closed()
	})
}

func BenchmarkConn(b *testing.B) {
	c, theirs, err := Pair(func(LogFrame) {})
	if err != nil {
		b.Fatal(err)
	}
	nc, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		b.Fatal(err)
	}
	go c.Serve()
	go func() {
		p := &peer{nc: nc, r: bufio.NewReader(nc)}
		var out []byte
		for {
			f, err := p.next()
			if err != nil {
				return
			}
			out = Append(out[:0], &Frame{ID: f.ID, Kind: Result, Body: f.Body})
			nc.Write(out)
		}
	}()
	call := &sandbox.Call{ID: "11111111-2222-3333-4444-555555555555", Trace: mayfly.NewTrace(), Event: []byte(`{"hello":"world"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(context.Background(), call); err != nil {
			b.Fatal(err)
		}
	}
	nc.Close()
	<-c.Closed()
}
