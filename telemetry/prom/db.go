package prom

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/mayfly-cloud/mayfly"
)

// openDB opens the database with the small buffers of a process that also runs
// functions: an empty one takes about 2 MiB.
func (m *Metrics) openDB() (*tsdb.DB, error) {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = m.cfg.Retention.Milliseconds()
	o.MaxBytes = int64(m.cfg.Size)
	o.MaxBlockDuration = (24 * time.Hour).Milliseconds()
	o.WALSegmentSize = 8 << 20
	o.WALCompression = compression.Snappy
	o.WALReplayConcurrency = 1
	o.StripeSize = 512
	o.HeadChunksWriteBufferSize = 64 << 10
	o.HeadChunksWriteQueueSize = 0
	o.IsolationDisabled = true // one writer, whose samples are of one moment
	o.EnableExemplarStorage = true
	o.MaxExemplars = 10_000
	o.NoLockfile = true // the daemon locks its folder
	return tsdb.Open(m.cfg.Dir, m.cfg.Log, nil, o, nil)
}

func (m *Metrics) closeDB(db *tsdb.DB) {
	// The last values are worth a sample: a restart is then no gap.
	if err := m.Scrape(context.Background(), m.cfg.Now()); err != nil {
		m.cfg.Log.Error("metrics cannot be written", "error", err)
	}
	m.scraping.Lock()
	defer m.scraping.Unlock()
	m.db.Store(nil)
	if err := db.Close(); err != nil {
		m.cfg.Log.Error("metrics cannot be closed", "error", err)
	}
}

// Scrape writes a sample of every series at time now. It does nothing before
// Run has opened the database.
func (m *Metrics) Scrape(ctx context.Context, now time.Time) error {
	m.scraping.Lock()
	defer m.scraping.Unlock()
	db := m.db.Load()
	if db == nil {
		return nil
	}
	app := db.Appender(ctx)
	if err := m.append(app, now); err != nil {
		return errors.Join(err, app.Rollback())
	}
	return app.Commit()
}

func (m *Metrics) append(app storage.Appender, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect(now)
	t := m.clock.at(now).UnixMilli()
	for _, f := range m.families {
		for key, s := range f.series {
			if now.Sub(s.lastUse()) > forget {
				m.drop(f, key, s)
				if s.written {
					if err := s.end(app, t); err != nil {
						return err
					}
				}
				continue
			}
			if !s.written && f.kind != gauge {
				if err := s.begin(app, t-m.cfg.Interval.Milliseconds()); err != nil {
					return err
				}
			}
			if err := s.append(app, t); err != nil {
				return err
			}
		}
	}
	m.forgetCalls(now)
	return nil
}

// drop forgets a series. The lock is held.
func (m *Metrics) drop(f *family, key string, s *series) {
	delete(f.series, key)
	m.live--
	if s.custom != "" {
		m.custom[s.custom]--
	}
	if len(f.series) == 0 {
		delete(m.families, f.name)
	}
}

func (s *series) append(app storage.Appender, t int64) error {
	var err error
	if s.hist == nil {
		s.ref, err = app.Append(s.ref, s.labels, t, s.value)
	} else {
		s.ref, err = app.AppendHistogram(s.ref, s.labels, t, s.hist.native(), nil)
	}
	if err != nil {
		return ignoreDisorder(err)
	}
	s.written = true
	if s.hist == nil || s.hist.sample.trace == "" {
		return nil
	}
	e := s.hist.sample
	s.hist.sample = exemplarOf{}
	_, err = app.AppendExemplar(s.ref, s.labels, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", e.trace), Value: e.value, Ts: e.at.UnixMilli(), HasTs: true})
	return ignoreDisorder(err)
}

// begin writes that what counts began at 0: without it the first burst of a new
// function would be no increase.
func (s *series) begin(app storage.Appender, t int64) (err error) {
	if s.hist == nil {
		s.ref, err = app.Append(s.ref, s.labels, t, 0)
	} else {
		s.ref, err = app.AppendHistogram(s.ref, s.labels, t, (&expHistogram{}).native(), nil)
	}
	return ignoreDisorder(err)
}

// end marks that a series has ended.
func (s *series) end(app storage.Appender, t int64) error {
	_, err := app.Append(s.ref, s.labels, t, math.Float64frombits(value.StaleNaN))
	return ignoreDisorder(err)
}

// ignoreDisorder forgives a sample of the same millisecond as the one before, and
// exemplars of before the clock went back: they are not kept, and the next are.
func ignoreDisorder(err error) error {
	for _, known := range []error{storage.ErrOutOfOrderSample, storage.ErrDuplicateSampleForTimestamp, storage.ErrOutOfBounds, storage.ErrTooOldSample, storage.ErrOutOfOrderExemplar, storage.ErrDuplicateExemplar} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return err
}

// Querier makes Metrics a storage for PromQL.
func (m *Metrics) Querier(mint, maxt int64) (storage.Querier, error) {
	db := m.db.Load()
	if db == nil {
		return nil, errNotOpen
	}
	return db.Querier(mint, maxt)
}

var errNotOpen = mayfly.Errorf(mayfly.Unavailable, "query metrics", "the metric store is not open yet; try again in a moment")
