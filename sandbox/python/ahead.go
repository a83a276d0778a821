package python

import (
	"context"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// Children that a template keeps ready: at least one, and more after bursts. To
// make a cell, fork a large process into it and move that into a cgroup of
// version 1 takes 8 to 20 ms, which nobody waits for where it was done before.
// A child that waits has run nothing since the fork: its randomness and the
// hooks of mayfly.after_fork are renewed when it is loaded.
const (
	leastAhead = 1
	mostAhead  = 16
	eachAhead  = 4 * mayfly.MiB // pages of its own, until one was measured
)

// ahead is the stock of a template's children.
func (t *templates) ahead(tpl *template, spec *sandbox.Spec) *frame.Stock {
	return frame.NewStock(frame.StockConfig{
		Least: leastAhead, Most: mostAhead, Each: eachAhead, Log: t.driver.cfg.Log,
		Make: func(ctx context.Context) (*frame.Worker, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			w, err := tpl.sprout(ctx, spec)
			if err != nil {
				return nil, err
			}
			if err := w.Hello(ctx); err != nil {
				w.End()
				return nil, err
			}
			return w, nil
		},
	})
}

// sprout forks a child into a new cell.
func (tpl *template) sprout(ctx context.Context, spec *sandbox.Spec) (*frame.Worker, error) {
	cell, err := tpl.process.Hollow(ctx, frame.Assignment(spec))
	if err != nil {
		return nil, err
	}
	w, err := tpl.worker.Fork(ctx, cell)
	if err != nil {
		cell.Close()
		return nil, err
	}
	return w, nil
}
