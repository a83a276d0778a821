package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
)

func newDeploysCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploys",
		Short: "The last changes of an app, the newest first; what differs between two, and back to one",
		Example: `  mayfly deploys
  mayfly deploys compare                       what the last one changed
  mayfly deploys compare 3fa1c7e2 b04d91aa     what differs between two
  mayfly deploys restore 3fa1c7e2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := g.deploys(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(all, func(w io.Writer) { printDeploys(w, all) })
		},
	}
	cmd.AddCommand(newDeploysCompareCmd(g), newDeploysRestoreCmd(g))
	return cmd
}

func newDeploysCompareCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "compare [DEPLOY [OTHER]]",
		Short: "What a deploy changed (default: the last one), or what OTHER has that differs from it",
		Long: `What a deploy changed (default: the last one), or what OTHER has that differs
from it: settings, code, environment, triggers, resources. A deploy is named by its
id or the begin of it, as mayfly deploys lists them; "live" is the last one.`,
		Example: `  mayfly deploys compare
  mayfly deploys compare 3fa1c7e2
  mayfly deploys compare live 3fa1c7e2         what mayfly deploys restore 3fa1c7e2 would change`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := g.deploys(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{live}
			}
			ids := make([]string, len(args))
			for i, arg := range args {
				if ids[i], err = deployNamed(all, arg); err != nil {
					return err
				}
			}
			since := ""
			if len(ids) == 2 {
				since = ids[0]
			}
			p, err := g.changes(cmd.Context(), ids[len(ids)-1], since)
			if err != nil {
				return err
			}
			return g.print(p, func(w io.Writer) { fmt.Fprint(w, p.Done()) })
		},
	}
}

func newDeploysRestoreCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "restore DEPLOY",
		Short: "Make the app what a deploy had left: all of it or nothing; data stays",
		Long: `Make the app what a deploy had left: its manifest, resources, triggers and the
version of each function, all of it or nothing. What differs is started once before.
Data stays as it is. What it would change: mayfly deploys compare live DEPLOY.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			all, err := g.deploys(ctx)
			if err != nil {
				return err
			}
			id, err := deployNamed(all, args[0])
			if err != nil {
				return err
			}
			var made control.Deployment
			if err := g.appCall(ctx, http.MethodPost, "/deploys/"+url.PathEscape(id)+"/restore", nil, &made); err != nil {
				return err
			}
			if g.json {
				return g.print(made, nil)
			}
			p, err := g.changes(ctx, made.ID, "")
			if err != nil {
				return err
			}
			fmt.Fprintf(g.out, "%s\n%s is what deploy %s had left; it is deploy %s now\n", p.Done(), p.App, id, made.ID)
			return nil
		},
	}
}

// live names the last deploy of an app.
const live = "live"

// deploys are the recorded changes of the app that is meant, the newest first.
func (g *globals) deploys(ctx context.Context) ([]control.Deployment, error) {
	var out struct {
		Deploys []control.Deployment `json:"deploys"`
	}
	err := g.appCall(ctx, http.MethodGet, "/deploys", nil, &out)
	return out.Deploys, err
}

// changes are what a deploy changed since another, "" for the one before.
func (g *globals) changes(ctx context.Context, id, since string) (*control.Plan, error) {
	path := "/deploys/" + url.PathEscape(id) + "/changes"
	if since != "" {
		path += "?since=" + url.QueryEscape(since)
	}
	p := &control.Plan{}
	return p, g.appCall(ctx, http.MethodGet, path, nil, p)
}

// deployNamed is the id of the deploy that a name means: live, an id, or the
// begin of one id.
func deployNamed(all []control.Deployment, name string) (string, error) {
	var near []string
	for i, d := range all {
		if d.ID == name || (name == live && i == 0) {
			return d.ID, nil
		}
		if strings.HasPrefix(d.ID, name) {
			near = append(near, d.ID)
		}
	}
	switch len(near) {
	case 1:
		return near[0], nil
	case 0:
		return "", mayfly.Errorf(mayfly.NotFound, "", "there is no deploy %q; mayfly deploys lists the last %d", name, len(all))
	}
	return "", mayfly.Errorf(mayfly.Invalid, "", "%q is the begin of several deploys: %s", name, strings.Join(near, ", "))
}

func printDeploys(w io.Writer, all []control.Deployment) {
	rows := make([][]string, len(all))
	for i, d := range all {
		state := ""
		if i == 0 {
			state = live
		}
		rows[i] = []string{d.ID, state, d.At.Local().Format(time.DateTime), d.Action, d.By, versionsOf(d), shorten(d.Message, 60)}
	}
	table(w, "DEPLOY\t\tAT\tWHAT\tBY\tVERSIONS\tMESSAGE", rows)
}

// versionsOf are the first versions that a deploy made or turned to, and how many
// more there are.
func versionsOf(d control.Deployment) string {
	const most = 4
	var all []string
	for _, fn := range slices.Sorted(maps.Keys(d.Versions)) {
		all = append(all, fmt.Sprintf("%s %d", fn, d.Versions[fn]))
	}
	if more := len(all) - most; more > 0 {
		all = append(all[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}
