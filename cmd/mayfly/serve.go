package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/daemon"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// nodeFlags are what dev and serve take.
type nodeFlags struct {
	cfg       daemon.Config
	memory    string
	readyFile string
	keyToken  string
	logLevel  string
}

func (f *nodeFlags) add(cmd *cobra.Command, data string) {
	fl := cmd.Flags()
	fl.StringVar(&f.cfg.Data, "data", data, "folder for all state")
	fl.StringVar(&f.cfg.Gateway, "gateway", daemon.DefaultGateway, "address for functions' HTTP; port 0 picks a free one")
	fl.StringVar(&f.cfg.API, "api", daemon.DefaultAPI, "address of the API and the console")
	fl.StringVar(&f.cfg.S3, "s3", daemon.DefaultS3, "address of the S3 API")
	fl.StringVar(&f.readyFile, "ready-file", "", "write the URLs and the admin token as JSON to this file once everything answers")
	fl.StringVar(&f.cfg.NATS, "nats", "", "URL of a NATS server with JetStream (default: embedded)")
	fl.StringVar(&f.cfg.Durability, "durability", "always", "always: what is accepted is on disk; fast: within 100 ms")
	fl.StringVar(&f.memory, "memory", "", "bound on the memory of all instances together, such as 4GiB (default: none)")
	fl.StringVar(&f.cfg.Walls, "walls", "auto", "auto: all the isolation that the machine allows; none: ordinary processes")
	fl.StringVar(&f.cfg.OTLP, "otlp", "", "an OpenTelemetry collector's URL, such as http://localhost:4318, to send logs, traces and metrics to as well")
	fl.StringToStringVar(&f.cfg.OTLPHeaders, "otlp-header", nil, "headers for it, NAME=VALUE")
	fl.StringVar(&f.cfg.Remote, "remote-write", "", "a Prometheus remote-write URL, such as http://localhost:9090/api/v1/write, to send metrics to as well")
	fl.StringToStringVar(&f.cfg.RemoteHead, "remote-write-header", nil, "headers for it, NAME=VALUE")
	fl.StringVar(&f.cfg.Telemetry, "telemetry", "on", "on: keep logs, traces and metrics of calls; off: count usage only")
	fl.StringToStringVar(&f.cfg.Keep, "keep", nil, "what is kept of logs, traces, calls and metrics, KIND=AGE/SIZE: logs=30d/10GiB (default logs=7d/2GiB, traces=3d/1GiB, calls=30d/1GiB, metrics=15d/1GiB)")
	fl.StringVar(&f.cfg.Prices, "prices", "", "the price sheet of costs and budgets that name none; mayfly cost prices lists them (default lambda-x86)")
	fl.StringVar(&f.cfg.PriceSheets, "price-sheets", "", "a JSON file with price sheets of your own")
	fl.DurationVar(&f.cfg.Sample, "sample", 10*time.Second, "time between two samples of each metric, 1s to 1m; alerts are judged each third one")
	fl.DurationVar(&f.cfg.Leave, "leave", 5*time.Second, "after SIGTERM, how long /_health answers 503 while calls are still taken; only where a load balancer asks for it")
	fl.StringVar(&f.cfg.RootKey, "root-key", "", "a key that seals secrets on an OpenBao server, https://HOST:8200/v1/transit/keys/NAME (default: the file root.key in the data folder)")
	fl.StringVar(&f.keyToken, "root-key-token-file", "", "a file with the token for that server (default: BAO_TOKEN, else VAULT_TOKEN)")
	fl.StringVar(&f.logLevel, "log-level", "warn", "the daemon's own log: debug, info, warn, error")
}

// config completes what the flags say.
func (f *nodeFlags) config(g *globals) (daemon.Config, error) {
	c := f.cfg
	c.Version = version
	if f.memory != "" {
		m, err := mayfly.ParseBytes(f.memory)
		if err != nil {
			return c, mayfly.Errorf(mayfly.Invalid, "--memory", "%v", err)
		}
		c.Memory = m
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return c, mayfly.Errorf(mayfly.Invalid, "--log-level", "%q is not a level; choose debug, info, warn or error", f.logLevel)
	}
	if c.RootKey == "" && f.keyToken != "" {
		return c, mayfly.Errorf(mayfly.Invalid, "--root-key-token-file", "is for --root-key, which is not given")
	}
	c.RootKeyToken = f.rootKeyToken
	c.Log = slog.New(slog.NewTextHandler(g.err, &slog.HandlerOptions{Level: level}))
	var err error
	c.Data, err = filepath.Abs(c.Data)
	return c, err
}

// rootKeyToken is the token for the server that has the root key.
func (f *nodeFlags) rootKeyToken() (string, error) {
	if f.keyToken != "" {
		b, err := os.ReadFile(f.keyToken)
		return strings.TrimSpace(string(b)), err
	}
	if token := cmp.Or(os.Getenv("BAO_TOKEN"), os.Getenv("VAULT_TOKEN")); token != "" {
		return token, nil
	}
	return "", mayfly.Errorf(mayfly.Invalid, "--root-key", "its server wants a token; give it by --root-key-token-file or BAO_TOKEN")
}

func newServeCmd(g *globals) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "One production node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(g)
			if err != nil {
				return err
			}
			return g.runNode(cmd.Context(), cfg, f.readyFile, func(context.Context, *daemon.Node) error { return nil })
		},
	}
	f.add(cmd, serveData())
	return cmd
}

// runNode runs a node until ctx ends. first runs beside it before the node
// counts as ready.
func (g *globals) runNode(ctx context.Context, cfg daemon.Config, readyFile string, first func(context.Context, *daemon.Node) error) error {
	if err := checkReadyFile(readyFile); err != nil {
		return err
	}
	n, err := daemon.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	err = first(ctx, n)
	if err == nil {
		err = g.announce(n, cfg, readyFile)
	}
	if err != nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	err = <-ended
	if !g.json {
		fmt.Fprintln(g.err, "stopped")
	}
	return errors.Join(err, os.Remove(filepath.Join(cfg.Data, profileName)), n.Close())
}

// checkReadyFile finds out before a node starts whether its last step can work,
// and removes what an earlier node wrote: whoever waits for the file waits for
// this node.
func checkReadyFile(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return mayfly.Errorf(mayfly.Invalid, "--ready-file", "there is no folder %s", filepath.Dir(path))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("it is not a file")
	case err == nil:
		err = os.Remove(path)
	}
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "--ready-file", "%s cannot be replaced: %v", path, err)
	}
	return nil
}

// weaker says what isolation lacks here, "" where it lacks nothing.
func weaker(t sandbox.Tier) string {
	if t.Name == sandbox.TierFull {
		return ""
	}
	return fmt.Sprintf("isolation is %s here, without: %s\n  mayfly doctor says why; require_isolation: full refuses to run so\n",
		t.Name, strings.Join(slices.Sorted(maps.Keys(t.Missing)), ", "))
}

// announce tells where the node is, to people and to programs.
func (g *globals) announce(n *daemon.Node, cfg daemon.Config, readyFile string) error {
	u := n.URLs()
	p := profile{Gateway: u.Gateway, API: u.API, Console: u.Console, S3: u.S3, Token: u.Token, PID: os.Getpid()}
	if err := writeProfile(filepath.Join(cfg.Data, profileName), p); err != nil {
		return err
	}
	if !g.json {
		fmt.Fprintf(g.err, "  gateway  %s\n  console  %s\n  s3       %s\n%s", u.Gateway, u.Console, u.S3, weaker(n.Status().Tier))
	}
	if readyFile == "" {
		return nil
	}
	return writeProfile(readyFile, p)
}
