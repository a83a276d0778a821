package telemetry

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/mayfly-cloud/mayfly"
)

// Store is the telemetry of one node. Its methods may be called concurrently.
type Store struct {
	cfg    Config
	opened time.Time

	wake      chan struct{}
	lineQueue *intake[mayfly.LogLine]
	spanQueue *intake[mayfly.Span]
	callQueue *intake[*mayfly.Invocation]

	lines *table[mayfly.LogLine]
	spans *table[mayfly.Span]
	calls *table[*mayfly.Invocation]

	draining sync.Mutex // one drain at a time
	assembly *assembly  // guarded by draining
	sampler  *sampler   // guarded by draining
	said     int64      // guarded by draining; shed rows that were spoken of
	say      *rate.Limiter

	rollup *rollup
	edges  edgeMap

	observers []Observer            // fixed before Run
	exports   []func() ExportHealth // fixed before Run
	hub       hub
	full      chan struct{} // a segment is to be sealed
	closed    atomic.Bool
}

// Observer is given what the store takes over, in batches, after calls have
// been answered. Its methods must not block and must not keep the slices; rows
// are shared and must not be changed.
type Observer interface {
	Invocations([]*mayfly.Invocation)
	Spans([]mayfly.Span) // those that are kept
	Lines([]mayfly.LogLine)
}

// Observe adds an observer. It is called before Run and before the first row.
func (s *Store) Observe(o Observer) { s.observers = append(s.observers, o) }

// Exporting adds the sending to another tool, for Health. It is called before
// Run.
func (s *Store) Exporting(health func() ExportHealth) { s.exports = append(s.exports, health) }

// Open returns a store over the files in cfg.Dir. It starts nothing; until Run
// is called, what comes in is taken over when something is asked.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Clean(cfg.Dir), 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "open telemetry", "%w", err)
	}
	s := &Store{cfg: cfg, opened: time.Now(), wake: make(chan struct{}, 1), assembly: newAssembly(cfg), sampler: newSampler(cfg), rollup: newRollup(), full: make(chan struct{}, 1), say: rate.NewLimiter(rate.Every(10*time.Second), 1)}
	s.lineQueue = newIntake[mayfly.LogLine](math.MaxInt, int64(cfg.IntakeBytes), s.wake)
	s.spanQueue = newIntake[mayfly.Span](cfg.Intake, 0, s.wake)
	s.callQueue = newIntake[*mayfly.Invocation](cfg.Intake, 0, s.wake)
	var err [3]error
	s.lines, err[0] = openTable("lines", filepath.Join(cfg.Dir, "lines"), codec[mayfly.LogLine](lineCodec{}), cfg.Logs, cfg.Log)
	s.spans, err[1] = openTable("spans", filepath.Join(cfg.Dir, "spans"), codec[mayfly.Span](spanCodec{}), cfg.Spans, cfg.Log)
	s.calls, err[2] = openTable("calls", filepath.Join(cfg.Dir, "calls"), codec[*mayfly.Invocation](callCodec{}), cfg.Invocations, cfg.Log)
	if err := errors.Join(err[:]...); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "open telemetry", "%w", err)
	}
	return s, nil
}

// Invocation takes the record of a finished call over; the caller changes it no
// more. It never blocks and never fails: a store that is behind sheds. The
// record is also the call's span, so that no Span need be given for it.
func (s *Store) Invocation(inv *mayfly.Invocation) {
	if inv != nil {
		s.callQueue.put(anyShard(), inv, 0)
	}
}

// Span takes a finished span over; the caller changes its maps no more. It
// never blocks and never fails: a store that is behind sheds.
func (s *Store) Span(span mayfly.Span) {
	s.spanQueue.put(anyShard(), span, 0)
}

// Log takes a line over. It never blocks and never fails: a store that is
// behind sheds. Lines of one instance keep their order.
func (s *Store) Log(line mayfly.LogLine) {
	s.lineQueue.put(shardOf(line.Instance), line, lineCodec{}.size(&line))
}

const (
	drainEvery = 50 * time.Millisecond  // while rows come; bounds the tail's delay
	flushEvery = 250 * time.Millisecond // while rows wait; bounds what a kill loses
	tidyEvery  = time.Minute
)

