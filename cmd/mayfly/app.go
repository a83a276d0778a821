package main

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/api/client"
	"github.com/mayfly-cloud/mayfly/manifest"
)

// appName is the app that a verb means: --app, that of a manifest in this
// folder, or the only one deployed.
func (g *globals) appName(ctx context.Context, c *client.Client) (string, error) {
	if app := g.ownApp(); app != "" {
		return app, nil
	}
	var out struct{ Apps []api.AppSummary }
	if err := c.Do(ctx, "GET", "/v1/apps", nil, &out); err != nil {
		return "", err
	}
	switch len(out.Apps) {
	case 0:
		return "", mayfly.Errorf(mayfly.NotFound, "", "no app is deployed; deploy one with: mayfly deploy DIR")
	case 1:
		return string(out.Apps[0].Name), nil
	}
	names := make([]string, len(out.Apps))
	for i, a := range out.Apps {
		names[i] = string(a.Name)
	}
	return "", mayfly.Errorf(mayfly.Invalid, "", "several apps are deployed; say which one with --app: %s", strings.Join(names, ", "))
}

// ownApp is the app that the flag or a manifest in this folder names, "" where
// neither does.
func (g *globals) ownApp() string {
	if g.app != "" {
		return g.app
	}
	if m, err := manifest.Load("."); err == nil {
		return string(m.App)
	}
	return ""
}

// deployed errors where what a verb names is not there: an app, a function of it,
// or, where app is "", a function of any app. What is "" is not looked for.
func deployed(ctx context.Context, c *client.Client, app, fn string) error {
	switch {
	case app != "" && fn != "":
		return c.Do(ctx, "GET", "/v1/apps/"+url.PathEscape(app)+"/functions/"+url.PathEscape(fn), nil, nil)
	case app != "":
		return c.Do(ctx, "GET", "/v1/apps/"+url.PathEscape(app), nil, nil)
	case fn == "":
		return nil
	}
	var out struct{ Functions []api.FunctionInfo }
	if err := c.Do(ctx, "GET", "/v1/functions?find="+url.QueryEscape(fn), nil, &out); err != nil {
		return err
	}
	if !slices.ContainsFunc(out.Functions, func(f api.FunctionInfo) bool { return string(f.Name) == fn }) {
		return mayfly.Errorf(mayfly.NotFound, "", "no app has a function %q", fn)
	}
	return nil
}
