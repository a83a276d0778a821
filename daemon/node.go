package daemon

import (
	"context"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/manifest"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/service/sql"
	"github.com/mayfly-cloud/mayfly/telemetry/otlp"
	"github.com/mayfly-cloud/mayfly/web"
)

// Status is api.Node's.
func (n *Node) Status() api.Status {
	u := n.URLs()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return api.Status{
		Version: n.cfg.Version, Started: n.started, Gateway: u.Gateway, API: u.API, S3: u.S3,
		Tier: n.launcher.Tier(), Memory: mayfly.Bytes(m.Sys - m.HeapReleased), Dev: n.cfg.Dev,
	}
}

// Doctor is api.Node's.
func (n *Node) Doctor(ctx context.Context) api.Doctor {
	d := api.Doctor{Tier: n.launcher.Tier(), Egress: checkOf(n.launcher.Egress()), GVisor: checkOf(n.launcher.GVisor())}
	for _, r := range mayfly.Runtimes {
		d.Runtimes = append(d.Runtimes, api.RuntimeCheck{Runtime: r, Check: checkOf(n.pool.Check(ctx, r))})
	}
	return d
}

func checkOf(err error) api.Check {
	if err != nil {
		return api.Check{Problem: mayfly.MessageOf(err)}
	}
	return api.Check{OK: true}
}

// Instances is api.Node's.
func (n *Node) Instances() []pool.Stats { return n.pool.Stats() }

// Examine says what this machine can run and isolate, without a node.
func Examine(ctx context.Context) (d api.Doctor, err error) {
	dir, err := os.MkdirTemp("", "mayfly-doctor-")
	if err != nil {
		return d, err
	}
	defer os.RemoveAll(dir)
	n := &Node{cfg: Config{Data: dir}.WithDefaults()}
	n.launcher, err = process.New(process.Config{Dir: filepath.Join(dir, "run"), Bundles: dir, Node: nodeID(dir), Stock: -1, Log: n.cfg.Log})
	if err != nil {
		return d, err
	}
	defer n.launcher.Close()
	if n.drivers, err = runtimes(n.cfg, n.launcher); err != nil {
		return d, err
	}
	n.pool = pool.New(pool.Config{Drivers: n.drivers, Log: n.cfg.Log})
	d = n.Doctor(ctx)
	for _, drv := range n.drivers {
		_ = drv.Close()
	}
	return d, nil
}

// supported is what this node acts on: what the catalogue holds.
func (n *Node) supported() manifest.Supported {
	s := manifest.Supported{Triggers: []mayfly.TriggerKind{mayfly.TriggerHTTP}, Isolation: []string{"process"}}
	if n.launcher.GVisor() == nil {
		s.Isolation = append(s.Isolation, process.IsolationGVisor)
	}
	for r := range n.drivers {
		s.Runtimes = append(s.Runtimes, r)
	}
	for _, t := range n.parts.triggers {
		s.Triggers = append(s.Triggers, t.Kind())
	}
	return s
}

// inside is what a function reaches at its endpoint.
func (n *Node) inside(who mayfly.Caller) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", n.tracer.services(who, n.api.Inside(who)))
	mux.Handle(sql.SocketPattern, n.wireInside(who))
	receiver := (&otlp.Receiver{Sink: n.sink, Metrics: n.metrics}).Handler(who)
	mux.Handle("/otlp/", http.StripPrefix("/otlp", receiver))
	for _, signal := range []string{"trace", "logs", "metrics"} {
		mux.Handle("/opentelemetry.proto.collector."+signal+".v1."+strings.ToUpper(signal[:1])+signal[1:]+"Service/", receiver) // gRPC
	}
	return mux
}

// raw is what the API serves beside its operations, for holders of the token.
func (n *Node) raw() map[string]http.Handler {
	return map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/metrics":             n.metrics,
		"/api/v1/":             n.metrics.API(),
	}
}

// console is what the API serves without a token, or asks for it by itself.
func (n *Node) console() map[string]http.Handler {
	return map[string]http.Handler{"/": web.Handler("/"), sql.SocketPattern: n.wireOutside()}
}
