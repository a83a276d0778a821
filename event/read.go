package event

import (
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// fill reads the bodies of leases. What was cancelled meanwhile is left out.
func (s *shard) fill(ctx context.Context, leases []*Lease) ([]*Lease, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	nums := make([]uint64, len(leases))
	for i, le := range leases {
		nums[i] = le.ref.num
	}
	items, err := s.load(ctx, nums)
	if err != nil {
		for _, le := range leases {
			le.Release(time.Now().Add(time.Second))
		}
		return nil, err
	}
	for i, le := range leases {
		if items[i] != nil {
			le.Item = *items[i]
		} else if le.Done() { // else it was cancelled meanwhile
			s.slog.Error("an item is not in the log any more", "log", s.log.Name(), "lane", le.lane.name, "number", le.ref.num)
		}
	}
	return slices.DeleteFunc(leases, func(le *Lease) bool { return le.ID == "" }), nil
}

// load returns the items of numbers, nil for one that is finished.
func (s *shard) load(ctx context.Context, nums []uint64) ([]*Item, error) {
	items := make([]*Item, len(nums))
	type miss struct {
		i   int
		seq uint64
	}
	var misses []miss
	s.mu.Lock()
	for i, num := range nums {
		p, at := s.table.find(num)
		if p == nil {
			continue
		}
		if page, ok := s.cache.get(p.seq); ok {
			items[i] = page[at]
		} else {
			misses = append(misses, miss{i, p.seq})
		}
	}
	s.mu.Unlock()
	var page *pageItems
	for _, m := range misses {
		if page == nil || page.seq != m.seq {
			var err error
			if page, err = s.read(ctx, m.seq); err != nil {
				return nil, err
			}
		}
		items[m.i] = page.by[nums[m.i]]
	}
	return items, nil
}

// read reads one record from the log into the cache.
func (s *shard) read(ctx context.Context, seq uint64) (*pageItems, error) {
	record, err := s.log.Read(ctx, seq)
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return &pageItems{seq: seq}, nil // finished and cut off meanwhile
	}
	if err != nil {
		return nil, err
	}
	page := &pageItems{seq: seq, by: map[uint64]*Item{}, index: s.index}
	if err := decode(record, map[string]string{}, page); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "read "+s.log.Name(), "record %d: %w", seq, err)
	}
	s.mu.Lock()
	s.cache.add(seq, page.items, len(record), true)
	s.mu.Unlock()
	return page, nil
}

// pageItems collects the items of one record.
type pageItems struct {
	seq   uint64
	index int
	items []*Item
	by    map[uint64]*Item
}

func (p *pageItems) put(it *Item) {
	it.ID = itemID(p.index, it.num, it.salt)
	p.items = append(p.items, it)
	p.by[it.num] = it
}
func (p *pageItems) fail(*failure) {}
func (p *pageItems) done(uint64)   {}
func (p *pageItems) seen(*seen)    {}
