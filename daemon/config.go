package daemon

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Config is what a node can be told. The zero value with a Data folder is a
// working node.
type Config struct {
	Data string // all state; made where it is missing

	Gateway string // functions' HTTP; default 127.0.0.1:8080
	API     string // public API and console; default 127.0.0.1:8081
	S3      string // buckets; default 127.0.0.1:8082

	NATS        string            // an external NATS by URL; default embedded
	Durability  string            // always (default): what is accepted is on disk; fast: within 100 ms
	Memory      mayfly.Bytes      // of all instances together; 0: no bound
	Walls       string            // auto (default) or none
	Dev         bool              // errors show user code; versions are dropped early
	OTLP        string            // a collector's base URL, to which all telemetry is sent as well; "" none
	OTLPHeaders map[string]string // such as an API key
	Remote      string            // a Prometheus remote-write URL, to which metrics are sent as well; "" none
	RemoteHead  map[string]string // headers for it
	Keep        map[string]string // of logs, traces, calls and metrics: AGE/SIZE, such as 30d/10GiB; default what docs/observability.md says
	Telemetry   string            // on (default), or off: no logs, traces and metrics of calls are kept; usage is counted
	Prices      string            // the price sheet of costs and budgets that name none; default lambda-x86
	PriceSheets string            // a file with further price sheets; "" none
	Sample      time.Duration     // between two samples of each metric; default 10s. Alerts are judged each third one
	Leave       time.Duration     // after a stop was asked, health checks fail for so long while calls are taken, where anybody asks for the node's health; default not at all
	Version     string            // of this build

	RootKey      string                 // a key of an OpenBao server's transit engine that seals secrets, by URL; "": the file root.key in Data
	RootKeyToken func() (string, error) // for that server

	Log *slog.Logger
}

// Default addresses.
const (
	DefaultGateway = "127.0.0.1:8080"
	DefaultAPI     = "127.0.0.1:8081"
	DefaultS3      = "127.0.0.1:8082"
)

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	c.Gateway = orElse(c.Gateway, DefaultGateway)
	c.API = orElse(c.API, DefaultAPI)
	c.S3 = orElse(c.S3, DefaultS3)
	c.Durability = orElse(c.Durability, "always")
	c.Walls = orElse(c.Walls, "auto")
	c.Telemetry = orElse(c.Telemetry, "on")
	if c.Sample == 0 {
		c.Sample = 10 * time.Second
	}
	c.Version = orElse(c.Version, "dev")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orElse(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// Validate joins everything that is wrong with a configuration, each problem
// with the flag that sets it.
func (c Config) Validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, mayfly.Errorf(mayfly.Invalid, flag, format, args...))
	}
	if c.Data == "" {
		bad("--data", "name a folder for the node's state")
	}
	for _, a := range []struct{ flag, addr string }{{"--gateway", c.Gateway}, {"--api", c.API}, {"--s3", c.S3}} {
		if err := checkAddr(a.addr); err != nil {
			bad(a.flag, "%q is not an address; write it as 127.0.0.1:8080, or 127.0.0.1:0 for a free port", a.addr)
		}
	}
	if c.Durability != "always" && c.Durability != "fast" {
		bad("--durability", "%q is not a durability; choose always or fast", c.Durability)
	}
	if c.Walls != "auto" && c.Walls != "none" {
		bad("--walls", "%q is not a choice of walls; choose auto or none", c.Walls)
	}
	if c.Telemetry != "on" && c.Telemetry != "off" {
		bad("--telemetry", "%q is neither on nor off", c.Telemetry)
	}
	if _, err := keepingOf(c.Keep); err != nil {
		bad("--keep", "%s", mayfly.MessageOf(err))
	}
	if c.Sample < time.Second || c.Sample > time.Minute {
		bad("--sample", "%s is not between 1s and 1m", c.Sample)
	}
	if c.Leave < 0 || c.Leave > 5*time.Minute {
		bad("--leave", "%s is not between 0s and 5m", c.Leave)
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return mayfly.Errorf(mayfly.Invalid, "", "%s", strings.Join(lines, "\n"))
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("port")
	}
	return nil
}

// path is a folder or file of the node's state.
func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Data}, elem...)...)
}
