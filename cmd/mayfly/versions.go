package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
)

// functionPath is the API's path of a function of the app that is meant.
func (g *globals) functionPath(cmd *cobra.Command, fn, rest string) (string, error) {
	c, err := g.client()
	if err != nil {
		return "", err
	}
	app, err := g.appName(cmd.Context(), c)
	if err != nil {
		return "", err
	}
	return "/v1/apps/" + url.PathEscape(app) + "/functions/" + url.PathEscape(fn) + rest, nil
}

func newVersionsCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "versions FUNCTION",
		Short: "A function's versions, the newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := g.functionPath(cmd, args[0], "/versions")
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			var out struct {
				Versions []control.VersionInfo `json:"versions"`
			}
			if err := c.Do(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			return g.print(out.Versions, func(w io.Writer) { printVersions(w, out.Versions) })
		},
	}
}

func printVersions(w io.Writer, versions []control.VersionInfo) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "VERSION\tCALLS\tCREATED\tSIZE\tDIGEST\tMESSAGE")
	for _, v := range versions {
		share := ""
		if v.Percent > 0 {
			share = fmt.Sprintf("%d%%", v.Percent)
		} else if v.Previous {
			share = "previous"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%.19s\t%s\n", v.Number, share, v.Created.Local().Format(time.DateTime), v.Size, v.Digest, v.Message)
	}
	tw.Flush()
}

func newPromoteCmd(g *globals) *cobra.Command {
	var version, weight int
	cmd := &cobra.Command{
		Use:   "promote FUNCTION",
		Short: "Send all or some of the calls to a version",
		Example: `  mayfly promote thumbnail --version 4 --weight 10   a canary: 10 % of the calls
  mayfly promote thumbnail --version 4               all of them`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if weight < 1 || weight > 100 {
				return usageError{fmt.Errorf("--weight %d: it is the percentage of calls that the version gets, 1 to 100", weight)}
			}
			return g.turn(cmd, args[0], "/promote", map[string]any{"version": version, "weight": weight})
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "the version (default: the newest)")
	cmd.Flags().IntVar(&weight, "weight", 100, "percent of the calls")
	return cmd
}

func newRollbackCmd(g *globals) *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "rollback FUNCTION",
		Short: "Send all calls to the version before, or to a given one",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.turn(cmd, args[0], "/rollback", map[string]any{"version": version})
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "the version (default: the one before)")
	return cmd
}

// turn moves a function's live alias and tells where it points.
func (g *globals) turn(cmd *cobra.Command, fn, verb string, body map[string]any) error {
	path, err := g.functionPath(cmd, fn, verb)
	if err != nil {
		return err
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	var alias mayfly.Alias
	if err := c.Do(cmd.Context(), http.MethodPost, path, body, &alias); err != nil {
		return err
	}
	return g.print(alias, func(w io.Writer) {
		if alias.Canary > 0 {
			fmt.Fprintf(w, "%s: %d%% of the calls go to version %d, the others to version %d\n", fn, alias.Weight, alias.Canary, alias.Version)
			return
		}
		fmt.Fprintf(w, "%s: all calls go to version %d\n", fn, alias.Version)
	})
}
