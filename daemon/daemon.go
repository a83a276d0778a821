package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/gateway"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/invoke"
	"github.com/mayfly-cloud/mayfly/meter"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/service/bucket"
	"github.com/mayfly-cloud/mayfly/telemetry"
	"github.com/mayfly-cloud/mayfly/telemetry/alert"
	"github.com/mayfly-cloud/mayfly/telemetry/prom"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/cron"
	"github.com/mayfly-cloud/mayfly/trigger/source"
	"github.com/mayfly-cloud/mayfly/trigger/webhook"
)

// Node is one running platform. New opens it, Run serves until its context
// ends, Close frees what New opened.
type Node struct {
	cfg     Config
	started time.Time
	listen  listeners

	engine    *engine.Engine
	tokens    *identity.Tokens
	trail     *identity.Trail
	telemetry *telemetry.Store
	sink      sink // telemetry, or nothing
	metrics   *prom.Metrics
	alerts    *alert.Alerts
	ledger    *meter.Ledger
	storage   *storage
	dead      *event.Dead
	refusals  *refusals
	tracer    *tracer
	launcher  *process.Launcher
	drivers   map[mayfly.Runtime]sandbox.Driver
	control   *control.Control
	pool      *pool.Pool
	invoker   *invoke.Invoker
	gateway   *gateway.Gateway
	api       *api.API
	buckets   *bucket.Driver
	schedules *cron.Driver
	hooks     *webhook.Driver
	sources   *source.Sources
	stores    stores
	parts     parts

	closers []func() error // run in reverse
}

// URLs are where a node is reached.
type URLs struct {
	Gateway string `json:"gateway"`
	API     string `json:"api"`
	Console string `json:"console"`
	S3      string `json:"s3"`
	Token   string `json:"token"`
}

// drainTime bounds how long calls under way may take after a stop was asked.
const drainTime = 20 * time.Second

// New opens a node: its ports, its engine and its stores. It serves nothing
// yet.
func New(ctx context.Context, cfg Config) (_ *Node, err error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the data folder %s cannot be made, choose another with --data: %w", cfg.Data, err)
	}
	n := &Node{cfg: cfg, started: time.Now()}
	n.parts.destinations = trigger.Destinations{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.openGrants(); err != nil {
		return nil, err
	}
	if n.listen, err = cfg.listen(); err != nil {
		return nil, err
	}
	n.closing(func() error { n.listen.close(); return nil })
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	return n, n.wire(ctx)
}

func (n *Node) closing(f func() error) { n.closers = append(n.closers, f) }

// Close frees what New opened. It may be called twice.
func (n *Node) Close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}

// URLs are the node's addresses and its admin token.
func (n *Node) URLs() URLs {
	return URLs{
		Gateway: url(n.listen.gateway), API: url(n.listen.api), Console: url(n.listen.api) + "/", S3: url(n.listen.s3),
		Token: n.tokens.Admin(),
	}
}

func url(l net.Listener) string { return "http://" + l.Addr().String() }

// Control deploys apps.
func (n *Node) Control() *control.Control { return n.control }

// Telemetry is what happened.
func (n *Node) Telemetry() *telemetry.Store { return n.telemetry }

// OnSecret calls fn after each change of a secret, until stop. fn must be quick.
func (n *Node) OnSecret(fn func()) (stop func()) {
	return n.engine.Index().Watch("secrets.", func(engine.Change) { fn() })
}

// Run serves until ctx ends, then drains: health checks fail, and calls are taken
// until load balancers have seen that; calls under way are answered, instances
// stop. It returns when every goroutine has ended.
func (n *Node) Run(ctx context.Context) error {
	if err := n.control.Publish(ctx); err != nil && ctx.Err() == nil {
		n.cfg.Log.Error("an app is not fully in force", "err", err)
	}
	servers := []*server{
		{name: "gateway", l: n.listen.gateway, http: n.gateway.Server()},
		{name: "api", l: n.listen.api, http: &http.Server{Handler: n.api.Handler(), ReadHeaderTimeout: 10 * time.Second}},
	}
	// Parts run until the servers have drained, so that calls under way are
	// recorded and their events kept.
	background, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	g, gctx := errgroup.WithContext(background)
	run := func(all []running) {
		for _, p := range all {
			g.Go(func() error { return named(p.name, p.run(gctx)) })
		}
	}
	run(n.parts.keeping)
	if err := n.buckets.Recover(ctx); err != nil && ctx.Err() == nil {
		n.cfg.Log.Warn("changes of objects before the last stop are told later", "err", err)
	}
	run(n.parts.running)
	for _, s := range servers {
		g.Go(func() error { return named(s.name, s.serve()) })
	}
	g.Go(func() error { n.settle(gctx); return nil })
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-gctx.Done():
		}
		n.drain(servers)
		stopParts()
		return nil
	})
	return g.Wait()
}

// settleAfter is when a node has started: nothing more is touched only once.
const settleAfter = 3 * time.Second

// settle gives back what starting took and running does not need.
func (n *Node) settle(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleAfter):
	}
	if err := forgetPages(); err != nil {
		n.cfg.Log.Debug("the program's file stays in memory", "err", err)
	}
}

// drain tells load balancers, stops taking calls and waits for those under way.
func (n *Node) drain(servers []*server) {
	if n.gateway.Drain() {
		n.cfg.Log.Info("health checks fail, calls are still taken", "for", n.cfg.Leave)
		time.Sleep(n.cfg.Leave)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for _, s := range servers {
		s.shutdown(ctx)
	}
	if err := n.pool.Close(ctx); err != nil {
		n.cfg.Log.Warn("calls were cut off at the end", "err", err)
	}
}

// server is an http.Server with its listener.
type server struct {
	name string
	l    net.Listener
	http *http.Server
}

func (s *server) serve() error {
	if err := s.http.Serve(s.l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *server) shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

func named(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return mayfly.Errorf(mayfly.CodeOf(err), name, "%w", err)
}
