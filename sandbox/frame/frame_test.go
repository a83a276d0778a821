package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadWhatAppendWrote(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 5<<20)
	frames := []Frame{
		{ID: 1, Kind: Result, Body: []byte(`{"a":1}`)},
		{ID: 1<<32 - 1, Kind: Head, Flags: Whole, Head: []byte(`{"status":200}`), Body: []byte("body")},
		{ID: 7, Kind: Result, Body: large},
		{Kind: Log, Flags: 1 | 4<<2},
		{ID: 2, Kind: End},
	}
	var wire []byte
	for i := range frames {
		wire = Append(wire, &frames[i])
	}
	r := bufio.NewReaderSize(iotest.HalfReader(bytes.NewReader(wire)), readBuffer)
	for i := range frames {
		var got Frame
		if err := read(r, &got); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		want := frames[i]
		if got.ID != want.ID || got.Kind != want.Kind || got.Flags != want.Flags || !bytes.Equal(got.Head, want.Head) || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("frame %d is %d %d %d %q %d bytes", i, got.ID, got.Kind, got.Flags, got.Head, len(got.Body))
		}
	}
	var f Frame
	if err := read(r, &f); err != io.EOF {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestReadRefuses(t *testing.T) {
	header := func(size uint32, kind Kind, head uint16) []byte {
		b := binary.LittleEndian.AppendUint32(nil, size)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = append(b, byte(kind), 0)
		return binary.LittleEndian.AppendUint16(b, head)
	}
	for name, data := range map[string][]byte{
		"a kind of the daemon's": header(0, Call, 0),
		"an unknown kind":        header(0, 99, 0),
		"a size of 4 GiB":        header(1<<32-1, Result, 0),
		"a log line too long":    header(MaxLine+1, Log, 0),
		"a chunk past a window":  header(WindowSize+1, Chunk, 0),
		"a head past the frame":  append(header(2, Head, 3), 'a', 'b'),
		"half a header":          header(0, Result, 0)[:7],
		"half a body":            append(header(100, Result, 0), "short"...),
	} {
		var f Frame
		if err := read(bufio.NewReaderSize(bytes.NewReader(data), readBuffer), &f); err == nil || err == io.EOF {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
}

// FuzzRead: frames are written by code that nobody trusts.
func FuzzRead(f *testing.F) {
	for _, frame := range []Frame{
		{ID: 1, Kind: Result, Body: []byte(`{}`)}, {ID: 1, Kind: Head, Head: []byte(`{}`), Body: []byte("x")},
		{Kind: Log, Body: []byte("line")}, {ID: 9, Kind: End, Body: []byte(`{"errorType":"E"}`)},
	} {
		f.Add(Append(nil, &frame))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), readBuffer)
		taken := 0
		for {
			var frame Frame
			if err := read(r, &frame); err != nil {
				return
			}
			n := len(frame.Head) + len(frame.Body)
			if n > limit(frame.Kind) {
				t.Fatalf("a frame of kind %d has %d bytes", frame.Kind, n)
			}
			if taken += headerSize + n; taken > len(data) {
				t.Fatalf("%d bytes were read of %d", taken, len(data))
			}
		}
	})
}
