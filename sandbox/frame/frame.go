package frame

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/mayfly-cloud/mayfly"
)

// Kind says what a frame is.
type Kind uint8

// The daemon sends these.
const (
	Load   Kind = 1
	Call   Kind = 2
	Cancel Kind = 3
	Window Kind = 4 // body: uint32, bytes that were read
	Fork   Kind = 5 // to a template; body: the child's system call filter
)

// A worker sends these.
const (
	Hello  Kind = 16
	Loaded Kind = 17
	Failed Kind = 18
	Result Kind = 19
	Error  Kind = 20
	Head   Kind = 21 // head: JSON of a meta; flag Whole: the body is all of it
	Chunk  Kind = 22
	End    Kind = 23
	Log    Kind = 24 // flags: stream in bits 0–1, level in bits 2–4
	Ended  Kind = 25 // of a template; id: of the Fork; body: uint32, the child's wait status
)

// Flags of Call, Head and Error.
const (
	HTTP  = 1 // Call: the event is an HTTPRequest
	Whole = 1 // Head: no Chunk and no End follow
	Last  = 1 // Error: the worker ends now
)

const (
	headerSize = 12

	// WindowSize bounds the bytes of one streamed reply that were sent and not
	// yet read by its consumer.
	WindowSize = 256 << 10

	// MaxLine bounds the text of one Log frame.
	MaxLine = 64 << 10

	maxBody  = int(mayfly.MaxEvent) + 64<<10 // a result, and the escapes of an error
	maxChunk = WindowSize
	maxError = 256 << 10
	maxSmall = 16 << 10

	// trusted is what is allocated on the word of a header alone. Larger bodies
	// grow as their bytes arrive.
	trusted = 64 << 10
)

// A Frame is one message.
type Frame struct {
	ID    uint32
	Kind  Kind
	Flags uint8
	Head  []byte
	Body  []byte
}

// limit is the largest size of a frame that a worker may send, -1 for a kind
// that it may not send at all.
func limit(k Kind) int {
	switch k {
	case Result:
		return maxBody
	case Head:
		return maxBody + 64<<10
	case Chunk:
		return maxChunk
	case Log:
		return MaxLine
	case Error, Failed, End:
		return maxError
	case Hello, Loaded, Ended:
		return maxSmall
	}
	return -1
}

// appendHeader puts a frame's header before its head and body.
func appendHeader(b []byte, f *Frame) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Head)+len(f.Body)))
	b = binary.LittleEndian.AppendUint32(b, f.ID)
	b = append(b, byte(f.Kind), f.Flags)
	return binary.LittleEndian.AppendUint16(b, uint16(len(f.Head)))
}

// Append adds f to b as it travels. Head holds at most 65535 bytes.
func Append(b []byte, f *Frame) []byte {
	b = appendHeader(b, f)
	b = append(b, f.Head...)
	return append(b, f.Body...)
}

// read takes the next frame of a worker from r. Its Head and Body are the
// caller's. Any error but io.EOF between two frames means that the worker broke
// the protocol or died within a frame.
func read(r *bufio.Reader, f *Frame) error {
	h, err := r.Peek(headerSize)
	if err != nil {
		if err == io.EOF && len(h) > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	size := binary.LittleEndian.Uint32(h)
	head := int(binary.LittleEndian.Uint16(h[10:]))
	*f = Frame{ID: binary.LittleEndian.Uint32(h[4:]), Kind: Kind(h[8]), Flags: h[9]}
	max := limit(f.Kind)
	if max < 0 {
		return fmt.Errorf("a worker may not send frames of kind %d", f.Kind)
	}
	if int64(size) > int64(max) || head > int(size) {
		return fmt.Errorf("a frame of kind %d with %d bytes and a head of %d", f.Kind, size, head)
	}
	if _, err := r.Discard(headerSize); err != nil {
		return err
	}
	data, err := readBody(r, int(size))
	if err != nil {
		return err
	}
	f.Head, f.Body = data[:head:head], data[head:]
	return nil
}

// readBody reads n bytes without trusting n: past the trusted size it allocates
// no more than twice what has arrived.
func readBody(r *bufio.Reader, n int) ([]byte, error) {
	data := make([]byte, min(n, trusted))
	for got := 0; ; {
		m, err := io.ReadFull(r, data[got:])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if got += m; got == n {
			return data, nil
		}
		data = append(data, make([]byte, min(n-got, got))...)
	}
}
