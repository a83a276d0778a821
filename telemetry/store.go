package telemetry

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Store is the telemetry of one node. Its methods may be called concurrently.
type Store struct {
	cfg Config

	wake      chan struct{}
	lineQueue *intake[mayfly.LogLine]
	spanQueue *intake[mayfly.Span]
	callQueue *intake[*mayfly.Invocation]

	lines *table[mayfly.LogLine]
	spans *table[mayfly.Span]
	calls *table[*mayfly.Invocation]

	draining sync.Mutex // one drain at a time
	assembly *assembly  // guarded by draining
	hub      hub
	closed   atomic.Bool
}

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
	wake := make(chan struct{}, 1)
	return &Store{
		cfg:       cfg,
		wake:      wake,
		lineQueue: newIntake[mayfly.LogLine](cfg.Intake, int64(cfg.IntakeBytes), wake),
		spanQueue: newIntake[mayfly.Span](cfg.Intake, 0, wake),
		callQueue: newIntake[*mayfly.Invocation](cfg.Intake, 0, wake),
		lines:     newTable(codec[mayfly.LogLine](lineCodec{})),
		spans:     newTable(codec[mayfly.Span](spanCodec{})),
		calls:     newTable(codec[*mayfly.Invocation](callCodec{})),
		assembly:  newAssembly(cfg),
	}, nil
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
	s.lineQueue.put(shardOf(line.Instance), line, len(line.Text)+64)
}

const (
	drainEvery = 50 * time.Millisecond // while rows come; bounds the tail's delay
	idleCheck  = 30 * time.Second      // housekeeping while none do
)

// Run takes rows over as they come until ctx ends, and then the last of them.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(idleCheck)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.drain()
			return nil
		case <-s.wake:
			select {
			case <-ctx.Done():
			case <-time.After(drainEvery):
			}
		case <-timer.C:
			timer.Reset(idleCheck)
		}
		s.drain()
	}
}

// Close writes what is left. It may be called twice, and after it the store
// takes and answers nothing more.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.drain()
	s.hub.close()
	return nil
}

// drain moves what waits in the intakes into the tables and to the followers.
func (s *Store) drain() {
	s.draining.Lock()
	defer s.draining.Unlock()
	s.callQueue.take(func(rows []*mayfly.Invocation) {
		s.calls.add(rows...)
		s.hub.invocations(rows)
	})
	s.spanQueue.take(func(rows []mayfly.Span) { s.spans.add(rows...) })
	now := time.Now()
	s.lineQueue.take(func(rows []mayfly.LogLine) {
		for i := range rows {
			s.assembly.add(&rows[i], now)
		}
	})
	done := s.assembly.take(now)
	s.lines.add(done...)
	s.hub.lines(done)
}
