package prom

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/mayfly-cloud/mayfly"
)

// Metrics are the metrics of one node. Its methods may be called concurrently.
type Metrics struct {
	cfg    Config
	db     atomic.Pointer[tsdb.DB] // nil until Run has opened it
	parser parser.Parser
	engine atomic.Pointer[promql.Engine] // nil until the first query
	slots  chan struct{}                 // queries at once
	clock  clock

	mu         sync.Mutex
	families   map[string]*family      // guarded by mu
	live       int                     // guarded by mu; series
	custom     map[string]int          // guarded by mu; series of each app's own metrics
	calls      map[callKey]*callSeries // guarded by mu
	streams    map[string]streamSum    // guarded by mu; of cumulative custom metrics
	collectors []collector             // guarded by mu
	refused    float64                 // guarded by mu; series over a limit
	scraping   sync.Mutex              // one scrape at a time; taken before mu
}

// collector asks for values when a sample is due.
type collector struct {
	name, help string
	kind       kind
	labels     []string
	collect    func(emit func(value float64, labelValues ...string))
}

const (
	maxQueries = 4
	// forget is how long a series is kept that does not change: a version that
	// is not called any more takes no memory.
	forget = time.Hour
)

// Open returns the metrics over the database in cfg.Dir. It starts and opens
// nothing: Run does.
func Open(cfg Config) (*Metrics, error) {
	cfg = cfg.WithDefaults()
	if cfg.Dir == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "open metrics", "dir is missing")
	}
	m := &Metrics{
		cfg: cfg, parser: parser.NewParser(parser.Options{}), slots: make(chan struct{}, maxQueries), clock: clock{log: cfg.Log},
		families: map[string]*family{}, custom: map[string]int{}, calls: map[callKey]*callSeries{}, streams: map[string]streamSum{},
	}
	m.Collect("mayfly_metric_series", "Series that are live.", false, nil, func(emit func(float64, ...string)) { emit(float64(m.live)) })
	m.Collect("mayfly_metric_series_refused_total", "Series that were refused because a limit was reached.", true, nil, func(emit func(float64, ...string)) { emit(m.refused) })
	m.watchProcess()
	m.Collect("mayfly_data_free_ratio", "Free share of the disk with the data folder.", false, nil, func(emit func(float64, ...string)) {
		if share, ok := m.cfg.Free(m.cfg.Dir); ok {
			emit(share)
		}
	})
	return m, nil
}

// Collect adds a metric whose values are asked for when a sample is due: a gauge,
// or a counter where it only grows. collect must not block and not call Metrics.
func (m *Metrics) Collect(name, help string, isCounter bool, labelNames []string, collect func(emit func(value float64, labelValues ...string))) {
	k := gauge
	if isCounter {
		k = counter
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors = append(m.collectors, collector{name, help, k, labelNames, collect})
}

// of finds or makes a series; nil where a limit is reached. The lock is held.
func (m *Metrics) of(name, help string, k kind, names, values []string, now time.Time) *series {
	f := m.families[name]
	if f == nil {
		f = &family{name: name, help: help, kind: k, series: map[string]*series{}}
		m.families[name] = f
	}
	key := strings.Join(values, "\xff")
	if s := f.series[key]; s != nil {
		return s
	}
	if m.live >= m.cfg.Series || f.kind != k {
		m.refused++
		return nil
	}
	b := labels.NewScratchBuilder(len(names) + 1)
	b.Add(model.MetricNameLabel, name)
	for i, n := range names {
		if values[i] != "" {
			b.Add(n, values[i])
		}
	}
	b.Sort()
	s := &series{labels: b.Labels(), began: now, touched: now}
	if k == exphist {
		s.hist = &expHistogram{buckets: map[int32]uint64{}}
	}
	f.series[key] = s
	m.live++
	return s
}

// collect asks the collectors. The lock is held.
func (m *Metrics) collect(now time.Time) {
	for _, c := range m.collectors {
		c.collect(func(value float64, values ...string) {
			if len(values) != len(c.labels) {
				return
			}
			if s := m.of(c.name, c.help, c.kind, c.labels, values, now); s != nil {
				s.set(value, now)
			}
		})
		// What a collector says no more has ended, not only paused.
		if f := m.families[c.name]; f != nil {
			for _, s := range f.series {
				if s.touched.Before(now) {
					s.touched = time.Time{}
				}
			}
		}
	}
}

// Run opens the database, takes samples and evicts what is old, until ctx ends.
func (m *Metrics) Run(ctx context.Context) error {
	db, err := m.openDB()
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "open metrics", "%w", err)
	}
	if newest := db.Head().MaxTime(); newest > 0 { // else it is empty
		m.clock.begin(time.UnixMilli(newest), m.cfg.Now())
	}
	m.db.Store(db)
	defer m.closeDB(db)
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		if err := m.Scrape(ctx, m.cfg.Now()); err != nil && ctx.Err() == nil {
			m.cfg.Log.Error("metrics cannot be written", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