// Run takes rows over as they come, and keeps the files within their bounds,
// until ctx ends; then it writes the last rows.
func (s *Store) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { s.tidy(ctx) })
	// A disk that is slow must not hold up those who follow, nor the intakes.
	due := make(chan struct{}, 1)
	defer close(due)
	beside.Go(func() {
		for range due {
			s.flush()
		}
	})
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	var flushed time.Time
	for {
		select {
		case <-ctx.Done():
			s.drain()
			s.flush()
			return nil
		case <-s.wake:
			select {
			case <-ctx.Done():
			case <-time.After(drainEvery):
			}
		case <-timer.C:
		}
		more := s.drain()
		if now := time.Now(); now.Sub(flushed) >= flushEvery || s.waiting() >= blockRows {
			select {
			case due <- struct{}{}:
				flushed = now
			default: // it is still at the one before
			}
		}
		if more || s.waiting() > 0 {
			timer.Reset(drainEvery)
		}
	}
}

// tidy bounds the files until ctx ends.
func (s *Store) tidy(ctx context.Context) {
	s.rollup.restore(ctx, s.calls, s.opened)
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		s.rollup.forget(time.Now())
		if err := s.tidyAll(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("telemetry files cannot be kept in order", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.full:
		}
	}
}

func (s *Store) tidyAll(ctx context.Context) error {
	now := time.Now()
	return errors.Join(s.lines.tidy(ctx, now), s.spans.tidy(ctx, now), s.calls.tidy(ctx, now))
}

// Close writes what is left. It may be called twice, and after it the store
// takes and answers nothing more.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.drain()
	s.draining.Lock()
	defer s.draining.Unlock()
	s.lines.add(s.assembly.rest()...)
	s.spans.add(s.sampler.rest()...)
	s.hub.close()
	return errors.Join(s.lines.close(), s.spans.close(), s.calls.close())
}

func (s *Store) waiting() int { return s.lines.waiting() + s.spans.waiting() + s.calls.waiting() }

func (s *Store) flush() {
	for _, err := range []error{s.lines.flush(), s.spans.flush(), s.calls.flush()} {
		if err != nil && s.say.Allow() {
			s.cfg.Log.Error("telemetry cannot be written and is lost", "error", err)
		}
	}
	if s.lines.oversize() || s.spans.oversize() || s.calls.oversize() {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// drain moves what waits in the intakes into the tables and to those who
// follow and observe. It reports whether something is held back that time alone
// will release.
func (s *Store) drain() bool {
	s.draining.Lock()
	defer s.draining.Unlock()
	now := time.Now()
	s.callQueue.take(func(rows []*mayfly.Invocation) {
		s.sampler.calls(rows, now)
		s.calls.add(rows...)
		s.rollup.records(rows)
		s.edges.invocations(rows, now)
		s.hub.invocations(rows)
		for _, o := range s.observers {
			o.Invocations(rows)
		}
	})
	s.spanQueue.take(func(rows []mayfly.Span) { s.sampler.add(rows, now) })
	s.lineQueue.take(func(rows []mayfly.LogLine) {
		for i := range rows {
			s.assembly.add(&rows[i], now)
		}
	})
	s.release(now)
	s.complain()
	return s.assembly.waiting() || s.sampler.holding()
}

// release passes on the lines that are whole and the spans that are decided.
func (s *Store) release(now time.Time) {
	lines, spans := s.assembly.take(now), s.sampler.take(now)
	s.lines.add(lines...)
	s.spans.add(spans...)
	s.edges.spans(spans, now)
	s.hub.lines(lines)
	for _, o := range s.observers {
		if len(lines) > 0 {
			o.Lines(lines)
		}
		if len(spans) > 0 {
			o.Spans(spans)
		}
	}
}

// complain says that rows were shed, at most every ten seconds.
func (s *Store) complain() {
	shed := s.shed()
	if n := shed.Lines + shed.Spans + shed.Invocations; n > s.said && s.say.Allow() {
		s.cfg.Log.Warn("telemetry is behind and sheds", "rows", n-s.said)
		s.said = n
	}
	if text := s.sampler.news(); text != "" {
		s.cfg.Log.Info(text)
	}
}
