package frame

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// fake is a program that runs in this process: its end of the socket.
type fake struct {
	end  *os.File
	done chan struct{}
	once sync.Once
}

func (f *fake) Done() <-chan struct{}                            { return f.done }
func (f *fake) Ended() process.Ended                             { return process.Ended{Code: -1, Signal: "killed"} }
func (f *fake) PID() int                                         { return 0 }
func (f *fake) Signal(os.Signal) error                           { f.Kill(); return nil }
func (f *fake) Kill()                                            { f.once.Do(func() { f.end.Close(); close(f.done) }) }
func (f *fake) Close()                                           { f.Kill() }
func (f *fake) Freeze() error                                    { return nil }
func (f *fake) Thaw() error                                      { return nil }
func (f *fake) Usage() sandbox.Usage                             { return sandbox.Usage{Memory: 1 << 20} }
func (f *fake) Tier() sandbox.Tier                               { return sandbox.Tier{Name: sandbox.TierPlain} }
func (f *fake) Started() time.Duration                           { return 0 }
func (f *fake) Assign(context.Context, process.Assignment) error { return nil }
func (f *fake) Path(inside string) string                        { return inside }

// launchFake says hello at once.
func launchFake(_ context.Context, cmd process.Command) (Program, error) {
	fd, err := syscall.Dup(int(cmd.Files[0].Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	end := os.NewFile(uintptr(fd), "fake")
	_, err = end.Write(Append(nil, &Frame{Kind: Hello}))
	return &fake{end: end, done: make(chan struct{})}, err
}

func newStock(t *testing.T, made *atomic.Int64, fail *atomic.Bool) *Stock {
	log := slog.New(slog.DiscardHandler)
	s := NewStock(StockConfig{Log: log, Memory: 8 << 20, Each: 1 << 20, Make: func(ctx context.Context) (*Worker, error) {
		if fail.Load() {
			return nil, errors.New("no")
		}
		made.Add(1)
		s := Starter{Launch: launchFake, Command: func(*sandbox.Spec) process.Command { return process.Command{} }, Log: log}
		return s.Anonymous(ctx)
	}})
	t.Cleanup(s.Close)
	return s
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func TestStock(t *testing.T) {
	var made atomic.Int64
	var fail atomic.Bool
	s := newStock(t, &made, &fail)
	if _, ok, done := s.Take(); ok {
		t.Error("a stock that is not open has a worker")
	} else {
		done()
	}
	s.Open()
	s.Open()
	await(t, "a first worker", func() bool { return s.Ready() == 1 })

	var taken []*Worker
	for range 6 { // a burst, of which one is ready
		w, ok, done := s.Take()
		defer done()
		if ok {
			taken = append(taken, w)
		}
	}
	if len(taken) != 1 {
		t.Errorf("%d workers were handed out, want 1", len(taken))
	}
	if n := made.Load(); n != 1 {
		t.Errorf("%d workers were made while starts were under way", n)
	}
	for _, w := range taken {
		w.End()
	}
}

func TestStockFollowsDemand(t *testing.T) {
	var made atomic.Int64
	var fail atomic.Bool
	s := newStock(t, &made, &fail)
	s.Open()
	for range 20 {
		w, ok, done := s.Take()
		if ok {
			w.End()
		}
		done()
	}
	await(t, "a stock as large as memory allows", func() bool { return s.Ready() == 8 })
	s.mu.Lock()
	first := s.ready[0]
	s.mu.Unlock()
	first.End() // one dies
	s.trim()
	await(t, "a worker for the one that died", func() bool { return s.Ready() == 8 && made.Load() >= 9 })
	s.mu.Lock()
	s.demand.at = time.Now().Add(-time.Hour)
	s.mu.Unlock()
	s.trim()
	if n := s.Ready(); n != 1 {
		t.Errorf("%d workers are kept an hour later", n)
	}
	s.Close()
	s.Close()
	if _, ok, done := s.Take(); ok {
		t.Error("a closed stock has a worker")
	} else {
		done()
	}
}

func TestStockThatCannotStart(t *testing.T) {
	var made atomic.Int64
	var fail atomic.Bool
	fail.Store(true)
	s := newStock(t, &made, &fail)
	s.Open()
	await(t, "a failure", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.failed.IsZero() && !s.filler
	})
	_, ok, done := s.Take()
	done()
	if ok || made.Load() != 0 {
		t.Error("a worker came from nowhere")
	}
}
