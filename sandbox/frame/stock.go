package frame

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// trim is how often a stock looks whether it holds more than is wanted.
const trim = 10 * time.Second

// retry is how long a stock waits after a worker could not be started ahead.
const retry = 5 * time.Second

// settle is how long after a start the stock is filled up: to start another
// worker takes a processor from the call that the start was for.
const settle = 50 * time.Millisecond

// StockConfig configures a Stock.
type StockConfig struct {
	Make   func(ctx context.Context) (*Worker, error) // one that has said hello
	Least  int                                        // kept from Open on, whatever the demand; default 1
	Most   int                                        // default: as memory allows
	Memory mayfly.Bytes                               // what the stock may hold; default 256 MiB
	Each   mayfly.Bytes                               // what one holds, until one was measured; default 32 MiB
	Log    *slog.Logger
}

// A Stock keeps workers made ahead of need, as many as recent starts suggest. Its
// methods may be called concurrently. It holds nothing, and runs no goroutine,
// until Open.
type Stock struct {
	cfg    StockConfig
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	open   bool         // guarded by mu
	closed bool         // guarded by mu
	ready  []*Worker    // guarded by mu; the oldest first
	demand demand       // guarded by mu
	each   mayfly.Bytes // guarded by mu
	filler bool         // guarded by mu; a goroutine makes workers
	direct int          // guarded by mu; starts under way outside the stock
	failed time.Time    // guarded by mu
	timer  *time.Timer  // guarded by mu
	rest   *time.Timer  // guarded by mu; until the stock is filled up, nil where it need not be
	wg     sync.WaitGroup
}

// NewStock makes a stock.
func NewStock(cfg StockConfig) *Stock {
	if cfg.Least == 0 {
		cfg.Least = 1
	}
	if cfg.Memory == 0 {
		cfg.Memory = 256 * mayfly.MiB
	}
	if cfg.Each == 0 {
		cfg.Each = 32 * mayfly.MiB
	}
	if cfg.Most == 0 {
		cfg.Most = 1000
	}
	s := &Stock{cfg: cfg, each: cfg.Each}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Open begins to make. It may be called again.
func (s *Stock) Open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.open {
		return
	}
	s.open = true
	s.timer = time.AfterFunc(trim, s.trim)
	s.fill()
}

// Take counts a start and hands one out, where one is ready. The caller makes
// its own otherwise, and in both cases calls done once its start is over: the
// stock does not compete with starts that somebody waits for.
func (s *Stock) Take() (w *Worker, ok bool, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demand.start(time.Now())
	s.direct++
	for len(s.ready) > 0 {
		w, s.ready = s.ready[0], s.ready[1:]
		if w.Alive() {
			return w, true, s.finished
		}
	}
	return nil, false, s.finished
}

func (s *Stock) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.direct--
	if s.direct == 0 && s.rest == nil && !s.closed {
		s.rest = time.AfterFunc(settle, s.rested)
	}
}

func (s *Stock) rested() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = nil
	s.fill()
}

// want is how many to hold. s.mu is held.
func (s *Stock) want() int {
	if !s.open || s.closed {
		return 0
	}
	return s.demand.want(time.Now(), s.cfg.Least, min(s.cfg.Most, max(1, int(s.cfg.Memory/max(1, s.each)))))
}

// fill starts the goroutine that makes what is missing. s.mu is
// held.
func (s *Stock) fill() {
	if s.filler || s.direct > 0 || len(s.ready) >= s.want() || time.Since(s.failed) < retry {
		return
	}
	s.filler = true
	s.wg.Add(1)
	go s.make()
}

// make adds to the stock until there are enough or somebody waits for a start.
func (s *Stock) make() {
	defer s.wg.Done()
	for {
		ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
		w, err := s.cfg.Make(ctx)
		cancel()
		var size mayfly.Bytes
		if err == nil {
			size = w.Memory()
		}
		if !s.add(w, size, err) {
			return
		}
	}
}

// add puts one of a size into the stock and reports whether to make another.
func (s *Stock) add(w *Worker, size mayfly.Bytes, err error) bool {
	s.mu.Lock()
	if err != nil {
		s.failed = time.Now()
		if s.ctx.Err() == nil {
			s.cfg.Log.Warn("nothing made ahead", "error", err)
		}
	}
	if size > 0 {
		s.each = size
	}
	late := err == nil && s.closed
	if err == nil && !s.closed {
		s.ready = append(s.ready, w)
	}
	more := err == nil && s.direct == 0 && len(s.ready) < s.want()
	s.filler = more
	s.mu.Unlock()
	if late {
		w.End()
	}
	return more
}

// trim ends what is beyond the wanted and replaces what died.
func (s *Stock) trim() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.ready = alive(s.ready)
	var surplus []*Worker
	if n := len(s.ready) - s.want(); n > 0 {
		surplus, s.ready = s.ready[:n:n], s.ready[n:]
	}
	s.fill()
	s.timer.Reset(trim)
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	for _, w := range surplus {
		w.End()
	}
}

func alive(ws []*Worker) []*Worker {
	kept := ws[:0]
	for _, w := range ws {
		if w.Alive() {
			kept = append(kept, w)
		}
	}
	return kept
}

// Ready is how many wait.
func (s *Stock) Ready() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// Close ends all that the stock holds. It may be called twice.
func (s *Stock) Close() {
	s.mu.Lock()
	s.closed = true
	rest := s.ready
	s.ready = nil
	for _, t := range []*time.Timer{s.timer, s.rest} {
		if t != nil {
			t.Stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	for _, w := range rest {
		w.End()
	}
}
