package daemon

import (
	"context"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/meter"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/telemetry"
	"github.com/mayfly-cloud/mayfly/telemetry/prom"
)

// stores are the parts that hold state on disk.
type stores struct {
	artifacts *artifact.Store
	invoke    *event.Store // asynchronous calls
	queue     *event.Store
	deliver   *event.Store   // events on their way to subscriptions
	events    *event.Journal // of all topics
	dead      *event.Store
}

// open opens what lies in the data folder. The engine comes first: it holds the
// folder's lock.
func (n *Node) open(ctx context.Context) (err error) {
	c := n.cfg
	ec := engine.Config{Dir: c.path("engine"), URL: c.NATS, Durability: engine.Durability(c.Durability), Logger: c.Log}
	if c.NATS != "" {
		ec.Dir = ""
	}
	if n.engine, err = engine.Open(ctx, ec); err != nil {
		return err
	}
	n.closing(n.engine.Close)
	if err := os.RemoveAll(c.path("tmp")); err != nil { // what a kill left there
		return err
	}
	if n.tokens, err = identity.OpenTokens(c.Data); err != nil {
		return err
	}
	keep, err := keepingOf(c.Keep)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		n.telemetry, err = telemetry.Open(telemetry.Config{Dir: c.path("telemetry"), Logs: keep.logs, Spans: keep.traces, Invocations: keep.calls, Authorizer: n.parts.grants, Log: c.Log})
		return err
	})
	g.Go(func() (err error) {
		n.stores.artifacts, err = artifact.New(artifact.Config{Dir: c.path("artifacts"), Exclude: []string{c.Data}, NoSync: c.Dev})
		return err
	})
	g.Go(func() (err error) {
		n.metrics, err = prom.Open(prom.Config{
			Dir: c.path("metrics"), Interval: c.Sample, Retention: keep.metrics.Age, Size: keep.metrics.Size, Version: c.Version, Authorizer: n.parts.grants, Log: c.Log,
			Rules: func() (groups, alerts any) { return n.alerts.Prometheus() },
		})
		return err
	})
	g.Go(func() (err error) {
		n.ledger, err = n.openLedger()
		return err
	})
	g.Go(func() (err error) {
		n.stores.deliver, err = n.openEvents(ctx, "DELIVER")
		return err
	})
	g.Go(func() error {
		log, err := n.engine.Log(ctx, "EVENTS")
		if err != nil {
			return err
		}
		n.stores.events = event.NewJournal(log, c.Log)
		return n.stores.events.Open(ctx)
	})
	g.Go(func() (err error) {
		n.stores.queue, err = n.openEvents(ctx, "QUEUE")
		return err
	})
	g.Go(func() (err error) {
		n.stores.invoke, err = n.openEvents(ctx, "INVOKE")
		return err
	})
	g.Go(func() (err error) {
		n.stores.dead, err = n.openEvents(ctx, "DEAD")
		return err
	})
	err = g.Wait()
	if n.telemetry != nil {
		n.closing(n.telemetry.Close)
	}
	n.sink = nothing{}
	if n.telemetry != nil && c.Telemetry == "on" {
		n.sink = n.telemetry
	}
	if n.telemetry != nil && n.metrics != nil {
		n.telemetry.Observe(n.metrics)
	}
	if n.ledger != nil {
		n.closing(n.ledger.Close)
	}
	return err
}

func (n *Node) openLedger() (*meter.Ledger, error) {
	c := meter.Config{
		Dir: n.cfg.path("meter"), Prices: n.cfg.Prices, Tags: n.tags, Calls: n.calls, Storage: n.held, Authorizer: n.parts.grants, Log: n.cfg.Log,
	}
	if n.cfg.PriceSheets != "" {
		var err error
		if c.Sheets, err = os.ReadFile(n.cfg.PriceSheets); err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "--price-sheets", "%w", err)
		}
	}
	return meter.Open(c)
}

// calls are the records behind an id, for what they cost.
func (n *Node) calls(ctx context.Context, id string) ([]*mayfly.Invocation, error) {
	return n.telemetry.Calls(ctx, id)
}

// tags are a function's, for costs by tag; those of an app's storage where fn is
// "".
func (n *Node) tags(app mayfly.AppName, fn mayfly.FunctionName) map[string]string {
	m := n.manifest(app)
	switch {
	case m == nil:
	case fn == "" && m.Defaults != nil:
		return m.Defaults.Tags
	case m.Functions[fn] != nil:
		return m.Functions[fn].Tags
	}
	return nil
}

// held is what the resources of all apps hold.
func (n *Node) held(ctx context.Context) []meter.Held { return n.storage.held(ctx) }

// openEvents opens the logs of a family: its shards, or the one log of that
// name.
func (n *Node) openEvents(ctx context.Context, family string) (*event.Store, error) {
	names := []string{family}
	if family != "DEAD" {
		names = nil
		for i := range engine.Shards {
			names = append(names, engine.LogName(family, i))
		}
	}
	logs := make([]event.Log, len(names))
	for i, name := range names {
		log, err := n.engine.Log(ctx, name)
		if err != nil {
			return nil, err
		}
		logs[i] = log
	}
	return event.Open(ctx, event.Config{Logs: logs, Logger: n.cfg.Log})
}

// openLauncher makes the launcher, which serves the doors of every sandbox.
func (n *Node) openLauncher(doors []process.Door) (err error) {
	n.refusals = &refusals{log: n.sink, ledger: n.ledger}
	n.launcher, err = process.New(process.Config{
		Dir: n.cfg.path("run"), Bundles: n.stores.artifacts.Bundles(), Node: nodeID(n.cfg.Data),
		Doors: doors, Walls: n.cfg.Walls, Memory: n.cfg.Memory, Egress: n.refusals, Log: n.cfg.Log,
	})
	if err == nil {
		n.closing(n.launcher.Close)
	}
	return err
}
