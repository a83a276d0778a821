package python

import (
	"context"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Cells that a template keeps ready for its children: at least one, and more
// after bursts. To move a process into a cgroup of version 1 takes 10 to 20 ms
// where nothing moved shortly before, and making a cell does so.
const (
	leastCells = 1
	mostCells  = 16
)

// hollow is a cell that waits for a child.
type hollow struct{ *process.Cell }

// Alive: a cell ends with its template, and its stock with it.
func (hollow) Alive() bool { return true }

// Memory is that of a cell's init.
func (hollow) Memory() mayfly.Bytes { return 128 * mayfly.KiB }

// End frees the cell.
func (h hollow) End() { h.Close() }

// cells is the stock of a template's process.
func cells(p *process.Process, spec *sandbox.Spec, cfg Config) *frame.Stock[hollow] {
	return frame.NewStock(frame.StockConfig[hollow]{
		Least: leastCells, Most: mostCells, Log: cfg.Log,
		Make: func(ctx context.Context) (hollow, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			c, err := p.Hollow(ctx, frame.Assignment(spec))
			return hollow{c}, err
		},
	})
}
