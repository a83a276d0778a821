package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/daemon"
	"github.com/mayfly-cloud/mayfly/manifest"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

func newDevCmd(g *globals) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "The platform with DIR deployed, redeployed on save, logs shown",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(dirArg(args))
			if err != nil {
				return err
			}
			if f.cfg.Data == "" {
				f.cfg.Data = filepath.Join(dir, ".mayfly")
			}
			if _, err := manifest.Find(dir); err != nil {
				return err
			}
			cfg, err := f.config(g)
			if err != nil {
				return err
			}
			cfg.Dev = true
			d := &developer{out: g.out, dir: dir}
			return g.runNode(cmd.Context(), cfg, f.readyFile, d.begin)
		},
	}
	f.add(cmd, "")
	cmd.Flag("data").DefValue = "DIR/.mayfly"
	return cmd
}

// developer deploys a folder at start and on each save, and prints a calm line
// for each thing that happens.
type developer struct {
	dir  string
	node *daemon.Node

	deploying sync.Mutex
	failed    bool // guarded by deploying; of the last deploy

	mu  sync.Mutex
	out io.Writer // guarded by mu
}

func (d *developer) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

// begin deploys once and then follows saves and logs. A first deploy that fails
// leaves the node up: the next save may mend it.
func (d *developer) begin(ctx context.Context, n *daemon.Node) error {
	d.node = n
	go d.logs(ctx)
	d.deploy(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stop := n.OnSecret(func() { go d.mend(ctx) })
	context.AfterFunc(ctx, stop) // when the node stops
	go func() {
		if err := watch(ctx, d.dir, func(paths []string) { d.deploy(ctx, paths) }); err != nil {
			d.say("changes are not seen (%v); restart mayfly dev after a save", err)
		}
	}()
	return nil
}

// mend tries again what failed, now that a secret changed: it may have been
// the missing one.
func (d *developer) mend(ctx context.Context) {
	d.deploying.Lock()
	failed := d.failed
	d.deploying.Unlock()
	if failed {
		d.deploy(ctx, nil)
	}
}

// deploy makes the folder live and says how long that took.
func (d *developer) deploy(ctx context.Context, saved []string) {
	d.deploying.Lock()
	defer d.deploying.Unlock()
	began := time.Now()
	r, err := d.node.Control().Deploy(mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerAdmin}), control.Local(d.dir), control.Options{
		Lenient: true,
		Progress: func(p control.Progress) {
			if line := stepLine(p); line != "" && p.Stage == control.StageBuilding {
				d.say("%s", line)
			}
		},
	})
	took := time.Since(began).Round(time.Millisecond)
	d.failed = err != nil
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.say("%s", failure(err, len(saved) > 0))
	case saved == nil:
		d.say("%s is live (%s)", r.Plan.App, took)
		d.routes(r.Plan.App)
	case r.Changed:
		d.say("%s: %s is live (%s)", short(saved), r.Plan.App, took)
	}
	if r != nil {
		for _, w := range r.Warnings {
			d.say("  %s", w)
		}
	}
}

// failure is why a deploy failed; its message has the user's files and lines.
func failure(err error, stays bool) string {
	text := "not deployed: " + describe(err)
	if stays {
		text += "\nthe version before stays live"
	}
	return text
}

func short(paths []string) string {
	if len(paths) > 2 {
		return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
	}
	return strings.Join(paths, ", ")
}

// routes lists what can be called now.
func (d *developer) routes(app mayfly.AppName) {
	a, err := d.node.Control().State().App(app)
	if err != nil {
		return
	}
	base := d.node.URLs().Gateway
	for _, name := range sortedNames(a.Manifest) {
		for _, t := range a.Manifest.Functions[name].On {
			if t.HTTP == "" {
				continue
			}
			method, path, ok := strings.Cut(t.HTTP, " ")
			if !ok {
				method, path = "ANY", t.HTTP
			}
			d.say("  %-16s %-6s %s%s", name, method, base, strings.TrimSpace(path))
		}
	}
}

// logs prints what functions print.
func (d *developer) logs(ctx context.Context) {
	for line := range d.node.Telemetry().Tail(ctx, telemetry.LogQuery{}) {
		d.say("%s", logLine(line))
	}
}
