package event

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Journal is a log of events that are kept for a time, whoever has read them.
// Readers have positions; one reader does not affect another.
type Journal struct {
	log    Log
	slog   *slog.Logger
	wakeup chan struct{}

	mu     sync.Mutex
	queue  []*appending           // guarded by mu
	last   uint64                 // guarded by mu; sequence number of the last record
	recent map[uint64]journalPage // guarded by mu; the last records, decoded
	bytes  int                    // guarded by mu; of recent
	oldest uint64                 // guarded by mu; of recent
	grown  chan struct{}          // guarded by mu; closed when last grows
	closed bool                   // guarded by mu
}

type appending struct {
	events []*Published
	err    chan error
}

type journalPage struct {
	events []*Published
	size   int
}

// Position is a place in a journal: before the event that is there.
type Position struct {
	Seq   uint64
	Index int
}

func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Seq, p.Index) }

// Before reports whether p comes before another position.
func (p Position) Before(q Position) bool {
	return p.Seq < q.Seq || p.Seq == q.Seq && p.Index < q.Index
}

// ParsePosition reads what String wrote.
func ParsePosition(s string) (p Position, ok bool) {
	seq, index, found := strings.Cut(s, ".")
	var err, err2 error
	p.Seq, err = strconv.ParseUint(seq, 10, 64)
	p.Index, err2 = strconv.Atoi(index)
	return p, found && err == nil && err2 == nil && p.Index >= 0
}

// Published is one event of a journal. It is not changed once appended.
type Published struct {
	At    Position // given by Append
	Time  time.Time
	App   mayfly.AppName
	Topic string
	Trace string // a traceparent
	Hops  int
	Body  []byte // a CloudEvent in JSON
}

const (
	journalVersion = 2
	journalRecent  = 16 << 20 // bytes of records kept in memory
)

// NewJournal makes a journal over a log. It accepts events when it runs.
func NewJournal(log Log, logger *slog.Logger) *Journal {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Journal{log: log, slog: logger, wakeup: make(chan struct{}, 1), recent: map[uint64]journalPage{}, grown: make(chan struct{})}
}

// Bounded is a Log that knows where it begins and ends.
type Bounded interface {
	Bounds(ctx context.Context) (first, last uint64, err error)
}

// Open finds the journal's end. It is called once, before all else.
func (j *Journal) Open(ctx context.Context) error {
	b, ok := j.log.(Bounded)
	if !ok {
		return mayfly.Errorf(mayfly.Internal, "open journal", "the log %s does not know its bounds", j.log.Name())
	}
	_, last, err := b.Bounds(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last, j.oldest = last, last+1
	return err
}

// Append accepts events durably, all or none, and fills their positions.
func (j *Journal) Append(ctx context.Context, events ...*Published) error {
	size := 0
	for _, e := range events {
		size += len(e.Body) + len(e.Topic) + len(e.App) + 100
	}
	if size > j.log.MaxRecord() {
		return mayfly.Errorf(mayfly.TooLarge, "publish", "events of %d bytes are more than are accepted at once (%d)", size, j.log.MaxRecord())
	}
	a := &appending{events, make(chan error, 1)}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return mayfly.Errorf(mayfly.Unavailable, "publish", "the platform is shutting down")
	}
	j.queue = append(j.queue, a)
	j.mu.Unlock()
	poke(j.wakeup)
	select {
	case err := <-a.err:
		return err
	case <-ctx.Done():
		return mayfly.Errorf(mayfly.Timeout, "publish", "the events may or may not have been accepted: %w", ctx.Err())
	}
}

// Run writes what is appended until ctx ends.
func (j *Journal) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			j.mu.Lock()
			j.closed = true
			j.mu.Unlock()
			j.write(context.WithoutCancel(ctx))
			return nil
		case <-j.wakeup:
			j.write(ctx)
		}
	}
}

// write writes records until nothing waits.
func (j *Journal) write(ctx context.Context) {
	for {
		batch, events := j.cut()
		if len(batch) == 0 {
			return
		}
		now := time.Now()
		record := encodeJournal(now, events)
		seq, err := j.log.Append(context.WithoutCancel(ctx), record)
		if err != nil {
			j.slog.Error("events cannot be written", "log", j.log.Name(), "error", err)
		} else {
			for i, e := range events {
				e.At, e.Time = Position{seq, i}, now
			}
			j.mu.Lock()
			j.last = seq
			j.keep(seq, journalPage{events, len(record)})
			close(j.grown)
			j.grown = make(chan struct{})
			j.mu.Unlock()
		}
		for _, a := range batch {
			a.err <- err
		}
	}
}

