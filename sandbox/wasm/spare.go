package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// instance is a worker with its module loaded.
type instance struct {
	*frame.Worker
	spec   *sandbox.Spec
	out    *lateOutput
	phases []mayfly.Phase // set by serve; nil where the worker knows better
}

var (
	_ sandbox.Instance = (*instance)(nil)
	_ sandbox.Freezer  = (*instance)(nil)
)

// serve gives the instance to its pool. waited is what a spare took to hand out.
func (i *instance) serve(out sandbox.Output, waited time.Duration) {
	i.out.set(out)
	if waited > 0 {
		i.phases = []mayfly.Phase{{Name: mayfly.PhaseSandbox, Duration: waited}, {Name: mayfly.PhaseRuntime}, {Name: mayfly.PhaseInit}}
	}
}

// Info says what the start took: nothing of what was done ahead.
func (i *instance) Info() sandbox.Info {
	info := i.Worker.Info()
	if i.phases != nil {
		info.Phases = i.phases
	}
	return info
}

// lateOutput holds the first lines of an instance that has no Output yet.
type lateOutput struct {
	mu   sync.Mutex
	out  sandbox.Output   // guarded by mu
	held []mayfly.LogLine // guarded by mu
}

// maxHeld is how many lines wait for an Output.
const maxHeld = 100

func (o *lateOutput) Log(line mayfly.LogLine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.out != nil:
		o.out.Log(line)
	case len(o.held) < maxHeld:
		o.held = append(o.held, line)
	}
}

func (o *lateOutput) set(out sandbox.Output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out = out
	for _, line := range o.held {
		out.Log(line)
	}
	o.held = nil
}

// spares are loaded workers, one for each of the versions used last.
type spares struct {
	most   int
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	making sync.WaitGroup

	mu     sync.Mutex
	closed bool                   // guarded by mu
	held   map[string]*spareEntry // guarded by mu; by version
}

// spareEntry is one version's spare, or that one is being made.
type spareEntry struct {
	in   *instance // nil while it is being made
	used time.Time
	soon *time.Timer // until it begins to be made
}

func newSpares(most int, log *slog.Logger) *spares {
	s := &spares{most: most, log: log, held: map[string]*spareEntry{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// take hands out the spare of a version, nil where there is none that fits.
func (s *spares) take(key string, spec *sandbox.Spec) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.held[key]
	if e == nil || e.in == nil {
		return nil
	}
	delete(s.held, key)
	if !e.in.Alive() || !same(e.in.spec, spec) {
		s.end(e.in)
		return nil
	}
	return e.in
}

// same reports whether an instance made for one spec may serve the other: a
// secret may have changed since.
func same(a, b *sandbox.Spec) bool {
	return a == b || a.Handler == b.Handler && a.Memory == b.Memory && a.Require == b.Require && maps.Equal(a.Env, b.Env) &&
		slices.Equal(a.Egress, b.Egress) && maps.EqualFunc(a.Files, b.Files, bytes.Equal)
}

// settle is how long after a start its version's next spare is made, so that
// loading it does not compete with the call that the start was for.
const settle = 100 * time.Millisecond

// fill has a spare made after a while where the version has none, and drops the
// one that was used longest ago where there are too many.
func (s *spares) fill(key string, after time.Duration, load func(context.Context) (*instance, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.held[key]; e != nil {
		e.used = time.Now()
		return
	}
	if s.closed || s.most == 0 {
		return
	}
	s.making.Add(1)
	e := &spareEntry{used: time.Now()}
	e.soon = time.AfterFunc(after, func() {
		defer s.making.Done()
		s.make(key, load)
	})
	s.held[key] = e
	s.evict()
}

func (s *spares) make(key string, load func(context.Context) (*instance, error)) {
	in, err := load(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.held[key]
	switch {
	case err != nil:
		delete(s.held, key)
		if s.ctx.Err() == nil {
			s.log.Warn("wasm worker not loaded ahead", "version", key, "error", err)
		}
	case e == nil || e.in != nil || s.closed: // forgotten meanwhile
		s.end(in)
	default:
		e.in = in
	}
}

// evict drops spares beyond the most. s.mu is held.
func (s *spares) evict() {
	for len(s.held) > s.most {
		oldest := ""
		for key, e := range s.held {
			if e.in != nil && (oldest == "" || e.used.Before(s.held[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return // all are being made
		}
		s.end(s.held[oldest].in)
		delete(s.held, oldest)
	}
}

// end stops an instance beside. s.mu is held.
func (s *spares) end(in *instance) { s.making.Go(in.End) }

func (s *spares) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.held[key]; e != nil {
		delete(s.held, key)
		if e.in != nil {
			s.end(e.in)
		}
	}
}

// ready reports whether the version's spare waits.
func (s *spares) ready(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.held[key]
	return e != nil && e.in != nil
}

func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	for key, e := range s.held {
		if e.in != nil {
			s.end(e.in)
			delete(s.held, key)
		}
		if e.soon.Stop() {
			s.making.Done()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.making.Wait()
}
