package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
)

// version is set by the linker in releases.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	g := &globals{in: stdin, out: stdout, err: stderr}
	root := newRootCmd(g)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var code exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "mayfly: interrupted")
		return 130 // as shells say of Ctrl-C
	case !g.began, errors.As(err, new(usageError)):
		g.json = g.json || slices.Contains(args, "--json") // flags after a wrong one are not read
		err = &mayfly.Error{Code: mayfly.Invalid, Message: err.Error()}
	}
	g.fail(err)
	return mayfly.CodeOf(err).ExitStatus()
}

// exitStatus ends a verb with a status and nothing to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a verb used wrongly.
type usageError struct{ error }

// globals is what every verb shares.
type globals struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	api      string
	token    string
	app      string
	began    bool // a verb runs: its flags and arguments are in order
}

func newRootCmd(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:           "mayfly",
		Short:         "A serverless cloud in one binary",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.BoolVar(&g.json, "json", false, "print JSON")
	f.StringVar(&g.api, "api-url", "", "the node's API (default: MAYFLY_API, else the profile that dev or serve left)")
	f.StringVar(&g.token, "token", "", "the node's token (default: MAYFLY_TOKEN, else the profile)")
	f.StringVar(&g.app, "app", "", "the application (default: the one of ./mayfly.yaml, else the only one deployed)")
	for _, part := range verbs(g) {
		root.AddGroup(&cobra.Group{ID: part.id, Title: part.title})
		for _, cmd := range part.verbs {
			cmd.GroupID = part.id
			root.AddCommand(cmd)
		}
	}
	root.Args = func(cmd *cobra.Command, args []string) error { return unknownVerb(cmd, args) }
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	explain(g, root)
	return root
}

// unknownVerb refuses what is not a verb, and names the nearest.
func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no verb %q; mayfly --help lists them", args[0])
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		text = fmt.Sprintf("there is no verb %q; did you mean mayfly %s?", args[0], strings.Join(near, " or mayfly "))
	}
	return usageError{errors.New(text)}
}

// explain makes wrong arguments of every verb an error that shows its use, and
// notes when a verb begins.
func explain(g *globals, cmd *cobra.Command) {
	if check := cmd.Args; check != nil && cmd.HasParent() {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			return usageError{fmt.Errorf("%s; use: %s", misused(cmd, args), cmd.UseLine())}
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			g.began = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		explain(g, sub)
	}
}

func misused(cmd *cobra.Command, args []string) string {
	switch {
	case len(args) == 0:
		return "something is missing"
	case cmd.HasSubCommands() && !strings.Contains(cmd.Use, "["):
		return fmt.Sprintf("%s has no %q", cmd.CommandPath(), args[0])
	}
	return fmt.Sprintf("%q does not fit", strings.Join(args, " "))
}

// client is the client of the node that the flags, the environment or the
// profile name, in this order.
func (g *globals) client() (*client.Client, error) {
	p := findProfile()
	base := cmp.Or(g.api, os.Getenv("MAYFLY_API"), p.API)
	if base == "" {
		return nil, mayfly.Errorf(mayfly.Unavailable, "", "no node is known here; start one with mayfly dev or mayfly serve, or set MAYFLY_API and MAYFLY_TOKEN")
	}
	return &client.Client{Base: base, Token: cmp.Or(g.token, os.Getenv("MAYFLY_TOKEN"), p.Token)}, nil
}

// print writes v as JSON with --json, else calls human.
func (g *globals) print(v any, human func(w io.Writer)) error {
	if !g.json {
		human(g.out)
		return nil
	}
	enc := json.NewEncoder(g.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// asJSON is bytes as they are where they are JSON, else as a text, and what is no
// text in base64.
func asJSON(b []byte) any {
	switch {
	case json.Valid(b):
		return json.RawMessage(b)
	case utf8.Valid(b):
		return string(b)
	}
	return map[string][]byte{"base64": b}
}

// fail says what went wrong on standard error.
func (g *globals) fail(err error) {
	if g.json {
		_ = json.NewEncoder(g.err).Encode(mayfly.ProblemOf(err, true))
		return
	}
	var f *mayfly.FunctionError
	if errors.As(err, &f) && !errors.As(err, new(*mayfly.Error)) {
		fmt.Fprintln(g.err, f.Error())
		for _, line := range f.Trace {
			fmt.Fprintln(g.err, "  "+line)
		}
		return
	}
	fmt.Fprintln(g.err, "mayfly:", describe(err))
}

// describe is an error for whoever sits at the terminal, who may see causes.
func describe(err error) string {
	if mayfly.CodeOf(err) == mayfly.Internal {
		return err.Error()
	}
	return mayfly.MessageOf(err)
}
