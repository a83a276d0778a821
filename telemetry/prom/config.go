package prom

import (
	"log/slog"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Config says where the database lives and what it holds.
type Config struct {
	Dir string       // made where it is missing; required
	Log *slog.Logger // default: discards

	Interval  time.Duration // between two samples of a series. Default 10 s
	Retention time.Duration // default 15 days
	Size      mayfly.Bytes  // of blocks on disk. Default 1 GiB

	// Series is how many series may be live; further ones are refused and
	// counted. Default 50,000.
	Series int
	// CustomSeries is how many of them one app's own metrics may take. Default
	// 1,000.
	CustomSeries int

	// Rules are what /api/v1/rules and /api/v1/alerts answer, in Prometheus's
	// form. Default: none.
	Rules func() (groups, alerts any)
	// Authorizer decides who may query. Default: administrators and the platform.
	Authorizer mayfly.Authorizer
	Version    string // for /api/v1/status/buildinfo
	// Now is the clock that changes and samples go by. Default time.Now;
	// simulations have their own.
	Now func() time.Time
	// Free is which share of Dir's disk is free, ok where that is known. Default:
	// what the system says.
	Free func(dir string) (share float64, ok bool)
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Free == nil {
		c.Free = freeShare
	}
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.Retention == 0 {
		c.Retention = 15 * 24 * time.Hour
	}
	if c.Size == 0 {
		c.Size = mayfly.GiB
	}
	if c.Series == 0 {
		c.Series = 50_000
	}
	if c.CustomSeries == 0 {
		c.CustomSeries = 1_000
	}
	return c
}
