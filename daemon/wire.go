package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/artifact/image"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/gateway"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/invoke"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/bucket"
	"github.com/mayfly-cloud/mayfly/service/secret"
	"github.com/mayfly-cloud/mayfly/service/sql"
	"github.com/mayfly-cloud/mayfly/telemetry"
	"github.com/mayfly-cloud/mayfly/telemetry/otlp"
	"github.com/mayfly-cloud/mayfly/telemetry/prom"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/async"
)

// parts is what the catalogue made, by what the node does with it.
type parts struct {
	grants       *identity.Authorizer
	secrets      *secret.Driver
	databases    *sql.Driver
	calls        *async.Calls
	destinations trigger.Destinations
	services     []service.Driver
	resources    []control.Resource
	triggers     []trigger.Driver
	api          []api.Part
	keeping      []running // stores of events: they run before anything sends to them
	running      []running
}

// running is a part with a loop of its own.
type running struct {
	name string
	run  func(context.Context) error
}

func (p *parts) runs(name string, run func(context.Context) error) {
	p.running = append(p.running, running{name, run})
}

// wire joins the parts. Several need one another; what a part needs before it
// is there goes through the node.
func (n *Node) wire(ctx context.Context) (err error) {
	n.parts.secrets, err = secret.Open(ctx, secret.Config{
		Index: n.engine.Index(), RootKey: n.cfg.path("root.key"), Transit: n.cfg.transit(), Authz: n.parts.grants, Accessed: n.accessed, Changed: n.rotated, Log: n.cfg.Log,
	})
	if err != nil {
		return err
	}
	n.tracer = &tracer{sink: n.sink, calls: &underway{calls: map[int][]cause{}}}
	if err := n.openLauncher(n.doors()); err != nil {
		return err
	}
	if n.drivers, err = runtimes(n.cfg, n.launcher); err != nil {
		return err
	}
	for _, d := range n.drivers {
		n.closing(d.Close)
	}
	specs := &specs{bundles: n.stores.artifacts, secrets: n.parts.secrets, manifest: n.manifest}
	n.pool = pool.New(pool.Config{
		Drivers: n.drivers, Specs: specs, Firings: n.firings, Memory: n.cfg.Memory, Output: redacted{n.sink, n.parts.secrets.Redact}, Log: n.cfg.Log,
	})
	n.invoker = invoke.New(invoke.Config{Versions: versions{n}, Pool: n.pool, Recorder: recorders{n.sink, n.ledger}, Budget: n.ledger, Watcher: n.tracer.calls, Redact: n.parts.secrets.Redact, Log: n.cfg.Log})
	n.dead = event.NewDead(n.stores.dead)
	n.parts.calls = async.New(async.Config{
		Store: n.stores.invoke, Dead: n.dead, Invoker: caller{n.invoker, n.tracer}, Functions: trigger.FunctionsOf(apps{n}),
		Sender: n.parts.destinations, Authorize: n.parts.grants, Logger: n.cfg.Log,
	})
	if err := n.catalogue(ctx); err != nil {
		return err
	}
	for _, s := range n.parts.services {
		if e, ok := s.(service.Environment); ok {
			specs.environs = append(specs.environs, e)
		}
	}
	if err := n.openControl(); err != nil {
		return err
	}
	n.gateway = gateway.New(gateway.Config{
		Invoker: n.invoker, Async: accept{n.parts.calls, n.control}, Tokens: n.tokens, Spans: n.sink, Bucket: n.buckets.PublicHandler(), Hosts: n.buckets.WebsiteAt,
		Dev: n.cfg.Dev, Log: n.cfg.Log,
	})
	n.api = api.New(api.Config{
		Node: n, Deploys: n.control, Stats: n.telemetry, Invoker: n.invoker, Async: accept{n.parts.calls, n.control}, Tokens: n.tokens, Grants: n.parts.grants,
		Parts: n.parts.api, Raw: n.raw(), Open: n.console(), Tmp: n.cfg.path("tmp"), Version: n.cfg.Version, Log: n.cfg.Log,
	})
	if err := n.export(); err != nil {
		return err
	}
	n.subscribe()
	n.gauges()
	n.background()
	return nil
}

// rotationTime bounds how long the change of a secret waits for instances.
const rotationTime = 10 * time.Second

// rotated gives running instances the file of a secret that changed.
func (n *Node) rotated(app mayfly.AppName, name string) {
	if n.launcher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(mayfly.WithCaller(context.Background(), mayfly.Caller{Kind: mayfly.CallerPlatform}), rotationTime)
	defer cancel()
	_, files, err := n.parts.secrets.Resolve(ctx, app, []string{name + ":file"})
	if err == nil {
		err = n.launcher.Rotate(ctx, app, name, files[name])
	}
	if err != nil {
		n.cfg.Log.Warn("a secret's new value did not reach all running instances; those that start from now on have it", "app", app, "secret", name, "error", err)
	}
}

