//go:build !linux

package process

import (
	"context"
	"os"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// walls of a system that has none.
type walls struct{}

func newWalls(Config) (*walls, error) { return &walls{}, nil }

func (w *walls) level() sandbox.Tier {
	return plainTier("sandboxes need Linux; use a virtual machine, or run untrusted code elsewhere")
}

func (w *walls) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (w *walls) start(_ context.Context, p *Process, cmd Command) error {
	p.tier = w.level()
	return startPlain(p, cmd)
}

func (w *walls) close() {}

// hollow cells do not exist here.
type hollow struct {
	namespaces []*os.File
	filter     []byte
}

func (c *Cell) make(context.Context, Assignment) error {
	return mayfly.Errorf(mayfly.Unavailable, "hollow sandbox", "sandboxes need Linux")
}

func (c *Cell) adopt(context.Context, *Process, int) error {
	return mayfly.Errorf(mayfly.Unavailable, "hollow sandbox", "sandboxes need Linux")
}

// Close does nothing.
func (c *Cell) Close() {}
