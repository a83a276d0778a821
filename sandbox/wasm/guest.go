package wasm

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// errorTypeTrap is for a module that failed as the WebAssembly specification
// says a module fails: unreachable code, an index out of bounds, …
const errorTypeTrap = "Runtime.Trap"

// guest is one instance of the module and the call it runs.
type guest struct {
	worker *worker
	module api.Module
	entry  api.Function

	id   uint32
	in   []byte // not read yet
	out  output
	line []byte // of stderr, without its end yet
	last []byte // the last line of stderr that is not empty
}

// run runs the call of a frame and answers it. Its error is the worker's end.
func (g *guest) run(f *frame.Frame) error {
	w := g.worker
	g.id = f.ID
	g.out = output{wire: w.wire, id: f.ID, http: f.Flags&frame.HTTP != 0, held: w.printed[:0]}
	w.env.reset(&w.base.fixed)
	w.env.call(f.Head)
	g.in = f.Body
	if g.out.http {
		if err := w.request.read(f.Body); err != nil {
			return w.wire.fail(frame.Error, g.id, err)
		}
		w.request.environ(&w.env)
		g.in = w.request.body
	}
	w.base.settle(&w.env)
	_, err := g.entry.Call(w.ctx)
	if err != nil && exitedWell(err) {
		err = nil
	}
	g.endLine()
	if g.out.broken != nil {
		return g.out.broken
	}
	if err != nil {
		err = g.failure(err)
	}
	err = g.out.finish(err)
	if !g.out.streaming && cap(g.out.held) <= keepPrinted {
		w.printed = g.out.held
	}
	return err
}

// keepPrinted is the largest storage for what a call prints that serves the next.
const keepPrinted = 64 << 10

// exitedWell reports whether an error is an exit with status 0.
func exitedWell(err error) bool {
	var exit *sys.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 0
}

// failure is what the caller is told of a call that failed.
func (g *guest) failure(err error) error {
	if g.out.refused != nil {
		return g.out.refused
	}
	if g.worker.memory.refused {
		return sandbox.ErrOutOfMemory
	}
	var exit *sys.ExitError
	if !errors.As(err, &exit) {
		message, trace := traceOf(err)
		return &mayfly.FunctionError{Type: errorTypeTrap, Message: message, Trace: trace}
	}
	var said mayfly.FunctionError
	if json.Unmarshal(g.out.held, &said) == nil && said.Type != "" {
		return &said
	}
	message := fmt.Sprintf("exit status %d", exit.ExitCode())
	if len(g.last) > 0 {
		message += ": " + strings.ToValidUTF8(string(g.last), "\uFFFD")
	}
	return &mayfly.FunctionError{Type: mayfly.ErrorTypeExit, Message: message}
}

// stdin, stdout and stderr are the current guest's.
type (
	stdin  struct{ *worker }
	stdout struct{ *worker }
	stderr struct{ *worker }
)

func (s stdin) Read(p []byte) (int, error) {
	if len(s.guest.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.guest.in)
	s.guest.in = s.guest.in[n:]
	return n, nil
}

func (s stdout) Write(p []byte) (int, error) {
	s.guest.out.write(p)
	return len(p), nil
}

func (s stderr) Write(p []byte) (int, error) {
	g := s.guest
	for rest := p; len(rest) > 0; {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		if room := frame.MaxLine - len(g.line); len(line) > room {
			line, after, found = rest[:room], rest[room:], true
		}
		g.line = append(g.line, line...)
		if rest = after; found {
			g.endLine()
		}
	}
	return len(p), nil
}

// endLine sends a line of stderr as the call's.
func (g *guest) endLine() {
	if len(g.line) == 0 {
		return
	}
	if len(bytes.TrimSpace(g.line)) > 0 {
		g.last = append(g.last[:0], g.line[:min(len(g.line), 2048)]...)
	}
	const errorStream = 1
	g.out.send(&frame.Frame{ID: g.id, Kind: frame.Log, Flags: errorStream, Body: g.line})
	g.line = g.line[:0]
}

// sleep is the module's. What it has answered so far leaves before.
func (w *worker) sleep(ns int64) {
	w.guest.out.flush()
	time.Sleep(time.Duration(ns))
}

// random is the system's. The process was not forked: no seed is shared.
type random struct{}

func (random) Read(p []byte) (int, error) { return rand.Read(p) }

// stop ends a guest from within a host function.
func stop() { panic(sys.NewExitError(sys.ExitCodeContextCanceled)) }
