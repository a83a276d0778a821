package event

import (
	"context"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
)

// Log is a durable sequence of records that this process alone writes.
type Log interface {
	Name() string
	MaxRecord() int // bytes
	Append(ctx context.Context, record []byte) (seq uint64, err error)
	Read(ctx context.Context, seq uint64) ([]byte, error) // NotFound where it was cut off
	Scan(ctx context.Context, from uint64, fn func(seq uint64, record []byte) error) error
	Truncate(ctx context.Context, before uint64) error
}

// Config of a store.
type Config struct {
	Logs   []Log        // one for a shard, at most 16; the order must stay
	Cache  int          // bytes of items kept in memory; default 64 MiB
	Logger *slog.Logger // default: discards
}

// Store is a set of lanes over a fixed set of logs.
type Store struct{ shards []*shard }

// Open reads the logs. The store accepts items when it runs.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Cache == 0 {
		cfg.Cache = 64 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{}
	for i, log := range cfg.Logs {
		s.shards = append(s.shards, newShard(i, log, cfg.Cache/len(cfg.Logs), cfg.Logger))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, shard := range s.shards {
		group.Go(func() error { return shard.recover(ctx) })
	}
	return s, group.Wait()
}

// Run writes and wakes items until ctx ends; then it writes what was finished.
func (s *Store) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range s.shards {
		group.Go(func() error { return shard.run(ctx) })
	}
	return group.Wait()
}

// Lane is the lane of a name, made where missing. A lane's shard follows from
// its name.
func (s *Store) Lane(name string) *Lane {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	shard := s.shards[h.Sum32()%uint32(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.lane(name)
}

// Lanes are all lanes with unfinished items.
func (s *Store) Lanes() []*Lane {
	var lanes []*Lane
	for _, shard := range s.shards {
		shard.mu.Lock()
		for _, l := range shard.lanes {
			if l.total > 0 {
				lanes = append(lanes, l)
			}
		}
		shard.mu.Unlock()
	}
	slices.SortFunc(lanes, func(a, b *Lane) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return lanes
}

// Find returns an unfinished item by id, with what it waits for. It returns
// NotFound where the store never had it, and a zero Waiting with Finished set
// where it had.
func (s *Store) Find(ctx context.Context, id string) (*Waiting, error) {
	shard, num, err := s.locate(id)
	if err != nil {
		return nil, err
	}
	items, err := shard.load(ctx, []uint64{num})
	if err != nil {
		return nil, err
	}
	if items[0] == nil {
		return &Waiting{Item: Item{ID: id}, State: Finished}, nil
	}
	if items[0].ID != id {
		return nil, unknown(id)
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.lane(items[0].lane).describe(items[0], time.Now().UnixMilli()), nil
}

// Cancel finishes an item whether leased or not. A receiver that has it is not
// told. It reports false where the item was finished already.
func (s *Store) Cancel(ctx context.Context, id string) (bool, error) {
	w, err := s.Find(ctx, id)
	if err != nil || w.State == Finished {
		return false, err
	}
	shard, num, _ := s.locate(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.lane(w.lane).finish(ref{num, hashKey(w.Key)}), nil
}

func (s *Store) locate(id string) (*shard, uint64, error) {
	index, num, ok := parseID(id)
	if !ok || index >= len(s.shards) {
		return nil, 0, unknown(id)
	}
	shard := s.shards[index]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if num >= shard.next {
		return nil, 0, unknown(id)
	}
	return shard, num, nil
}

func unknown(id string) error {
	return mayfly.Errorf(mayfly.NotFound, "find item", "there is nothing with the id %s", id)
}
