package daemon

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/binary"
	"github.com/mayfly-cloud/mayfly/sandbox/container"
	"github.com/mayfly-cloud/mayfly/sandbox/httpserver"
	"github.com/mayfly-cloud/mayfly/sandbox/node"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/python"
	"github.com/mayfly-cloud/mayfly/sandbox/wasm"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/bucket"
	"github.com/mayfly-cloud/mayfly/service/kv"
	"github.com/mayfly-cloud/mayfly/service/sql"
	"github.com/mayfly-cloud/mayfly/telemetry/alert"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/amqp"
	"github.com/mayfly-cloud/mayfly/trigger/async"
	triggerbucket "github.com/mayfly-cloud/mayfly/trigger/bucket"
	"github.com/mayfly-cloud/mayfly/trigger/cron"
	"github.com/mayfly-cloud/mayfly/trigger/dead"
	"github.com/mayfly-cloud/mayfly/trigger/kafka"
	triggerkv "github.com/mayfly-cloud/mayfly/trigger/kv"
	"github.com/mayfly-cloud/mayfly/trigger/mqtt"
	"github.com/mayfly-cloud/mayfly/trigger/nats"
	"github.com/mayfly-cloud/mayfly/trigger/once"
	"github.com/mayfly-cloud/mayfly/trigger/postgres"
	"github.com/mayfly-cloud/mayfly/trigger/queue"
	"github.com/mayfly-cloud/mayfly/trigger/source"
	"github.com/mayfly-cloud/mayfly/trigger/stream"
	"github.com/mayfly-cloud/mayfly/trigger/table"
	"github.com/mayfly-cloud/mayfly/trigger/topic"
	"github.com/mayfly-cloud/mayfly/trigger/webhook"
)

// runtimes is the driver of every runtime: one line each.
func runtimes(c Config, l *process.Launcher) (map[mayfly.Runtime]sandbox.Driver, error) {
	module, err := wasm.New(wasm.Config{Launcher: l, Dir: c.path("runtime", "wasm"), Log: c.Log})
	if err != nil {
		return nil, err
	}
	images, err := container.New(container.Config{Launcher: l, Dir: c.path("runtime", "container"), Log: c.Log})
	if err != nil {
		return nil, err
	}
	drivers := map[mayfly.Runtime]sandbox.Driver{}
	for _, d := range []sandbox.Driver{
		python.New(python.Config{Launcher: l, Dir: c.path("runtime", "python"), Log: c.Log}),
		node.New(node.Config{Launcher: l, Dir: c.path("runtime", "node"), Log: c.Log}),
		module,
		binary.New(binary.Config{Launcher: l, Log: c.Log}),
		httpserver.New(httpserver.Config{Launcher: l, Log: c.Log}),
		images,
	} {
		drivers[d.Runtime()] = d
	}
	return drivers, nil
}

// catalogue makes the services and triggers: a few lines each.
func (n *Node) catalogue(ctx context.Context) error {
	marks, err := n.engine.Bucket(ctx, "runtime") // what drivers note of their progress
	if err != nil {
		return err
	}
	if err := n.makeServices(); err != nil {
		return err
	}
	results, err := n.engine.Bucket(ctx, "once")
	if err != nil {
		return err
	}
	n.makeTriggers(marks)
	n.parts.api = append(n.parts.api, once.New(results))
	return n.makeAlerts()
}

// makeServices makes the data services, each with the trigger of its changes.
func (n *Node) makeServices() (err error) {
	p, c := &n.parts, n.cfg
	quotas := service.NewQuotas()
	keys := triggerkv.New(n.enqueue)
	stores := kv.New(kv.Config{
		Open: func(ctx context.Context, shard int) (kv.Log, error) {
			return n.engine.Log(ctx, engine.LogName("KV", shard))
		},
		Authz: p.grants, Changed: keys.Deliver, Quotas: quotas, Log: c.Log,
	})
	objects := triggerbucket.New(n.enqueue)
	if n.buckets, err = bucket.Open(bucket.Config{Dir: c.path("buckets"), Authz: p.grants, Users: p.grants.ApplyUsers, Quotas: quotas, Secrets: p.secrets, Tracer: n.tracer, Changed: objects.Deliver, Log: c.Log}); err != nil {
		return err
	}
	n.closing(n.buckets.Close)
	p.runs("s3", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { _ = n.listen.s3.Close() })
		n.buckets.ServePublic(n.listen.s3)
		return nil
	})
	var rows *table.Driver
	databases := sql.New(sql.Config{
		Dir: c.path("databases"), Tmp: c.path("tmp"), Authz: p.grants, Secrets: p.secrets, Buckets: n.copyBucket, Quotas: quotas, Door: n.wireDoor(), Log: c.Log,
		Changed: func(app mayfly.AppName, database string) { rows.Wake(app, database) },
	})
	p.databases = databases
	n.closing(databases.Close)
	n.databaseGauges(databases)
	n.storage = &storage{buckets: n.buckets, stores: stores, databases: databases}
	p.runs("sizes of buckets", n.storage.run)
	rows = table.New(table.Config{Source: databases, Invoker: caller{n.invoker, n.tracer}, Aside: n.enqueue, Log: c.Log})
	p.services = append(p.services, quotas, p.secrets, stores, n.buckets, databases)
	p.triggers = append(p.triggers, keys, objects, rows)
	p.api = append(p.api, p.secrets, stores, n.buckets, databases, backups{n, databases})
	return nil
}

