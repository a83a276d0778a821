package engine

import (
	"log/slog"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Durability says when a write counts as accepted.
type Durability string

const (
	Always Durability = "always" // after an fsync
	Fast   Durability = "fast"   // after a write; the disk is synced every 100 ms
)

// Config says where the engine keeps its state. Exactly one of Dir and URL is
// needed: with URL the streams live in that server.
type Config struct {
	Dir        string        // folder of the embedded server's store; made where missing
	URL        string        // of an external NATS server with JetStream, "nats://host:4222"
	Domain     string        // JetStream domain of the external server; default none
	Durability Durability    // of the embedded server; default Always
	Listen     string        // TCP address of the embedded server, "127.0.0.1:0"; default none
	LogLimit   mayfly.Bytes  // most bytes of one log; default 16 GiB
	Logger     *slog.Logger  // default: discards
	Timeout    time.Duration // of one request to the server; default 10 s
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.Durability == "" {
		c.Durability = Always
	}
	if c.LogLimit == 0 {
		c.LogLimit = 16 * mayfly.GiB
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// Validate returns an Invalid error that names the first wrong field.
func (c Config) Validate() error {
	switch {
	case c.Dir == "" && c.URL == "":
		return mayfly.Errorf(mayfly.Invalid, "open engine", "neither a data folder nor the URL of a NATS server is given")
	case c.Dir != "" && c.URL != "":
		return mayfly.Errorf(mayfly.Invalid, "open engine", "both a data folder (%s) and a NATS server (%s) are given; choose one", c.Dir, c.URL)
	case c.Durability != Always && c.Durability != Fast:
		return mayfly.Errorf(mayfly.Invalid, "open engine", "durability %q is not known; choose always or fast", c.Durability)
	}
	return nil
}
