package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api"
	"github.com/mayfly-cloud/mayfly/artifact"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/manifest"
)

func newDeployCmd(g *globals) *cobra.Command {
	var message string
	var canary int
	var hold, leaks bool
	cmd := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Plan, then apply: all of it or nothing",
		Example: `  mayfly deploy photos -m "smaller thumbnails"
  mayfly deploy photos --canary 10      # then: mayfly promote FUNCTION, or mayfly rollback FUNCTION
  mayfly deploy photos --hold           # new versions that get no calls before mayfly promote`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if canary < 0 || canary > 99 {
				return usageError{fmt.Errorf("--canary %d: it is the percentage of calls that new versions get, 1 to 99", canary)}
			}
			q := url.Values{}
			if canary > 0 {
				q.Set("canary", strconv.Itoa(canary))
			}
			if hold {
				q.Set("hold", "true")
			}
			if message != "" {
				q.Set("message", message)
			}
			if !leaks {
				if err := refuseLeaks(dirArg(args)); err != nil {
					return err
				}
			}
			last, err := g.send(cmd.Context(), "/v1/deploys?"+q.Encode(), dirArg(args))
			if err != nil {
				return err
			}
			return g.print(last.Result, func(w io.Writer) { fmt.Fprint(w, last.Result) })
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "what changed and why, kept with the deploy")
	cmd.Flags().IntVar(&canary, "canary", 0, "percent of the calls that new versions get; the others stay with what is live")
	cmd.Flags().BoolVar(&hold, "hold", false, "make new versions and leave all calls where they are")
	cmd.Flags().BoolVar(&leaks, "allow-leaks", false, "deploy even where the code has what looks like a credential")
	cmd.MarkFlagsMutuallyExclusive("canary", "hold")
	return cmd
}

// planChanges is the exit status of a plan that would change something.
const planChanges = exitStatus(10)

func newPlanCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "plan [DIR]",
		Short: "What deploy would change; exits with 10 where it would change something",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			last, err := g.send(cmd.Context(), "/v1/plan", dirArg(args))
			if err != nil {
				return err
			}
			if err := g.print(last.Plan, func(w io.Writer) { fmt.Fprint(w, last.Plan) }); err != nil {
				return err
			}
			if last.Plan.Empty() {
				return nil
			}
			return planChanges
		},
	}
}

// dirArg is the app's folder, which may be given by its manifest.
func dirArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	if info, err := os.Stat(args[0]); err == nil && !info.IsDir() && slices.Contains(manifest.Names, filepath.Base(args[0])) {
		return filepath.Dir(args[0])
	}
	return args[0]
}

// packedKept is how long what was packed stays in the user's cache, so that what
// did not change is not built again.
const packedKept = 30 * 24 * time.Hour

// send builds and packs an app here, sends it to the node, tells the progress
// and returns the last event.
func (g *globals) send(ctx context.Context, path, dir string) (last api.DeployEvent, err error) {
	c, err := g.client()
	if err != nil {
		return last, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return last, err
	}
	store, release, err := artifact.Shared(ctx, artifact.Config{Dir: filepath.Join(cache, "mayfly", "artifacts"), NoSync: true}, packedKept)
	if err != nil {
		return last, err
	}
	defer release()
	tell := g.progress()
	r, w := io.Pipe()
	go func() { w.CloseWithError(control.Send(ctx, dir, store, w, tell)) }()
	defer r.Close()
	// The request begins with the first byte: an error of the app itself is the
	// pipe's, and is told as it is.
	err = c.Lines(ctx, http.MethodPost, path, "application/octet-stream", r, func(line []byte) error {
		last = api.DeployEvent{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		if last.Progress != nil {
			tell(*last.Progress)
		}
		return last.Failed()
	})
	if err == nil && last.Plan == nil && last.Result == nil {
		err = mayfly.Errorf(mayfly.Unavailable, "", "the node broke off; `mayfly versions` says what is live")
	}
	return last, err
}

// progress tells the steps of a deploy on standard error.
func (g *globals) progress() func(control.Progress) {
	return func(p control.Progress) {
		if g.json {
			return
		}
		if line := stepLine(p); line != "" {
			fmt.Fprintln(g.err, line)
		}
	}
}

// stepLine is a step for people, "" where it is not worth a line.
func stepLine(p control.Progress) string {
	switch p.Stage {
	case control.StageBuilding:
		return fmt.Sprintf("  %s  %s", p.Function, p.Text)
	case control.StageStarted:
		return fmt.Sprintf("  %s  version %d started", p.Function, p.Version)
	}
	return ""
}