// makeTriggers makes what turns the outside and time into calls.
func (n *Node) makeTriggers(marks *engine.Bucket) {
	p, c, calls, deployed := &n.parts, n.cfg, caller{n.invoker, n.tracer}, apps{n}
	queues := queue.New(queue.Config{
		Store: n.stores.queue, Dead: n.dead, Invoker: calls, Apps: deployed, Paused: marks, Authorize: p.grants, Logger: c.Log,
	})
	topics := topic.New(topic.Config{
		Journal: n.stores.events, Store: n.stores.deliver, Dead: n.dead, Invoker: calls, Apps: deployed,
		Records: marks, Secrets: p.secrets, Authorize: p.grants, Logger: c.Log,
	})
	streams := stream.New(stream.Config{Journal: n.stores.events, Dead: n.dead, Invoker: calls, Records: marks, Authorize: p.grants, Logger: c.Log})
	n.schedules = cron.New(cron.Config{Records: marks, Acceptor: p.calls, Authorize: p.grants, Logger: c.Log})
	n.hooks = webhook.New(webhook.Config{Acceptor: p.calls, Secrets: p.secrets, Logger: c.Log})
	letters := dead.New(dead.Config{
		Dead: n.dead, Sender: p.destinations, Authorize: p.grants,
		Revive: map[string]dead.Revive{"function": p.calls.Revive, "queue": queues.Revive, "topic": topics.Revive, "stream": streams.Revive},
	})
	p.destinations["queue"] = queues.SendTo
	p.destinations["topic"] = topics.Send
	p.destinations["function"] = n.callLater
	p.resources = append(p.resources, queue.Declared{}, topic.Declared{Topics: topics})
	p.triggers = append(p.triggers, queues, topics, streams, n.schedules, n.hooks)
	outside := []interface {
		trigger.Driver
		source.Driver
	}{
		nats.New(nats.Config{Enqueue: n.enqueue, Secrets: p.secrets, Log: c.Log}),
		mqtt.New(mqtt.Config{Enqueue: n.enqueue, Secrets: p.secrets, Log: c.Log}),
		kafka.New(kafka.Config{Enqueue: n.enqueue, Secrets: p.secrets, Log: c.Log}),
		amqp.New(amqp.Config{Enqueue: n.enqueue, Secrets: p.secrets, Log: c.Log}),
		postgres.New(postgres.Config{Enqueue: n.enqueue, Secrets: p.secrets, Log: c.Log}),
	}
	var links []source.Driver
	for _, d := range outside {
		p.triggers, links = append(p.triggers, d), append(links, d)
	}
	n.sources = source.New(links, p.grants)
	p.api = append(p.api, n.telemetry, n.ledger, p.calls, queues, topics, streams, n.schedules, letters, n.sources)
}

// makeAlerts makes the rules over metrics.
func (n *Node) makeAlerts() (err error) {
	n.alerts, err = alert.Open(alert.Config{
		Dir: n.cfg.path("alerts"), Every: 3 * n.cfg.Sample, Wait: 3 * n.cfg.Sample, Metrics: n.metrics, URL: url(n.listen.api), Authorizer: n.parts.grants, Log: n.cfg.Log,
	})
	if err != nil {
		return err
	}
	n.parts.runs("alerts", n.alerts.Run)
	n.parts.api = append(n.parts.api, n.alerts)
	return nil
}

// enqueue accepts an asynchronous call of a binding's function. Two with the
// same id are one.
func (n *Node) enqueue(ctx context.Context, b *trigger.Binding, id string, event []byte) error {
	kind, _ := b.Trigger.Kind()
	hops := mayfly.HopsFrom(ctx)
	_, err := n.parts.calls.Enqueue(ctx, &async.Request{
		App: b.App, Function: b.Function, Event: event, Trigger: kind, Dedup: id, Attempts: b.Trigger.Attempts,
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform}, Trace: mayfly.TraceFrom(ctx), Hops: hops,
	})
	if hops > mayfly.MaxHops && mayfly.CodeOf(err) == mayfly.Invalid {
		return nil // it is a dead letter: whoever tells of a change goes on to the next
	}
	return err
}

// callLater is the destination function/NAME.
func (n *Node) callLater(ctx context.Context, app mayfly.AppName, name string, m *mayfly.Message) error {
	_, err := n.parts.calls.Enqueue(ctx, &async.Request{
		App: app, Function: mayfly.FunctionName(name), Event: m.Body, Trigger: mayfly.TriggerDirect, Dedup: m.DedupID,
		Caller: mayfly.Caller{Kind: mayfly.CallerPlatform}, Trace: m.Trace, Hops: m.Hops,
	})
	return err
}
