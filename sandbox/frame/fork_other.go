//go:build !linux

package frame

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Fork needs namespaces, which only Linux has.
func (w *Worker) Fork(context.Context, *process.Cell) (*Worker, error) {
	return nil, mayfly.Errorf(mayfly.Unavailable, "fork a worker", "only Linux has the namespaces that a forked worker enters")
}

// pipes carry what a forked worker prints, of which there is none here.
type pipes struct{}

func (p *pipes) wait() {}
