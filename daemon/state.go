package daemon

import (
	"context"
	"errors"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/gateway"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// subscribe brings each new state into force, in the order that a call meets
// the parts backwards: after the resources, which are control's own, who calls, the
// edge, and only then what is no longer needed.
func (n *Node) subscribe() {
	n.control.Subscribe("triggers", func(ctx context.Context, s *control.State) error {
		all := bindings(s)
		var errs []error
		for _, t := range n.parts.triggers {
			errs = append(errs, t.Apply(ctx, all[t.Kind()]))
		}
		return errors.Join(errs...)
	})
	n.control.Subscribe("budgets", func(ctx context.Context, s *control.State) error {
		return n.ledger.Apply(ctx, s.Manifests())
	})
	n.control.Subscribe("alerts", func(ctx context.Context, s *control.State) error {
		return n.alerts.Apply(ctx, s.Manifests())
	})
	n.control.Subscribe("gateway", func(_ context.Context, s *control.State) error {
		return n.gateway.Apply(n.routes(s))
	})
	n.control.Subscribe("pool", func(_ context.Context, s *control.State) error {
		n.pool.Keep(s.Live())
		return nil
	})
}

// bindings is every trigger of every app, by kind. A kind without a binding is
// in it too, so that a driver learns that its last one went.
func bindings(s *control.State) map[mayfly.TriggerKind][]trigger.Binding {
	all := map[mayfly.TriggerKind][]trigger.Binding{}
	for _, a := range s.Apps() {
		for name, fn := range a.Manifest.Functions {
			for i, t := range fn.On {
				kind, _ := t.Kind()
				all[kind] = append(all[kind], trigger.Binding{
					App: a.Name, Function: name, Index: i, Trigger: t, Spec: fn, Manifest: a.Manifest,
				})
			}
		}
	}
	return all
}

// routes is what the gateway serves: http triggers, webhooks by their driver, and
// buckets' websites.
func (n *Node) routes(s *control.State) []gateway.App {
	var apps []gateway.App
	for _, a := range s.Apps() {
		app := gateway.App{Name: a.Name}
		for name, fn := range a.Manifest.Functions {
			for _, t := range fn.On {
				if t.HTTP != "" {
					app.Routes = append(app.Routes, gateway.Route{
						Pattern: t.HTTP, Function: name, CORS: t.CORS, Auth: t.Auth,
						Serves: fn.Runtime == mayfly.HTTP || fn.Runtime == mayfly.Container,
					})
				}
			}
		}
		for _, r := range n.hooks.Routes(a.Name) {
			app.Routes = append(app.Routes, gateway.Route{Pattern: r.Pattern, Handler: r.Handler})
		}
		n.sites(&app, a.Manifest)
		apps = append(apps, app)
	}
	return apps
}

// sites adds the websites of an app's buckets: one at the root takes what no
// route does, one below it is a route.
func (n *Node) sites(app *gateway.App, m *mayfly.Manifest) {
	for name, b := range m.Buckets {
		if b == nil || b.Website == nil {
			continue
		}
		site := n.buckets.Website(app.Name, name)
		if b.Website.Root() == "/" {
			app.Rest = site
			continue
		}
		for _, pattern := range b.Website.Patterns() {
			app.Routes = append(app.Routes, gateway.Route{Pattern: pattern, Handler: site})
		}
	}
}
