//go:build !linux

package process

import (
	"context"

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
