package event

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Worker takes items of one lane in batches and hands them to a handler, as
// many at once as the handler bears: the number in flight grows with each
// success and halves when one is throttled.
type Worker struct {
	cfg   WorkerConfig
	freed chan struct{} // holds a token when there may be room again

	mu     sync.Mutex
	flight map[*Lease]struct{} // guarded by mu
	calls  int                 // guarded by mu; batches in flight
	limit  float64             // guarded by mu
	pause  time.Duration       // guarded by mu; the last one
	until  time.Time           // guarded by mu; no call starts before
}

// WorkerConfig of a Worker. Lane, Settings and Handle are needed.
type WorkerConfig struct {
	Lane     *Lane
	By       string          // who leases, for people
	Settings func() Settings // read before each take; may change
	Gate     *Gate           // shared with the lane's other workers; nil: none
	Logger   *slog.Logger    // default: discards

	// Handle must end each lease by Done, Fail or Release. It is called
	// concurrently. It reports whether it failed for lack of capacity; the
	// worker then waits, and asks for less.
	Handle func(ctx context.Context, leases []*Lease) (throttled bool)
}

// Settings of a Worker.
type Settings struct {
	Batch      int           // most items in one call; default 1
	Window     time.Duration // wait this long for a batch to fill
	Visibility time.Duration // of leases, which are renewed; default 1 m
	Max        int           // most calls at once; default 1000
}

const (
	firstFlight = 16 // calls in flight before anything is known of a handler
	pauseFirst  = 20 * time.Millisecond
	pauseMost   = 5 * time.Second
)

func (s Settings) withDefaults() Settings {
	if s.Batch == 0 {
		s.Batch = 1
	}
	if s.Visibility == 0 {
		s.Visibility = time.Minute
	}
	if s.Max == 0 {
		s.Max = 1000
	}
	return s
}

// NewWorker makes a Worker.
func NewWorker(cfg WorkerConfig) *Worker {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{cfg: cfg, freed: make(chan struct{}, 1), flight: map[*Lease]struct{}{}, limit: firstFlight}
}

// Run takes items until ctx ends, and returns when all handlers have returned,
// which they should when working ends.
func (w *Worker) Run(ctx, working context.Context) {
	if w.cfg.Gate != nil {
		defer w.cfg.Gate.join(w.freed)()
	}
	r := &round{w: w, ctx: ctx, working: working}
	renew := time.NewTimer(w.cfg.Settings().withDefaults().Visibility / 3)
	defer renew.Stop()
	for ctx.Err() == nil {
		set := w.cfg.Settings().withDefaults()
		ready := w.cfg.Lane.Ready()
		room, pause := w.room(set)
		if w.cfg.Gate != nil && w.cfg.Gate.Full() {
			room = 0
		}
		if room == 0 || len(r.held) >= set.Batch {
			ready = nil
		}
		var wait <-chan time.Time
		if pause > 0 {
			wait = time.After(pause)
		}
		select {
		case <-ctx.Done():
		case <-renew.C:
			w.renew(set.Visibility)
			renew.Reset(set.Visibility / 3)
		case <-w.freed:
		case <-wait:
		case <-r.filled():
			r.flush(set)
		case <-ready:
			r.take(set, room)
		}
	}
	for _, le := range r.held {
		w.leave(le)
		le.Release(time.Time{})
	}
	ended := make(chan struct{})
	go func() {
		r.handlers.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return
		case <-renew.C:
			visibility := w.cfg.Settings().withDefaults().Visibility
			w.renew(visibility)
			renew.Reset(visibility / 3)
		}
	}
}

// round is the state of one Run.
type round struct {
	w            *Worker
	ctx, working context.Context
	handlers     sync.WaitGroup
	held         []*Lease    // a batch that is not full
	window       *time.Timer // of held
}

func (r *round) filled() <-chan time.Time {
	if len(r.held) == 0 {
		return nil
	}
	return r.window.C
}

