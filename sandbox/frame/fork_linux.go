package frame

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Fork makes a worker of a child that w, a template, forks into cell. The cell
// is the worker's where there is no error, and the caller's to close otherwise.
func (w *Worker) Fork(ctx context.Context, cell *process.Cell) (*Worker, error) {
	lines := &Lines{}
	conn, theirs, err := Pair(lines.Print)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	out, child, err := newPipes()
	if err != nil {
		conn.nc.Close()
		return nil, err
	}
	defer child[0].Close()
	defer child[1].Close()
	id, exited := w.conn.children.add()
	prog, err := w.fork(ctx, id, conn, cell, append([]*os.File{theirs, child[0], child[1]}, cell.Namespaces()...))
	if err != nil {
		w.conn.children.remove(id)
		conn.nc.Close()
		out.close()
		return nil, err
	}
	out.copy(lines.Writer(mayfly.Stdout, conn.Only), lines.Writer(mayfly.Stderr, conn.Only))
	return run(&Worker{prog: prog, conn: conn, lines: lines, pipes: out, exited: exited, log: w.log}), nil
}

// fork gives the template its orders and finds the process that came of them.
func (w *Worker) fork(ctx context.Context, id uint32, conn *Conn, cell *process.Cell, files []*os.File) (Program, error) {
	if err := conn.passCredentials(1); err != nil {
		return nil, err
	}
	w.conn.children.forking.Lock()
	err := w.conn.out.fds(&Frame{ID: id, Kind: Fork, Body: cell.Filter()}, files)
	w.conn.children.forking.Unlock()
	if err != nil {
		return nil, w.explain(ctx, err)
	}
	files[0].Close() // so that a child that fails is seen
	pid, err := conn.introduced(ctx, w.done)
	if err != nil {
		return nil, fmt.Errorf("the template forked no child: %w", err)
	}
	prog, err := cell.Adopt(ctx, pid)
	if err != nil {
		return nil, err
	}
	return prog, nil
}

// passCredentials has the kernel tell which process sends.
func (c *Conn) passCredentials(on int) error {
	var err error
	raw := c.out.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, on) })
	return errors.Join(raw, err)
}

// introduced reads a child's Hello, before Serve, and says which process sent
// it. It gives up when ctx or the template ends.
func (c *Conn) introduced(ctx context.Context, template <-chan struct{}) (int, error) {
	read := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
		case <-template:
		case <-read:
			return
		}
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}()
	pid, err := c.firstHello()
	close(read)
	<-watched
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	return pid, errors.Join(c.nc.SetReadDeadline(time.Time{}), c.passCredentials(0))
}

// firstHello reads one Hello and the credentials of its sender.
func (c *Conn) firstHello() (int, error) {
	b, oob := make([]byte, headerSize+maxSmall), make([]byte, 128)
	n, m, _, _, err := c.nc.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, err
	}
	if n < headerSize || Kind(b[8]) != Hello || int(binary.LittleEndian.Uint32(b)) != n-headerSize {
		return 0, io.ErrUnexpectedEOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil {
		return 0, err
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			c.mu.Lock()
			c.ready = true
			close(c.hello)
			c.mu.Unlock()
			return int(cred.Pid), nil
		}
	}
	return 0, errors.New("the child's message says not who sent it")
}

// pipes carry what a forked worker prints past its frames.
type pipes struct {
	ours    [2]*os.File
	copying sync.WaitGroup
}

func newPipes() (*pipes, [2]*os.File, error) {
	p := &pipes{}
	var child [2]*os.File
	for i := range child {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			for _, f := range child {
				if f != nil {
					f.Close()
				}
			}
			return nil, child, err
		}
		p.ours[i], child[i] = r, w
	}
	return p, child, nil
}

func (p *pipes) close() {
	for _, f := range p.ours {
		if f != nil {
			f.Close()
		}
	}
}

// copy passes on what comes until the pipes close.
func (p *pipes) copy(stdout, stderr io.Writer) {
	for i, w := range [2]io.Writer{stdout, stderr} {
		p.copying.Go(func() {
			_, _ = io.Copy(w, p.ours[i]) // its end is the worker's, which is told elsewhere
		})
	}
}

// wait waits for the rest of the output of a process that has ended.
func (p *pipes) wait() {
	if p == nil {
		return
	}
	for _, f := range p.ours {
		_ = f.SetReadDeadline(time.Now().Add(time.Second)) // a descriptor may have escaped to a process that lives on
	}
	p.copying.Wait()
	p.close()
}
