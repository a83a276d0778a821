package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newInvokeCmd(g *globals) *cobra.Command {
	var data, event, qualifier string
	var async, verbose, local bool
	cmd := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Call a function and print its result",
		Example: `  mayfly invoke thumbnail -d '{"key":"raw/1.png"}'
  mayfly invoke thumbnail --event event.json --verbose
  cat event.json | mayfly invoke thumbnail --event -
  mayfly invoke thumbnail --event event.json --local     # needs no running node`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := g.eventBody(data, event)
			if err != nil {
				return err
			}
			fn, q, _ := strings.Cut(args[0], ":")
			if q == "" {
				q = qualifier
			}
			call := func(ctx context.Context) error { return g.invoke(ctx, fn, q, body, async, verbose) }
			if local {
				return g.withLocal(cmd.Context(), call)
			}
			return call(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&data, "data", "d", "", "the event, as JSON")
	f.StringVar(&event, "event", "", "a file with the event, - for standard input")
	f.StringVar(&qualifier, "qualifier", "", "an alias or a version number; default live")
	f.BoolVar(&async, "async", false, "hand the call over and print its id")
	f.BoolVarP(&verbose, "verbose", "v", false, "say how the time was spent")
	f.BoolVar(&local, "local", false, "run the app of this folder for this call, without a node; secrets come from the environment")
	cmd.MarkFlagsMutuallyExclusive("data", "event")
	cmd.MarkFlagsMutuallyExclusive("async", "local")
	return cmd
}

func (g *globals) eventBody(data, file string) ([]byte, error) {
	body := []byte(data)
	var err error
	switch file {
	case "":
	case "-":
		body, err = io.ReadAll(g.in)
	default:
		body, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the event cannot be read: %v", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(body) {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the event is not JSON; a text is written with quotes: -d '\"text\"'")
	}
	return body, nil
}

func (g *globals) invoke(ctx context.Context, fn, qualifier string, event []byte, async, verbose bool) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	app, err := g.appName(ctx, c)
	if err != nil {
		return err
	}
	q := url.Values{}
	if qualifier != "" {
		q.Set("qualifier", qualifier)
	}
	if async {
		q.Set("async", "true")
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/functions/" + url.PathEscape(fn) + "/invoke?" + q.Encode()
	res, err := c.Send(ctx, http.MethodPost, path, "application/json", bytes.NewReader(event))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if record := res.Header.Get("X-Mayfly-Invocation"); verbose && g.json {
		fmt.Fprintln(g.err, record)
	} else if verbose {
		printInvocation(g.err, record)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if g.json {
		return g.print(asJSON(body), nil)
	}
	_, err = g.out.Write(append(bytes.TrimRight(body, "\n"), '\n'))
	return err
}

// printInvocation tells a record in one line and one more per phase.
func printInvocation(w io.Writer, raw string) {
	var inv mayfly.Invocation
	if json.Unmarshal([]byte(raw), &inv) != nil {
		return
	}
	start := "warm"
	if inv.Cold {
		start = "cold"
	}
	fmt.Fprintf(w, "%s version %d, %s, %s, billed %s, memory peak %s of %s, isolation %s\n",
		inv.ID, inv.Version, start, inv.Outcome, inv.Billed, inv.MemoryPeak, inv.Memory, cmp.Or(inv.Isolation, "none: no instance ran"))
	for _, p := range inv.Phases {
		fmt.Fprintf(w, "  %-8s %8.3f ms\n", p.Name, float64(p.Duration)/float64(time.Millisecond))
	}
}