// export sends telemetry to a collector, and metrics to a remote, where they are
// configured. How that fares is metrics too.
func (n *Node) export() error {
	var healths []func() telemetry.ExportHealth
	if n.cfg.OTLP != "" {
		e, err := otlp.NewExporter(otlp.Export{
			Endpoint: n.cfg.OTLP, Headers: n.cfg.OTLPHeaders, Metrics: n.metrics.Each, MetricsEvery: 3 * n.cfg.Sample, Node: nodeID(n.cfg.Data), Log: n.cfg.Log,
		})
		if err != nil {
			return err
		}
		n.telemetry.Observe(e)
		n.parts.runs("otlp export", e.Run)
		healths = append(healths, e.Health)
	}
	if n.cfg.Remote != "" {
		w, err := n.metrics.NewRemoteWriter(prom.Remote{URL: n.cfg.Remote, Headers: n.cfg.RemoteHead, Every: 3 * n.cfg.Sample, Log: n.cfg.Log})
		if err != nil {
			return err
		}
		n.parts.runs("remote write", w.Run)
		healths = append(healths, w.Health)
	}
	for _, health := range healths {
		n.telemetry.Exporting(health)
	}
	if len(healths) > 0 {
		n.metrics.Collect("mayfly_export_rows", "Rows and series for other tools, by what became of them since the start; those that wait, now.", false, []string{"to", "state"}, func(emit emit) {
			for _, health := range healths {
				h := health()
				emit(float64(h.Sent), h.To, "sent")
				emit(float64(h.Dropped), h.To, "dropped")
				emit(float64(h.Waiting), h.To, "waiting")
			}
		})
	}
	return nil
}

// background lists the loops that Run drives.
func (n *Node) background() {
	p := &n.parts
	p.keeping = []running{
		{"queues' store", n.stores.queue.Run}, {"deliveries' store", n.stores.deliver.Run}, {"events' journal", n.stores.events.Run},
		{"asynchronous calls' store", n.stores.invoke.Run}, {"dead letters' store", n.stores.dead.Run},
	}
	p.runs("telemetry", n.telemetry.Run)
	p.runs("sandboxes", n.launcher.Run)
	p.runs("pool", n.pool.Run)
	p.runs("metrics", n.metrics.Run)
	p.runs("ledger", n.ledger.Run)
	p.runs("control", n.control.Run)
	p.runs("asynchronous calls", p.calls.Run)
	for _, s := range p.services {
		p.runs("service "+s.Kind(), s.Run)
	}
	for _, t := range p.triggers {
		p.runs("trigger "+string(t.Kind()), t.Run)
	}
}

func (n *Node) openControl() (err error) {
	cfg := control.Config{Index: n.engine.Index(), Artifacts: n.stores.artifacts, Warmer: n.pool, Images: image.Fetcher{}, Log: n.cfg.Log}
	for _, t := range n.parts.triggers {
		cfg.Triggers = append(cfg.Triggers, t)
	}
	cfg.Resources = append(cfg.Resources, granting{n.parts.grants})
	for _, s := range n.parts.services {
		cfg.Resources = append(cfg.Resources, s)
	}
	cfg.Resources = append(cfg.Resources, n.parts.resources...)
	cfg.Resources = append(cfg.Resources, planned{"alert", n.alerts.Check}, planned{"budget", n.ledger.CheckBudget})
	cfg.Abandon = func([]*mayfly.Version) { n.pool.Keep(n.control.State().Live()) }
	cfg.Supported = n.supported()
	if n.control, err = control.New(cfg); err == nil {
		n.closing(n.control.Close)
	}
	return err
}

// planned is a part of a manifest that is checked at plan and has nothing to
// make.
type planned struct {
	kind  string
	check func(*mayfly.Manifest) error
}

func (p planned) Kind() string                                    { return p.kind }
func (p planned) Check(m *mayfly.Manifest) error                  { return p.check(m) }
func (p planned) Apply(context.Context, []*mayfly.Manifest) error { return nil }