// take leases what there is room for and starts every batch that is full.
func (r *round) take(set Settings, room int) {
	calls := min(room, 64)
	if r.w.cfg.Gate != nil {
		calls = r.w.cfg.Gate.acquire(calls)
	}
	if calls == 0 {
		r.w.cfg.Lane.signal()
		return
	}
	granted := calls
	leases, err := r.w.cfg.Lane.Take(r.ctx, calls*set.Batch-len(r.held), set.Visibility, r.w.cfg.By)
	if err != nil && r.ctx.Err() == nil {
		r.w.cfg.Logger.Error("items cannot be read", "lane", r.w.cfg.Lane.Name(), "error", err)
	}
	for _, le := range leases {
		r.w.enter(le)
	}
	all := append(r.held, leases...)
	r.held = nil
	for len(all) >= set.Batch || len(all) > 0 && set.Window == 0 {
		n := min(set.Batch, len(all))
		r.start(all[:n:n])
		all = all[n:]
		calls--
	}
	if len(all) > 0 {
		r.held = all
		if len(leases) == len(all) || r.window == nil || granted != calls {
			r.window = time.NewTimer(set.Window)
		}
	}
	if r.w.cfg.Gate != nil {
		r.w.cfg.Gate.release(calls)
	}
}

// flush starts a batch that did not fill in its window, when there is room.
func (r *round) flush(set Settings) {
	room, _ := r.w.room(set)
	if room == 0 || r.w.cfg.Gate != nil && r.w.cfg.Gate.acquire(1) == 0 {
		r.window.Reset(pauseFirst)
		return
	}
	batch := r.held
	r.held = nil
	r.start(batch)
}

func (r *round) start(batch []*Lease) {
	w := r.w
	w.mu.Lock()
	w.calls++
	w.mu.Unlock()
	r.handlers.Go(func() {
		throttled := w.cfg.Handle(r.working, batch)
		for _, le := range batch {
			w.leave(le)
		}
		w.learn(throttled)
		if w.cfg.Gate != nil {
			w.cfg.Gate.release(1)
		}
	})
}

// room is how many calls may start now, and how long until a pause is over.
func (w *Worker) room(set Settings) (int, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pause := time.Until(w.until); pause > 0 {
		return 0, pause
	}
	return max(0, min(int(w.limit), set.Max)-w.calls), 0
}

func (w *Worker) enter(le *Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flight[le] = struct{}{}
}

func (w *Worker) leave(le *Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flight, le)
}

func (w *Worker) renew(visibility time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for le := range w.flight {
		le.Extend(visibility)
	}
}

// learn adapts the number in flight to how a call went: one more for each
// flight's worth of successes; half, and a pause, where there was no capacity,
// once for all calls that were in flight together.
func (w *Worker) learn(throttled bool) {
	w.mu.Lock()
	w.calls--
	switch {
	case !throttled:
		w.limit = min(w.limit+1/w.limit, 1<<16)
		w.pause = 0
	case time.Now().After(w.until):
		w.limit = max(1, w.limit/2)
		w.pause = min(max(2*w.pause, pauseFirst), pauseMost)
		w.until = time.Now().Add(w.pause)
	}
	w.mu.Unlock()
	poke(w.freed)
}

// Load says how busy a worker is: calls in flight, how many it would start, and
// until when it waits for capacity (the zero time: it does not).
func (w *Worker) Load() (calls, limit int, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.until) {
		until = w.until
	}
	return w.calls, min(int(w.limit), w.cfg.Settings().withDefaults().Max), until
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Gate bounds the calls of several workers together.
type Gate struct {
	mu      sync.Mutex
	limit   int                        // guarded by mu; 0: none
	used    int                        // guarded by mu
	workers map[chan struct{}]struct{} // guarded by mu
}

// SetLimit changes the bound; 0 is none.
func (g *Gate) SetLimit(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = n
	g.poke()
}

// Full reports whether the bound is reached.
func (g *Gate) Full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit > 0 && g.used >= g.limit
}

func (g *Gate) acquire(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit > 0 {
		n = max(0, min(n, g.limit-g.used))
	}
	g.used += n
	return n
}

func (g *Gate) release(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
	if n > 0 {
		g.poke()
	}
}

func (g *Gate) poke() {
	for ch := range g.workers {
		poke(ch)
	}
}

func (g *Gate) join(freed chan struct{}) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.workers == nil {
		g.workers = map[chan struct{}]struct{}{}
	}
	g.workers[freed] = struct{}{}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.workers, freed)
	}
}
