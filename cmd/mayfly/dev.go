package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
			if file, err := manifest.Find(dir); err != nil {
				return err
			} else if file == dir {
				return mayfly.Errorf(mayfly.Invalid, "", "%s is not a folder; give the one with mayfly.yaml", dir)
			}
			if f.cfg.Data == "" {
				f.cfg.Data = filepath.Join(dir, ".mayfly")
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
	failed    bool   // guarded by deploying; of the last deploy
	shown     string // guarded by deploying; the routes that were listed last

	mu     sync.Mutex
	out    io.Writer // guarded by mu
	far    *steps    // guarded by mu; of the deploy under way, nil where there is none
	giveUp func()    // guarded by mu; ends it
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
		if err := watch(ctx, d.dir, func(paths []string) { d.save(ctx, paths) }); err != nil {
			d.say("changes are not seen (%v); restart mayfly dev after a save", err)
		}
	}()
	return nil
}

// save deploys what was saved, without waiting for it. A deploy under way that
// waits for code to start is given up: a save may have mended just that code.
func (d *developer) save(ctx context.Context, paths []string) {
	d.mu.Lock()
	if d.far != nil && d.far.waits() {
		d.giveUp()
	}
	d.mu.Unlock()
	go d.deploy(ctx, paths)
}

func (d *developer) underWay(far *steps, giveUp func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.far, d.giveUp = far, giveUp
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
	far := &steps{waiting: map[mayfly.FunctionName]time.Time{}}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	d.underWay(far, giveUp)
	defer d.underWay(nil, nil)
	stop := every(slow, func() { d.say("  %s", far) })
	r, err := d.node.Control().Deploy(mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerAdmin}), control.Local(d.dir), control.Options{
		Lenient: true,
		Progress: func(p control.Progress) {
			far.count(p)
			if line := stepLine(p); line != "" && p.Stage == control.StageBuilding {
				d.say("%s", line)
			}
		},
	})
	stop()
	took := time.Since(began).Round(time.Millisecond)
	d.failed = err != nil
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.say("%s", failure(err, len(saved) > 0 && len(d.node.Control().State().Apps()) > 0))
	case saved == nil:
		d.say("%s is live (%s)", r.Plan.App, took)
		d.routes(r.Plan.App)
	case r.Changed:
		d.say("%s: %s is live (%s)", d.changed(saved), r.Plan.App, took)
		d.routes(r.Plan.App)
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

// changed names what was saved, without the files that tools write and move away
// on the way.
func (d *developer) changed(paths []string) string {
	left := slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		_, err := os.Lstat(filepath.Join(d.dir, p))
		return err != nil
	})
	if len(left) > 0 {
		paths = left
	}
	return short(paths)
}

func short(names []string) string {
	if len(names) > 2 {
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return strings.Join(names, ", ")
}

// slow is how long a deploy takes before it says how far it is.
const slow = 3 * time.Second

// steps is how far a deploy is.
type steps struct {
	mu      sync.Mutex
	packed  int                               // guarded by mu
	waiting map[mayfly.FunctionName]time.Time // guarded by mu; since when those start that did not yet
}

func (s *steps) count(p control.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p.Stage {
	case control.StagePacked:
		s.packed++
	case control.StageStarting:
		s.waiting[p.Function] = time.Now()
	case control.StageStarted:
		delete(s.waiting, p.Function)
	}
}

// waits reports whether the deploy waits for code to start.
func (s *steps) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0
}

func (s *steps) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return fmt.Sprintf("%d functions are read", s.packed)
	}
	var names []string
	var longest time.Duration
	for _, name := range slices.Sorted(maps.Keys(s.waiting)) {
		names = append(names, string(name))
		longest = max(longest, time.Since(s.waiting[name]))
	}
	return fmt.Sprintf("waiting for %s to start, for %s now", short(names), longest.Round(time.Second))
}

// every calls fn each time that d has passed, until stop, which waits for it.
func every(d time.Duration, fn func()) (stop func()) {
	t, done, ended := time.NewTicker(d), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				fn()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// routes lists what can be called now, where that is not what it was.
func (d *developer) routes(app mayfly.AppName) {
	a, err := d.node.Control().State().App(app)
	if err != nil {
		return
	}
	base := d.node.URLs().Gateway
	var list strings.Builder
	fmt.Fprintf(&list, "%s\n", app)
	for _, name := range sortedNames(a.Manifest) {
		for _, t := range a.Manifest.Functions[name].On {
			if t.HTTP == "" {
				continue
			}
			method, path, ok := strings.Cut(t.HTTP, " ")
			if !ok {
				method, path = "ANY", t.HTTP
			}
			fmt.Fprintf(&list, "  %-16s %-6s %s%s\n", name, method, base, strings.TrimSpace(path))
		}
	}
	if text := list.String(); text != d.shown {
		d.shown = text
		if _, lines, _ := strings.Cut(strings.TrimRight(text, "\n"), "\n"); lines != "" {
			d.say("%s", lines)
		}
	}
}

// logs prints what functions print.
func (d *developer) logs(ctx context.Context) {
	for line := range d.node.Telemetry().Tail(ctx, telemetry.LogQuery{}) {
		d.say("%s", logLine(line))
	}
}
