package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newReplayCmd(g *globals) *cobra.Command {
	var qualifier string
	var verbose, local bool
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Call a function again with the input of a recorded call",
		Long: `Calls a function again with the input of a recorded call, on what is live now.
Inputs are kept of calls that failed. Whatever the first call changed, the
second may change again.

With --local the code of this folder is called, on a node of its own that is
gone afterwards: what was recorded elsewhere runs before a debugger or a fix.`,
		Example: `  mayfly replay 3ceae50e-9a4c-4f0e-8d25-6a3f0d1f7f10
  mayfly replay 3ceae50e-9a4c-4f0e-8d25-6a3f0d1f7f10 --qualifier 4   # on a version that gets no calls yet
  mayfly replay 3ceae50e-9a4c-4f0e-8d25-6a3f0d1f7f10 --local         # on the code of this folder`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := g.recorded(cmd, args[0])
			if err != nil {
				return err
			}
			call := func(ctx context.Context) error { return g.replay(ctx, inv, qualifier, verbose) }
			if !local {
				return call(cmd.Context())
			}
			return g.withLocal(cmd.Context(), func(ctx context.Context) error {
				if string(inv.App) != g.app {
					return mayfly.Errorf(mayfly.Invalid, "", "the call is of the app %s, and this folder has %s; replay it in the folder of its app", inv.App, g.app)
				}
				return call(ctx)
			})
		},
	}
	cmd.Flags().StringVar(&qualifier, "qualifier", "", "an alias or a version number; default live")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "say how the time was spent")
	cmd.Flags().BoolVar(&local, "local", false, "call the code of this folder, on a node of its own")
	cmd.MarkFlagsMutuallyExclusive("qualifier", "local")
	return cmd
}

// recorded is the record of a call, with its input.
func (g *globals) recorded(cmd *cobra.Command, id string) (*mayfly.Invocation, error) {
	c, err := g.client()
	if err != nil {
		return nil, err
	}
	var inv mayfly.Invocation
	if err := c.Do(cmd.Context(), http.MethodGet, "/v1/invocations/"+url.PathEscape(id), nil, &inv); err != nil {
		return nil, err
	}
	if len(inv.Event) == 0 {
		return nil, mayfly.Errorf(mayfly.NotFound, "", "the input of call %s of %s was not kept, since it did not fail or its body was streamed; call it with: mayfly invoke %s -d JSON", inv.ID, inv.Function, inv.Function)
	}
	return &inv, nil
}

func (g *globals) replay(ctx context.Context, inv *mayfly.Invocation, qualifier string, verbose bool) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	q := url.Values{}
	if qualifier != "" {
		q.Set("qualifier", qualifier)
	}
	if inv.Trigger == mayfly.TriggerHTTP {
		q.Set("http", strconv.FormatBool(true))
	}
	path := "/v1/apps/" + url.PathEscape(string(inv.App)) + "/functions/" + url.PathEscape(string(inv.Function)) + "/invoke?" + q.Encode()
	res, err := c.Send(ctx, http.MethodPost, path, "application/json", bytes.NewReader(inv.Event))
	var again *mayfly.FunctionError
	if errors.As(err, &again) && inv.Error != nil && !g.json {
		if again.Type == inv.Error.Type && again.Message == inv.Error.Message {
			fmt.Fprintln(g.err, "it fails as it did:")
		} else {
			fmt.Fprintf(g.err, "it failed with %s, and now fails otherwise:\n", inv.Error)
		}
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if verbose {
		printInvocation(g.err, res.Header.Get("X-Mayfly-Invocation"))
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	_, err = g.out.Write(append(bytes.TrimRight(body, "\n"), '\n'))
	return err
}
