package node

import (
	"log/slog"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Config configures a Driver.
type Config struct {
	Launcher *process.Launcher
	Dir      string       // where the worker's files go; kept between starts of the daemon
	Node     string       // the node to use; default the first on PATH
	Ahead    mayfly.Bytes // what workers started ahead may hold; default 512 MiB, negative: none are
	Log      *slog.Logger // default: discards
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Ahead == 0 {
		c.Ahead = 512 * mayfly.MiB
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
