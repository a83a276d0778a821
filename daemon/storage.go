package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/meter"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/bucket"
	"github.com/mayfly-cloud/mayfly/service/kv"
	"github.com/mayfly-cloud/mayfly/service/sql"
)

// storage asks the services what the apps' resources hold. Stores and databases
// know; buckets are counted in the background.
type storage struct {
	buckets   *bucket.Driver
	stores    *kv.Driver
	databases *sql.Driver

	mu      sync.Mutex
	counted map[bucketOf]count // guarded by mu
}

type bucketOf struct {
	app  mayfly.AppName
	name string
}

// count is what a bucket held, and when it is counted again.
type count struct {
	bytes int64
	next  time.Time
}

const (
	// countEvery is the least time between two counts of a bucket, and countApart
	// that for each bucket there is: ten thousand are counted each 50 s.
	countEvery = 5 * time.Second
	countApart = 5 * time.Millisecond
	// countShare bounds what counting a bucket costs: the time until it is
	// counted again is so many times what counting took.
	countShare = 100
	// countLook is how often it is looked whether a bucket is due.
	countLook = time.Second
)

// held is meter.Config.Storage. It waits for no disk but for the sizes of
// databases' files.
func (s *storage) held(context.Context) (out []meter.Held) {
	s.stores.Held(func(app mayfly.AppName, store string, bytes int64) {
		out = append(out, meter.Held{App: app, Kind: service.KindKV, Name: store, Bytes: bytes})
	})
	for _, db := range s.databases.Databases() {
		if db.Engine == "sqlite" {
			out = append(out, meter.Held{App: db.App, Kind: service.KindDatabase, Name: db.Database, Bytes: db.Bytes})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for b, c := range s.counted {
		out = append(out, meter.Held{App: b.app, Kind: service.KindBucket, Name: b.name, Bytes: c.bytes})
	}
	return out
}

// run counts buckets until ctx ends, one after another.
func (s *storage) run(ctx context.Context) error {
	tick := time.NewTicker(countLook)
	defer tick.Stop()
	for {
		for _, b := range s.due(time.Now()) {
			s.count(ctx, b)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// due are the buckets that are to be counted now. Those that are no longer
// declared are forgotten.
func (s *storage) due(now time.Time) (due []bucketOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := make(map[bucketOf]count, len(s.counted))
	s.buckets.Local(func(app mayfly.AppName, name string) {
		b := bucketOf{app, name}
		c, known := s.counted[b]
		if known {
			counted[b] = c
		}
		if now.After(c.next) {
			due = append(due, b)
		}
	})
	s.counted = counted
	return due
}

func (s *storage) count(ctx context.Context, b bucketOf) {
	begin := time.Now()
	bytes, err := s.buckets.Held(ctx, b.app, b.name)
	if err != nil {
		return // the node stops
	}
	end := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted[b] = count{bytes, end.Add(max(countEvery, countShare*end.Sub(begin), countApart*time.Duration(len(s.counted))))}
}
