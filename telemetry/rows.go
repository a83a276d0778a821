package telemetry

import (
	"cmp"
	"slices"
)

// rowKey is what can be asked of a row without its body.
type rowKey struct {
	time     int64 // Unix nanoseconds
	app      string
	function string
	version  int
	ids      [2]string // invocation, trace
	flags    uint16
	num      int64 // a duration, in ns
}

// codec is how one kind of row is laid out.
type codec[T any] interface {
	key(*T) rowKey
	encode(dst []byte, row *T) []byte
	// decode makes a row. It may keep body, which is never written to again.
	decode(k rowKey, body []byte) (T, error)
	// size is about what a row takes in memory, in bytes.
	size(*T) int
	// searched is the part of a body that filter.contains is about.
	searched(body []byte) []byte
}

// filter restricts a scan. Zero fields do not.
type filter[T any] struct {
	app, function string
	version       int
	ids           [2]string
	since, until  int64              // [since, until)
	key           func(*rowKey) bool // over flags and num
	contains      []string           // each in what is searched of the body, whatever the case of ASCII letters
	match         func(*T) bool      // the last word
	limit         int                // 0: all
	oldest        bool               // the first rows instead of the last
}

func (f *filter[T]) keyMatches(k *rowKey) bool {
	return (f.app == "" || k.app == f.app) && (f.function == "" || k.function == f.function) && (f.version == 0 || k.version == f.version) &&
		(f.ids[0] == "" || k.ids[0] == f.ids[0]) && (f.ids[1] == "" || k.ids[1] == f.ids[1]) &&
		k.time >= f.since && (f.until == 0 || k.time < f.until) && (f.key == nil || f.key(k))
}

func (f *filter[T]) bodyMatches(body []byte) bool {
	for _, s := range f.contains {
		if !containsFold(body, s) {
			return false
		}
	}
	return true
}

// found collects the rows of a scan and knows when older or newer ones cannot
// matter any more.
type found[T any] struct {
	limit  int
	oldest bool
	rows   []foundRow[T]
}

type foundRow[T any] struct {
	time int64
	row  T
}

func (r *found[T]) add(time int64, row T) {
	r.rows = append(r.rows, foundRow[T]{time, row})
	if r.limit > 0 && len(r.rows) >= 2*r.limit+1024 {
		r.trim()
	}
}

func (r *found[T]) trim() {
	slices.SortStableFunc(r.rows, func(a, b foundRow[T]) int { return cmp.Compare(a.time, b.time) })
	if r.limit <= 0 || len(r.rows) <= r.limit {
		return
	}
	if r.oldest {
		r.rows = r.rows[:r.limit]
	} else {
		r.rows = append(r.rows[:0], r.rows[len(r.rows)-r.limit:]...)
	}
}

// full reports whether rows in [first, last] cannot change the answer.
func (r *found[T]) full(first, last int64) bool {
	if r.limit <= 0 || len(r.rows) < r.limit {
		return false
	}
	r.trim()
	if r.oldest {
		return first > r.rows[len(r.rows)-1].time
	}
	return last < r.rows[0].time
}

func (r *found[T]) take() []T {
	r.trim()
	out := make([]T, len(r.rows))
	for i, row := range r.rows {
		out[i] = row.row
	}
	return out
}

// containsFold reports whether body holds s, whatever the case of ASCII
// letters. s is not empty.
func containsFold(body []byte, s string) bool { return indexFold(body, s) >= 0 }
