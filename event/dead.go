package event

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Why an item died.
const (
	DeadAttempts  = "attempts"  // each attempt failed
	DeadExpired   = "expired"   // it became too old
	DeadHops      = "hops"      // its causes went through too many functions: a cycle
	DeadRejected  = "rejected"  // it can never succeed, such as for a function that is gone
	DeadCancelled = "cancelled" // somebody moved it here
)

// deadRetention is how long a dead letter is kept.
const deadRetention = 14 * 24 * time.Hour

// DeadLetter is an item that was given up, with why and what was tried.
type DeadLetter struct {
	ID       string              `json:"id"`
	Item     string              `json:"item"` // the id that it had
	App      mayfly.AppName      `json:"app"`
	Source   string              `json:"source"` // queue/NAME, function/NAME, topic/NAME
	Function mayfly.FunctionName `json:"function,omitempty"`
	Reason   string              `json:"reason"` // see DeadAttempts and its like
	Error    string              `json:"error,omitempty"`
	Attempts int                 `json:"attempts"`
	History  []Attempt           `json:"history,omitempty"`
	Accepted time.Time           `json:"accepted"`
	Died     time.Time           `json:"died"`
	Trace    mayfly.Trace        `json:"trace,omitzero"`
	Body     json.RawMessage     `json:"body"` // the item, in the form that its source redrives
}

// Dead keeps dead letters, a lane for each source.
type Dead struct{ store *Store }

// NewDead keeps dead letters in a store of their own.
func NewDead(store *Store) *Dead { return &Dead{store} }

func deadLane(app mayfly.AppName, source string) string { return string(app) + "/" + source }

// Add accepts a dead letter durably and gives it an id. A receiver adds the
// dead letter first and finishes the item then, so that none is lost between.
func (d *Dead) Add(ctx context.Context, letter *DeadLetter) error {
	if letter.Died.IsZero() {
		letter.Died = time.Now()
	}
	if letter.Error == "" && len(letter.History) > 0 {
		letter.Error = letter.History[len(letter.History)-1].Error
	}
	body, err := json.Marshal(letter)
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "write dead letter", "%w", err)
	}
	it := &Item{Body: body}
	err = d.store.Lane(deadLane(letter.App, letter.Source)).Put(ctx, it)
	letter.ID = it.ID
	return err
}

// DeadFilter chooses dead letters. Empty fields choose all.
type DeadFilter struct {
	App    mayfly.AppName
	Source string
	Reason string
	Text   string // somewhere in the error or the body
	Before time.Time
	Limit  int // List: default 100; Each: default all
}

func (f DeadFilter) match(l *DeadLetter) bool {
	return (f.Reason == "" || f.Reason == l.Reason) &&
		(f.Before.IsZero() || l.Died.Before(f.Before)) &&
		(f.Text == "" || strings.Contains(l.Error, f.Text) || strings.Contains(string(l.Body), f.Text))
}

// List returns the dead letters of a filter, the oldest of each source first.
func (d *Dead) List(ctx context.Context, f DeadFilter) ([]*DeadLetter, error) {
	if f.Limit == 0 {
		f.Limit = 100
	}
	var out []*DeadLetter
	err := d.Each(ctx, f, func(letter *DeadLetter) error {
		out = append(out, letter)
		return nil
	})
	return out, err
}

// Each visits the dead letters of a filter, the oldest of each source first: all
// where Limit is 0. It ends at the first error of visit and returns it. Those
// that come meanwhile are not visited; visit may remove the one it is given.
func (d *Dead) Each(ctx context.Context, f DeadFilter, visit func(*DeadLetter) error) error {
	n := 0
	for _, lane := range d.store.Lanes() {
		app, source, _ := strings.Cut(lane.Name(), "/")
		if f.App != "" && f.App != mayfly.AppName(app) || f.Source != "" && f.Source != source {
			continue
		}
		if err := lane.Each(ctx, func(w *Waiting) error {
			letter, err := deadLetter(&w.Item)
			if err != nil || !f.match(letter) {
				return nil
			}
			if n++; f.Limit > 0 && n > f.Limit {
				return errEnough
			}
			return visit(letter)
		}); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("as many as were asked for")

// Get returns one dead letter, NotFound where there is none.
func (d *Dead) Get(ctx context.Context, id string) (*DeadLetter, error) {
	w, err := d.store.Find(ctx, id)
	if err != nil || w.State == Finished {
		return nil, mayfly.Errorf(mayfly.NotFound, "read dead letter", "there is no dead letter %s", id)
	}
	return deadLetter(&w.Item)
}

// Remove drops a dead letter for good.
func (d *Dead) Remove(ctx context.Context, id string) error {
	_, err := d.store.Cancel(ctx, id)
	return err
}

// Count is how many dead letters a source has.
func (d *Dead) Count(app mayfly.AppName, source string) int {
	return d.store.Lane(deadLane(app, source)).Stats().Total
}

// Run drops dead letters that are too old, until ctx ends.
func (d *Dead) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		_ = d.Each(ctx, DeadFilter{Before: time.Now().Add(-deadRetention)}, func(letter *DeadLetter) error {
			return d.Remove(ctx, letter.ID)
		}) // what is left is dropped the next time
	}
}

func deadLetter(it *Item) (*DeadLetter, error) {
	letter := &DeadLetter{}
	if err := json.Unmarshal(it.Body, letter); err != nil {
		return nil, err
	}
	letter.ID = it.ID
	return letter, nil
}
