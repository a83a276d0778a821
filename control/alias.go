package control

import (
	"context"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func (c *Control) deployment(id, action, message string) Deployment {
	return Deployment{ID: id, At: time.Now().UTC().Truncate(time.Millisecond), Action: action, Message: message, Versions: map[mayfly.FunctionName]int{}}
}

// change makes one change to an app by compare-and-set and tells subscribers.
func (c *Control) change(ctx context.Context, app mayfly.AppName, record Deployment, edit func(a *App) error) (*App, error) {
	defer c.lock(app)()
	was, err := c.State().App(app)
	if err != nil {
		return nil, err
	}
	a := was.clone(app)
	if err := edit(a); err != nil {
		return nil, err
	}
	record.By = mayfly.CallerFrom(ctx).String()
	a.note(record)
	if err := c.remember(ctx, a.snapshot(record, nil)); err != nil {
		return nil, err
	}
	if err := c.put(ctx, a); err != nil {
		return nil, err
	}
	for _, w := range c.publishNow(ctx) {
		c.cfg.Log.Warn(w, "app", app)
	}
	return c.State().apps[app], nil
}

// Promote sends calls of a function to a version: all of them where percent is
// 0 or 100, else that share, as a canary beside the live version. Version 0 is
// the canary, or else the newest. The version is started once before.
func (c *Control) Promote(ctx context.Context, app mayfly.AppName, fn mayfly.FunctionName, version, percent int) (mayfly.Alias, error) {
	if percent < 0 || percent > 100 {
		return mayfly.Alias{}, mayfly.Errorf(mayfly.Invalid, "promote", "%d is not a percentage; write 1 to 100", percent)
	}
	record := c.deployment(mayfly.NewID()[:8], "promote", "")
	a, err := c.change(ctx, app, record, func(a *App) error {
		was, err := a.alias(fn)
		if err != nil {
			return err
		}
		n := version
		if n == 0 {
			n = was.Canary
		}
		if n == 0 {
			n = a.Latest[fn]
		}
		next := mayfly.Alias{Name: mayfly.AliasLive, Version: n, Previous: was.Version}
		switch {
		case percent > 0 && percent < 100 && n == was.Version:
			return mayfly.Errorf(mayfly.Conflict, "promote", "version %d of %s has all calls already; a canary is another version", n, fn)
		case percent > 0 && percent < 100:
			next = mayfly.Alias{Name: mayfly.AliasLive, Version: was.Version, Canary: n, Weight: percent, Previous: was.Previous}
		case n == was.Version:
			next.Previous = was.Previous
		}
		a.Live[fn] = next
		record.Versions[fn] = n
		return c.startAgain(ctx, a, fn, n)
	})
	return liveOf(a, fn), err
}

// Rollback sends all calls of a function to a version: version 0 ends a canary,
// or else returns to the version before.
func (c *Control) Rollback(ctx context.Context, app mayfly.AppName, fn mayfly.FunctionName, version int) (mayfly.Alias, error) {
	record := c.deployment(mayfly.NewID()[:8], "rollback", "")
	a, err := c.change(ctx, app, record, func(a *App) error {
		was, err := a.alias(fn)
		if err != nil {
			return err
		}
		next := mayfly.Alias{Name: mayfly.AliasLive, Version: version, Previous: was.Version}
		switch {
		case version == 0 && was.Canary > 0:
			next.Version, next.Previous = was.Version, was.Previous
		case version == 0 && was.Previous == 0:
			return mayfly.Errorf(mayfly.Conflict, "roll back", "function %s has no version before %d", fn, was.Version)
		case version == 0:
			next.Version = was.Previous
		case version == was.Version && was.Canary == 0:
			return mayfly.Errorf(mayfly.Conflict, "roll back", "version %d of %s is live already", version, fn)
		}
		if next.Version == was.Version {
			next.Previous = was.Previous
		}
		a.Live[fn] = next
		record.Versions[fn] = next.Version
		return c.startAgain(ctx, a, fn, next.Version)
	})
	return liveOf(a, fn), err
}

func liveOf(a *App, fn mayfly.FunctionName) mayfly.Alias {
	if a == nil {
		return mayfly.Alias{}
	}
	return a.Live[fn]
}

// startAgain makes sure that a version which may not have run for long still
// starts, before calls reach it.
func (c *Control) startAgain(ctx context.Context, a *App, fn mayfly.FunctionName, n int) error {
	v, err := a.version(fn, n)
	if err != nil {
		return err
	}
	if err := c.cfg.Warmer.Prepare(ctx, v); err != nil {
		return startError(v, err)
	}
	if err := c.cfg.Warmer.Warm(ctx, v); err != nil {
		return startError(v, err)
	}
	return nil
}

// Remove ends an app: its routes, triggers and functions. The data of its
// resources stays.
func (c *Control) Remove(ctx context.Context, app mayfly.AppName) error {
	defer c.lock(app)()
	was, err := c.State().App(app)
	if err != nil {
		return err
	}
	gone := &App{Name: app, Latest: was.Latest, Removed: true, revision: was.revision}
	if err := c.put(ctx, gone); err != nil {
		return err
	}
	for _, w := range c.publishNow(ctx) {
		c.cfg.Log.Warn(w, "app", app)
	}
	return nil
}

// abandoned is the age at which the record of a version that no app lists is
// taken for what an interrupted deploy left.
const abandoned = time.Hour

// Collected is what Collect removed.
type Collected struct {
	Versions int `json:"versions"`
	Bundles  int `json:"bundles"`
}

// Collect removes the records of versions that no app has any more, and the
// bundles that no version has. It does nothing while something is deployed.
func (c *Control) Collect(ctx context.Context) (Collected, error) {
	var done Collected
	if !c.deploying.TryLock() {
		return done, nil
	}
	defer c.deploying.Unlock()
	state := c.State()
	inUse := map[string]bool{}
	var dropped []string
	for e := range c.cfg.Index.List(versionsPrefix) {
		v, ok := readVersion(e.Value)
		a := state.apps[v.App]
		switch {
		case ok && a != nil && slices.Contains(a.Kept[v.Function], v.Number):
			inUse[v.Digest] = true
		case !ok || (a != nil && v.Number <= a.Latest[v.Function]) || time.Since(v.Created) > abandoned:
			dropped = append(dropped, e.Key)
		default:
			inUse[v.Digest] = true
		}
	}
	for _, key := range dropped {
		if err := c.cfg.Index.Delete(ctx, key, 0); err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			return done, err
		}
		done.Versions++
	}
	err := c.forget(ctx, state)
	if err != nil {
		return done, err
	}
	done.Bundles, err = c.cfg.Artifacts.Sweep(ctx, func(digest string) bool { return inUse[digest] })
	return done, err
}
