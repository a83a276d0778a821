package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/manifest"
)

func newSecretCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listSecrets(cmd, g) }
	cmd := &cobra.Command{Use: "secret", Short: "Secrets: set, reveal, rotate, scan", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The app's secrets, without their values", Args: cobra.NoArgs, RunE: list},
		newSecretSetCmd(g), newSecretRevealCmd(g), newSecretFinishCmd(g), newSecretDeleteCmd(g), newSecretScanCmd(g),
	)
	return cmd
}

func secretPath(name, part string) string { return "/secrets/" + url.PathEscape(name) + part }

func listSecrets(cmd *cobra.Command, g *globals) error {
	var out struct {
		Secrets []struct {
			Name     string `json:"name"`
			Current  int    `json:"current"`
			Pending  int    `json:"pending"`
			Versions []struct {
				Version int       `json:"version"`
				Created time.Time `json:"created"`
			} `json:"versions"`
		} `json:"secrets"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/secrets", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, s := range out.Secrets {
			row := []string{s.Name, strconv.Itoa(s.Current), "", ""}
			if s.Pending > 0 {
				row[2] = strconv.Itoa(s.Pending)
			}
			if n := len(s.Versions); n > 0 {
				row[3] = s.Versions[n-1].Created.Local().Format("2006-01-02 15:04")
			}
			rows = append(rows, row)
		}
		table(w, "NAME\tCURRENT\tPENDING\tCHANGED", rows)
	})
}

func newSecretSetCmd(g *globals) *cobra.Command {
	var pending bool
	var file string
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set a secret; the value comes from standard input or a prompt", Args: cobra.ExactArgs(1),
		Long: "Set a secret. The value is read from a prompt that does not show it, from a pipe, or from --file; never from the command line, where other users could see it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := readSecret(g, args[0], file)
			if err != nil {
				return err
			}
			in := map[string]string{"value": value}
			if pending {
				in["stage"] = "pending"
			}
			var out struct {
				Version int `json:"version"`
			}
			return g.appRaw(cmd.Context(), http.MethodPut, secretPath(args[0], ""), in, &out, func(w io.Writer) {
				fmt.Fprintf(w, "%s has version %d\n", args[0], out.Version)
			})
		},
	}
	cmd.Flags().BoolVar(&pending, "pending", false, "stage it: the current value stays until mayfly secret finish")
	cmd.Flags().StringVar(&file, "file", "", "read the value from a file")
	return cmd
}

// readSecret takes a value without showing it. A pipe's last line break is not
// part of it.
func readSecret(g *globals, name, file string) (string, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		return string(b), err
	}
	f, ok := g.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		b, err := io.ReadAll(io.LimitReader(g.in, 1<<20))
		return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), err
	}
	fmt.Fprintf(g.err, "value of %s: ", name)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(g.err)
	return string(b), err
}

func newSecretRevealCmd(g *globals) *cobra.Command {
	var version int
	var pending bool
	cmd := &cobra.Command{Use: "reveal NAME", Short: "Print a value; the access is recorded", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		q := url.Values{"version": {strconv.Itoa(version)}}
		if pending {
			q.Set("stage", "pending")
		}
		var out struct {
			Value string `json:"value"`
		}
		return g.appRaw(cmd.Context(), http.MethodGet, secretPath(args[0], "/value?"+q.Encode()), nil, &out, func(w io.Writer) { fmt.Fprintln(w, out.Value) })
	}}
	cmd.Flags().IntVar(&version, "version", 0, "an older one (default: the current)")
	cmd.Flags().BoolVar(&pending, "pending", false, "the staged one")
	return cmd
}

func newSecretFinishCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "finish NAME", Short: "Make the pending version current", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var out struct {
			Version int `json:"version"`
		}
		return g.appRaw(cmd.Context(), http.MethodPost, secretPath(args[0], "/finish"), nil, &out, func(w io.Writer) {
			fmt.Fprintf(w, "version %d is current\n", out.Version)
		})
	}}
}

func newSecretDeleteCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Short: "Delete a secret with all its versions", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return g.appSend(cmd.Context(), http.MethodDelete, secretPath(args[0], ""), nil, args[0]+" is deleted")
	}}
}

func newSecretScanCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "scan [DIR]", Short: "Look for credentials in files; fails where there are any", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			dir = args[0]
		}
		found, err := identity.Scan(os.DirFS(dir))
		if err != nil {
			return err
		}
		if found == nil {
			found = []identity.Leak{}
		}
		err = g.print(found, func(w io.Writer) {
			for _, l := range found {
				fmt.Fprintf(w, "%s: %s (%s)\n", l.Place(), l.What, l.Hint)
			}
		})
		if err == nil && len(found) > 0 {
			err = mayfly.Errorf(mayfly.Invalid, "", "%d credentials in %s; put them in secrets with: mayfly secret set NAME", len(found), dir)
		}
		return err
	}}
}

// refuseLeaks looks for credentials in the folders that would become bundles.
// What is wrong with the app itself is not said here.
func refuseLeaks(dir string) error {
	m, err := manifest.Load(dir)
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(m.Functions)) {
		source := filepath.Join(dir, m.Functions[name].Source)
		if info, err := os.Stat(source); err != nil || !info.IsDir() || seen[source] {
			continue
		}
		seen[source] = true
		found, err := identity.Scan(os.DirFS(source))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			l := found[0]
			return mayfly.Errorf(mayfly.Invalid, "", "%s looks like a credential (%s); put it in a secret with: mayfly secret set NAME. mayfly secret scan %s shows all there are, and --allow-leaks deploys nevertheless", filepath.Join(source, l.Place()), l.What, dir)
		}
	}
	return nil
}
