package alert

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Metrics is what rules ask; prom's Metrics is it.
type Metrics interface {
	// At is the time of the newest samples, now but where the clock went back.
	At(now time.Time) time.Time
	Query(ctx context.Context, expr string, at time.Time) ([]telemetry.Sample, error)
	Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) ([]telemetry.Sample, error)
	CheckQuery(expr string) error
	// Scope restricts every selector of expr to an app.
	Scope(expr string, app mayfly.AppName) (string, error)
}

// Settings keeps receivers and silences, as one value that every node reads.
type Settings interface {
	// Load returns nil where nothing was saved.
	Load(ctx context.Context) ([]byte, error)
	Save(ctx context.Context, value []byte) error
}

// Config says what alerts need.
type Config struct {
	Dir      string       // of the state; made where it is missing; required
	Metrics  Metrics      // required
	Settings Settings     // default: a file in Dir
	Log      *slog.Logger // default: discards

	Every  time.Duration // between two rounds. Default 30 s
	Wait   time.Duration // how long a firing alert waits for others of its group. Default 30 s
	Repeat time.Duration // after which a firing alert is told again. Default 4 h

	URL        string       // of the console, for links. Default: none
	Client     *http.Client // default: one with a timeout of 10 s
	Authorizer mayfly.Authorizer
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Every == 0 {
		c.Every = 30 * time.Second
	}
	if c.Wait == 0 {
		c.Wait = 30 * time.Second
	}
	if c.Repeat == 0 {
		c.Repeat = 4 * time.Hour
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if c.Settings == nil {
		c.Settings = fileSettings(filepath.Join(c.Dir, "settings.json"))
	}
	return c
}

// fileSettings keeps the settings in a file.
type fileSettings string

func (f fileSettings) Load(context.Context) ([]byte, error) {
	b, err := os.ReadFile(string(f))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return b, err
}

func (f fileSettings) Save(_ context.Context, value []byte) error {
	return replaceFile(string(f), value)
}

// replaceFile writes a file so that a reader, or a start after a crash, sees the
// old or the new.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already where all went well
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