// doors are the loopback ports that every sandbox has.
func (n *Node) doors() []process.Door {
	return []process.Door{{
		Port: 9002,
		Env: []string{
			"MAYFLY_ENDPOINT=http://{addr}", "OTEL_EXPORTER_OTLP_ENDPOINT=http://{addr}/otlp",
			// An instance is frozen after two seconds without a call: what SDKs keep
			// must have been sent by then. Their own defaults are 5 s and a minute.
			"OTEL_BSP_SCHEDULE_DELAY=500", "OTEL_BLRP_SCHEDULE_DELAY=500", "OTEL_METRIC_EXPORT_INTERVAL=1500", "OTEL_METRIC_EXPORT_TIMEOUT=1500",
		},
		Serve: func(l net.Listener, who mayfly.Caller) {
			s := &http.Server{Handler: n.inside(who), ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
			s.Protocols.SetHTTP1(true)
			s.Protocols.SetUnencryptedHTTP2(true) // OTLP over gRPC
			_ = s.Serve(l)                        // ends with the sandbox
		},
	}, {
		Port:  bucket.DoorPort,
		Env:   []string{"AWS_ENDPOINT_URL_S3=http://{addr}"},
		Serve: func(l net.Listener, who mayfly.Caller) { n.buckets.Serve(l, who) },
	}, {
		Port:  sql.DoorPort,
		Env:   []string{"MAYFLY_POSTGRES={addr}"},
		Serve: func(l net.Listener, who mayfly.Caller) { n.parts.databases.Serve(l, who) },
	}}
}

// firings are the next times at which schedules call a function, so that an
// instance is there by then.
func (n *Node) firings(app mayfly.AppName, fn mayfly.FunctionName, now time.Time) []time.Time {
	return n.schedules.Upcoming(app, fn, now, 1)
}

// manifest is an app's manifest: the one that is being deployed, else the live
// one; nil where it has none.
func (n *Node) manifest(app mayfly.AppName) *mayfly.Manifest {
	if n.control == nil {
		return nil
	}
	return n.control.Manifest(app)
}

// granting makes a deploy's grants hold before its versions start: their
// initialisation may use the services.
type granting struct{ *identity.Authorizer }

func (granting) Kind() string { return "grants" }

func (g granting) Apply(_ context.Context, apps []*mayfly.Manifest) error {
	return g.Authorizer.Apply(apps)
}

// nodeID names the node's cgroups and files on this machine.
func nodeID(data string) string {
	abs, err := filepath.Abs(data)
	if err != nil {
		abs = data
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:6])
}

// versions lets the invoker ask a control that is made after it.
type versions struct{ n *Node }

func (v versions) Version(app mayfly.AppName, fn mayfly.FunctionName, qualifier string, roll int) (*mayfly.Version, error) {
	return v.n.control.Version(app, fn, qualifier, roll)
}

// apps tells triggers what is deployed.
type apps struct{ n *Node }

func (a apps) Manifest(app mayfly.AppName) (*mayfly.Manifest, bool) {
	m := a.n.manifest(app)
	return m, m != nil
}

func (a apps) Manifests() []*mayfly.Manifest { return a.n.control.State().Manifests() }

// recorders tells several of each call.
type recorders []invoke.Recorder

func (r recorders) Invocation(inv *mayfly.Invocation) {
	for _, one := range r {
		one.Invocation(inv)
	}
}

// caller is trigger.Invoker over the invoker.
type caller struct {
	invoker *invoke.Invoker
	spans   *tracer
}

func (c caller) Call(ctx context.Context, t *trigger.Call) ([]byte, error) {
	c.spans.received(t)
	res, err := c.invoker.Invoke(ctx, &invoke.Request{
		ID: t.ID, App: t.App, Function: t.Function, Qualifier: t.Qualifier, Event: t.Event, Trigger: t.Trigger, Route: t.Route,
		Attempt: t.Attempt, Trace: t.Trace, Caller: t.Caller, HTTP: t.HTTP, Hops: t.Hops,
	})
	if err != nil || res.Body == nil {
		return payload(res), err
	}
	defer res.Body.Close()
	return io.ReadAll(io.LimitReader(res.Body, int64(mayfly.MaxEvent)))
}

func payload(res *invoke.Result) []byte {
	if res == nil {
		return nil
	}
	return res.Payload
}

// accept is the asynchronous side of the gateway and the API.
type accept struct {
	calls    *async.Calls
	versions *control.Control
}

// Enqueue refuses what could never be called: there its caller still reads why.
func (a accept) Enqueue(ctx context.Context, r *invoke.Request) (string, error) {
	if _, err := a.versions.Version(r.App, r.Function, r.Qualifier, 0); err != nil {
		return "", err
	}
	return a.calls.Enqueue(ctx, &async.Request{
		App: r.App, Function: r.Function, Qualifier: r.Qualifier, Event: r.Event, Trigger: r.Trigger, Route: r.Route,
		Trace: r.Trace, Caller: r.Caller, HTTP: r.HTTP, Hops: r.Hops,
	})
}

var (
	_ sandbox.Output  = redacted{}
	_ trigger.Invoker = caller{}
)