func (j *Journal) cut() (batch []*appending, events []*Published) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bytes, n := 0, 0
	for ; n < len(j.queue); n++ {
		size := 0
		for _, e := range j.queue[n].events {
			size += len(e.Body) + 200
		}
		if n > 0 && (bytes+size > recordBytes || len(events) > recordItems) {
			break
		}
		bytes += size
		events = append(events, j.queue[n].events...)
	}
	batch, j.queue = j.queue[:n:n], j.queue[n:]
	return batch, events
}

// keep remembers a record, and forgets the oldest ones beyond the limit.
func (j *Journal) keep(seq uint64, p journalPage) {
	j.recent[seq] = p
	for j.bytes += p.size; j.bytes > journalRecent && j.oldest < seq; j.oldest++ {
		j.bytes -= j.recent[j.oldest].size
		delete(j.recent, j.oldest)
	}
}

// End is the position after the last event.
func (j *Journal) End() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Position{Seq: j.last + 1}
}

// Next returns the events of one record from a position on, and the position
// after them. At the end of the journal it waits.
func (j *Journal) Next(ctx context.Context, from Position) (events []*Published, next Position, err error) {
	for {
		j.mu.Lock()
		last, grown := j.last, j.grown
		page, ok := j.recent[from.Seq]
		j.mu.Unlock()
		switch {
		case from.Seq > last:
			select {
			case <-ctx.Done():
				return nil, from, ctx.Err()
			case <-grown:
			}
			continue
		case !ok:
			if page.events, err = j.read(ctx, from.Seq); mayfly.CodeOf(err) == mayfly.NotFound {
				from, err = j.first(ctx, from)
				if err != nil {
					return nil, from, err
				}
				continue
			}
			if err != nil {
				return nil, from, err
			}
		}
		return page.events[min(from.Index, len(page.events)):], Position{Seq: from.Seq + 1}, nil
	}
}

// first is the first position at or after one whose record was cut off.
func (j *Journal) first(ctx context.Context, from Position) (Position, error) {
	first, _, err := j.log.(Bounded).Bounds(ctx)
	return Position{Seq: max(from.Seq+1, first)}, err
}

func (j *Journal) read(ctx context.Context, seq uint64) ([]*Published, error) {
	record, err := j.log.Read(ctx, seq)
	if err != nil {
		return nil, err
	}
	return decodeJournal(record, seq)
}

// Find is the position of the first event that was published at a time or
// later.
func (j *Journal) Find(ctx context.Context, at time.Time) (Position, error) {
	first, last, err := j.log.(Bounded).Bounds(ctx)
	if err != nil {
		return Position{}, err
	}
	low, high := max(first, 1), last+1 // the answer is in [low, high]
	for low < high {
		mid := (low + high) / 2
		events, err := j.read(ctx, mid)
		if err != nil {
			return Position{}, err
		}
		if len(events) > 0 && !events[0].Time.Before(at) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return Position{Seq: low}, nil
}

// Forget cuts off the records of before a time.
func (j *Journal) Forget(ctx context.Context, before time.Time) error {
	at, err := j.Find(ctx, before)
	if err != nil || at.Seq <= 1 {
		return err
	}
	return j.log.Truncate(ctx, at.Seq)
}

// A journal's record is the byte 2, its time, and then events.
func encodeJournal(now time.Time, events []*Published) []byte {
	b := binary.AppendUvarint([]byte{journalVersion}, uint64(now.UnixMilli()))
	for _, e := range events {
		b = appendText(b, string(e.App))
		b = appendText(b, e.Topic)
		b = appendText(b, e.Trace)
		b = binary.AppendUvarint(b, uint64(e.Hops))
		b = appendText(b, e.Body)
	}
	return b
}

func decodeJournal(record []byte, seq uint64) ([]*Published, error) {
	if len(record) == 0 || record[0] != journalVersion {
		return nil, errRecord
	}
	r := &reader{b: record[1:]}
	at := fromMillis(int64(r.uint()))
	var events []*Published
	for len(r.b) > 0 && r.err == nil {
		e := &Published{At: Position{seq, len(events)}, Time: at, App: mayfly.AppName(r.text()), Topic: string(r.text()), Trace: string(r.text()), Hops: int(r.uint())}
		e.Body = r.text()
		events = append(events, e)
	}
	if r.err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "read journal", "record %d: %w", seq, r.err)
	}
	return events, nil
}
