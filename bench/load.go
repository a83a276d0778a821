package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// load is a closed loop: each connection has one request under way, and sends
// the next when it has read the reply.
type load struct {
	addr        string
	request     func(conn, n int) []byte // a whole HTTP/1.1 request
	connections int
	duration    time.Duration
	requests    int                            // per connection; 0: until duration
	accept      func(conn int, r *reply) error // default: status 200
}

// loaded is what came of a load.
type loaded struct {
	latency  histogram
	requests int64
	failed   int64
	elapsed  time.Duration
	errors   map[string]int // by text, the first twenty kinds
}

func (l *loaded) rate() float64 {
	if l.elapsed <= 0 {
		return 0
	}
	return float64(l.requests-l.failed) / l.elapsed.Seconds()
}

func (l *loaded) fail(err error) {
	l.failed++
	if len(l.errors) < 20 || l.errors[err.Error()] > 0 {
		l.errors[err.Error()]++
	}
}

func get(path string) func(int, int) []byte {
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", path)
	return func(int, int) []byte { return request }
}

func post(path, header string, body []byte) []byte {
	b := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n", path, header, len(body))
	return append(b, body...)
}

// run drives l until it is over or ctx ends.
func (l load) run(ctx context.Context) *loaded {
	if l.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.duration)
		defer cancel()
	}
	all := make([]*loaded, l.connections)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range all {
		all[i] = &loaded{errors: map[string]int{}}
		wg.Go(func() { l.loop(ctx, i, all[i]) })
	}
	wg.Wait()
	sum := &loaded{errors: map[string]int{}, elapsed: time.Since(began)}
	for _, one := range all {
		sum.latency.merge(&one.latency)
		sum.requests += one.requests
		sum.failed += one.failed
		for text, n := range one.errors {
			sum.errors[text] += n
		}
	}
	return sum
}

// loop is one connection. A broken one is a failed request, and made anew.
func (l load) loop(ctx context.Context, conn int, out *loaded) {
	var c *wire
	defer func() { c.close() }()
	for n := 0; ctx.Err() == nil && (l.requests == 0 || n < l.requests); n++ {
		began := time.Now()
		err := l.once(&c, conn, n)
		out.requests++
		if err == nil {
			out.latency.add(time.Since(began))
			continue
		}
		out.fail(err)
		if errors.As(err, new(refusal)) {
			continue
		}
		c.close()
		c = nil
		pause(ctx, 5*time.Millisecond)
	}
}

func (l load) once(c **wire, conn, n int) error {
	if *c == nil {
		var err error
		if *c, err = dial(l.addr); err != nil {
			return err
		}
	}
	r, err := (*c).call(l.request(conn, n))
	if err != nil {
		return err
	}
	if l.accept != nil {
		return l.accept(conn, r)
	}
	if r.status != 200 {
		return refused(r)
	}
	return nil
}

// refusal is a reply with a status that was not wanted.
type refusal struct {
	status int
	text   string // the beginning of its body
}

func refused(r *reply) error {
	return refusal{r.status, string(r.body[:min(len(r.body), 300)])}
}

func (r refusal) Error() string { return "status " + strconv.Itoa(r.status) + ": " + r.text }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// wire is one connection. Its reply is valid until the next call.
type wire struct {
	conn  net.Conn
	in    *bufio.Reader
	reply reply
}

// reply is one HTTP reply.
type reply struct {
	status int
	cold   bool // X-Mayfly-Cold
	body   []byte
	timing string    // Server-Timing
	first  time.Time // when its first byte was read
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return &wire{conn: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (w *wire) close() {
	if w != nil {
		w.conn.Close()
	}
}

// callTimeout is how long a reply may take.
const callTimeout = 60 * time.Second

func (w *wire) call(request []byte) (*reply, error) {
	if err := w.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return nil, fmt.Errorf("send: %w", errors.Unwrap(err))
	}
	if err := w.read(); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return &w.reply, nil
}

func (w *wire) read() error {
	r := &w.reply
	*r = reply{body: r.body[:0]}
	if _, err := w.in.Peek(1); err != nil {
		return err
	}
	r.first = time.Now()
	line, err := w.line()
	if err != nil {
		return err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return fmt.Errorf("not a reply: %q", line)
	}
	if r.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return err
	}
	length, err := w.header(r)
	if err != nil {
		return err
	}
	if length >= 0 {
		return w.take(length)
	}
	return w.chunks()
}

// header reads the header; length is -1 for a chunked body.
func (w *wire) header(r *reply) (length int, err error) {
	for {
		line, err := w.line()
		if err != nil {
			return 0, err
		}
		if len(line) == 0 {
			return length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = -1
		case bytes.EqualFold(name, []byte("X-Mayfly-Cold")):
			r.cold = true
		case bytes.EqualFold(name, []byte("Server-Timing")):
			r.timing = string(value)
		}
	}
}

func (w *wire) line() ([]byte, error) {
	line, err := w.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func (w *wire) take(n int) error {
	at := len(w.reply.body)
	w.reply.body = append(w.reply.body, make([]byte, n)...)
	_, err := io.ReadFull(w.in, w.reply.body[at:])
	return err
}

func (w *wire) chunks() error {
	for {
		line, err := w.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return err
		}
		if err := w.take(int(n)); err != nil {
			return err
		}
		if _, err := w.line(); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}
