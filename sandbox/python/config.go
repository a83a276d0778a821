package python

import (
	"log/slog"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// Config configures a Driver.
type Config struct {
	Launcher    *process.Launcher
	Dir         string       // where the worker's files go; kept between starts of the daemon
	Interpreter string       // the python to use; default /usr/bin/python3, else the first python3 on PATH
	Ahead       mayfly.Bytes // what workers started ahead may hold; default 256 MiB, negative: none are
	Templates   int          // template processes kept; default 50, negative: none are
	Log         *slog.Logger // default: discards
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Ahead == 0 {
		c.Ahead = 256 * mayfly.MiB
	}
	if c.Templates == 0 {
		c.Templates = 50
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
