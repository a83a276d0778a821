package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newSQLRestartCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "restart DATABASE", Short: "Tell of PostgreSQL's changes from now on, after some were lost", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return g.appRaw(cmd.Context(), http.MethodPost, "/databases/"+url.PathEscape(args[0])+"/changes/restart", nil, nil, func(w io.Writer) {
			fmt.Fprintf(w, "events of database %s begin with what is committed from now on\n", args[0])
		})
	}}
}

func newSQLBackupCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "backup DATABASE FILE", Short: "A consistent copy of a database, while it is in use", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		return saveDatabase(cmd.Context(), g, args[0], "", args[1])
	}}
}

// saveDatabase writes a database to a file, as it is or as it was: query says
// when.
func saveDatabase(ctx context.Context, g *globals, database, query, file string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	app, err := g.appName(ctx, c)
	if err != nil {
		return err
	}
	res, err := c.Send(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(app)+"/databases/"+url.PathEscape(database)+"/backup"+query, "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, res.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return g.print(map[string]any{"file": file, "size": n}, func(w io.Writer) { fmt.Fprintf(w, "%s, %s\n", file, mayfly.Bytes(n).About()) })
}

func newSQLRestoreCmd(g *globals) *cobra.Command {
	var at, to string
	cmd := &cobra.Command{
		Use: "restore DATABASE --at TIME", Short: "Make an SQLite database what it was at a time, of its copies", Args: cobra.ExactArgs(1),
		Long: "Makes an SQLite database what it was at a time, while it is in use. What it is now stays in the copies too. With --to it is left as it is, and what it was becomes a file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			when, err := mayfly.ParseTime(at, time.Now())
			if err != nil {
				return err
			}
			if when.IsZero() {
				return usageError{errors.New("--at is empty; say a time, or how long ago: 10m")}
			}
			if to != "" {
				return saveDatabase(cmd.Context(), g, args[0], "?at="+url.QueryEscape(when.Format(time.RFC3339Nano)), to)
			}
			body := map[string]time.Time{"at": when}
			return g.appRaw(cmd.Context(), http.MethodPost, "/databases/"+url.PathEscape(args[0])+"/restore", body, nil, func(w io.Writer) {
				fmt.Fprintf(w, "database %s is what it was at %s\n", args[0], when.Local().Format(time.RFC3339))
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the time, as 2026-01-31T12:00:00Z, or how long ago, as 10m")
	cmd.Flags().StringVar(&to, "to", "", "write what it was to this file instead")
	_ = cmd.MarkFlagRequired("at")
	return cmd
}
