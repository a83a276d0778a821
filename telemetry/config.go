package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Retention bounds what a table keeps. The older end goes first.
type Retention struct {
	Age  time.Duration
	Size mayfly.Bytes // on disk
}

// Config says where the store lives and how much it may hold.
type Config struct {
	Dir string       // made where it is missing; required
	Log *slog.Logger // default: discards
	// Authorizer decides who may read over the API. Default: administrators and
	// the platform.
	Authorizer mayfly.Authorizer

	Logs        Retention // default 7 days, 2 GiB
	Spans       Retention // default 3 days, 1 GiB
	Invocations Retention // default 30 days, 1 GiB

	// Intake is how many records, and how many spans, may wait for Run before
	// more are shed. Default 65,536.
	Intake int
	// IntakeBytes is how much memory lines that wait for Run may take. Default
	// 32 MiB: some 140,000 ordinary ones.
	IntakeBytes mayfly.Bytes

	// LinesPerSecond is how many lines of one function are kept in a second;
	// what is beyond is dropped, and a line says how many. A burst of five
	// seconds' worth passes. Default 10,000.
	LinesPerSecond int
	// LineBytes is the longest text of one line; the rest is cut, with a mark.
	// Default 256 KiB.
	LineBytes mayfly.Bytes

	// SpansPerSecond is how many spans are kept in a second before traces are
	// sampled. Default 2,000.
	SpansPerSecond int
	// Slow is from when on a call is kept by the sampler for its duration.
	// Default 1 s.
	Slow time.Duration
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Logs = c.Logs.or(7*24*time.Hour, 2*mayfly.GiB)
	c.Spans = c.Spans.or(3*24*time.Hour, mayfly.GiB)
	c.Invocations = c.Invocations.or(30*24*time.Hour, mayfly.GiB)
	setDefault(&c.Intake, 1<<16)
	setDefault(&c.IntakeBytes, 32*mayfly.MiB)
	setDefault(&c.LinesPerSecond, 10_000)
	setDefault(&c.LineBytes, 256*mayfly.KiB)
	setDefault(&c.SpansPerSecond, 2_000)
	setDefault(&c.Slow, time.Second)
	return c
}

func (r Retention) or(age time.Duration, size mayfly.Bytes) Retention {
	setDefault(&r.Age, age)
	setDefault(&r.Size, size)
	return r
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Validate reports every setting that cannot be used.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir is missing"))
	}
	for name, v := range map[string]int64{
		"intake": int64(c.Intake), "intake bytes": int64(c.IntakeBytes), "lines per second": int64(c.LinesPerSecond),
		"line bytes": int64(c.LineBytes), "spans per second": int64(c.SpansPerSecond),
	} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "open telemetry", "%w", err)
	}
	return nil
}
