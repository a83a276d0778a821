package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/api/client"
)

func newKVCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listStores(cmd, g) }
	cmd := &cobra.Command{Use: "kv", Short: "Key-value stores: get, put, list, increment, watch", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(
		&cobra.Command{Use: "stores", Short: "The app's stores", Args: cobra.NoArgs, RunE: list},
		newKVListCmd(g), newKVGetCmd(g), newKVPutCmd(g), newKVDeleteCmd(g), newKVIncrementCmd(g), newKVWatchCmd(g),
	)
	return cmd
}

func listStores(cmd *cobra.Command, g *globals) error {
	var out struct {
		Stores []struct {
			Store string `json:"store"`
			Keys  int    `json:"keys"`
			Bytes int64  `json:"bytes"`
			TTL   string `json:"ttl"`
		} `json:"stores"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/kv", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, s := range out.Stores {
			rows = append(rows, []string{s.Store, strconv.Itoa(s.Keys), mayfly.Bytes(s.Bytes).About(), s.TTL})
		}
		table(w, "STORE\tKEYS\tSIZE\tTTL", rows)
	})
}

// keyPath is the path of a key below the app's.
func keyPath(store, part, key string) string {
	return "/kv/" + url.PathEscape(store) + "/" + part + "/" + url.PathEscape(key)
}

func newKVListCmd(g *globals) *cobra.Command {
	var prefix, after string
	var limit int
	cmd := &cobra.Command{Use: "list STORE", Short: "Keys in order", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var out struct {
			Keys []struct {
				Key         string     `json:"key"`
				Revision    uint64     `json:"revision"`
				Size        int64      `json:"size"`
				ContentType string     `json:"content_type"`
				Expires     *time.Time `json:"expires"`
			} `json:"keys"`
			Next string `json:"next"`
		}
		q := url.Values{"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(limit)}}
		return g.appRaw(cmd.Context(), http.MethodGet, "/kv/"+url.PathEscape(args[0])+"/keys?"+q.Encode(), nil, &out, func(w io.Writer) {
			var rows [][]string
			for _, k := range out.Keys {
				expires := "never"
				if k.Expires != nil {
					expires = "in " + time.Until(*k.Expires).Round(time.Second).String()
				}
				rows = append(rows, []string{k.Key, mayfly.Bytes(k.Size).About(), k.ContentType, strconv.FormatUint(k.Revision, 10), expires})
			}
			table(w, "KEY\tSIZE\tTYPE\tREVISION\tEXPIRES", rows)
			if out.Next != "" {
				fmt.Fprintf(w, "more: --after %q\n", out.Next)
			}
		})
	}}
	cmd.Flags().StringVar(&prefix, "prefix", "", "keys that begin with it")
	cmd.Flags().StringVar(&after, "after", "", "keys above this one")
	cmd.Flags().IntVar(&limit, "limit", 100, "most keys")
	return cmd
}

func newKVGetCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "get STORE KEY", Short: "A value, as it was put", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		var value []byte
		if err := g.appCall(cmd.Context(), http.MethodGet, keyPath(args[0], "keys", args[1]), nil, &value); err != nil {
			return err
		}
		if g.json {
			return g.print(asJSON(value), nil)
		}
		_, err := g.out.Write(value)
		if err == nil && onScreen(g.out) {
			fmt.Fprintln(g.out)
		}
		return err
	}}
}

// onScreen reports whether w is a screen rather than a file or a pipe.
func onScreen(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func newKVPutCmd(g *globals) *cobra.Command {
	var ttl, kind, file, revision string
	var create bool
	cmd := &cobra.Command{Use: "put STORE KEY [VALUE]", Short: "Put a value; from standard input without VALUE", Args: cobra.RangeArgs(2, 3), RunE: func(cmd *cobra.Command, args []string) error {
		body, err := valueArg(g, args[2:], file)
		if err != nil {
			return err
		}
		q := url.Values{}
		if ttl != "" {
			q.Set("ttl", ttl)
		}
		var out struct {
			Revision uint64 `json:"revision"`
		}
		if kind == "" && len(args) == 3 {
			kind = "text/plain; charset=utf-8"
			if string(jsonArg(args[2])) == args[2] {
				kind = "application/json"
			}
		}
		if err := g.sendKV(cmd.Context(), keyPath(args[0], "keys", args[1])+"?"+q.Encode(), kind, body, condition(revision, create), &out); err != nil {
			return err
		}
		return g.print(out, func(w io.Writer) { fmt.Fprintf(w, "revision %d\n", out.Revision) })
	}}
	f := cmd.Flags()
	f.StringVar(&ttl, "ttl", "", "how long it lives, such as 90s or 7d (default: the store's)")
	f.StringVar(&kind, "type", "", "content type (default: JSON or text where VALUE is given)")
	f.StringVar(&file, "file", "", "read the value from a file")
	f.StringVar(&revision, "if-revision", "", "only where the key has this revision")
	f.BoolVar(&create, "create", false, "only where the key is not there")
	return cmd
}

// condition is the header of a conditional write.
func condition(revision string, create bool) http.Header {
	h := http.Header{}
	if revision != "" {
		h.Set("If-Match", `"`+revision+`"`)
	}
	if create {
		h.Set("If-None-Match", "*")
	}
	return h
}

// valueArg is a value from an argument, a file, or standard input.
func valueArg(g *globals, args []string, file string) (io.Reader, error) {
	switch {
	case len(args) > 0 && file != "":
		return nil, usageError{fmt.Errorf("give the value or --file, not both")}
	case len(args) > 0:
		return strings.NewReader(args[0]), nil
	case file != "":
		b, err := os.ReadFile(file)
		return strings.NewReader(string(b)), err
	}
	b, err := io.ReadAll(io.LimitReader(g.in, 8<<20))
	return strings.NewReader(string(b)), err
}

// sendKV puts bytes with a type and conditions, which client.Do does not have.
func (g *globals) sendKV(ctx context.Context, path, kind string, body io.Reader, header http.Header, out any) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	app, err := g.appName(ctx, c)
	if err != nil {
		return err
	}
	with := *c
	with.HTTP = &http.Client{Transport: extraHeader{header, kind}}
	return with.Do(ctx, http.MethodPut, "/v1/apps/"+url.PathEscape(app)+path, body, out)
}

// extraHeader adds headers to each request.
type extraHeader struct {
	header http.Header
	kind   string
}

func (t extraHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name := range t.header {
		r.Header.Set(name, t.header.Get(name))
	}
	if t.kind != "" {
		r.Header.Set("Content-Type", t.kind)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func newKVDeleteCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "delete STORE KEY", Short: "Delete a key", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		var out struct {
			Found bool `json:"found"`
		}
		return g.appRaw(cmd.Context(), http.MethodDelete, keyPath(args[0], "keys", args[1]), nil, &out, func(w io.Writer) {
			if !out.Found {
				fmt.Fprintln(w, "there was no such key")
			}
		})
	}}
}

func newKVIncrementCmd(g *globals) *cobra.Command {
	var by int64
	cmd := &cobra.Command{Use: "increment STORE KEY", Aliases: []string{"incr"}, Short: "Add to a whole number", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		var out struct {
			Value int64 `json:"value"`
		}
		path := keyPath(args[0], "increment", args[1]) + "?by=" + strconv.FormatInt(by, 10)
		return g.appRaw(cmd.Context(), http.MethodPost, path, nil, &out, func(w io.Writer) { fmt.Fprintln(w, out.Value) })
	}}
	cmd.Flags().Int64Var(&by, "by", 1, "what to add")
	return cmd
}

func newKVWatchCmd(g *globals) *cobra.Command {
	var prefix string
	cmd := &cobra.Command{Use: "watch STORE", Short: "Writes as they happen", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		app, err := g.appName(cmd.Context(), c)
		if err != nil {
			return err
		}
		path := "/v1/apps/" + url.PathEscape(app) + "/kv/" + url.PathEscape(args[0]) + "/watch?prefix=" + url.QueryEscape(prefix)
		return watchLines(cmd.Context(), c, path, g.out)
	}}
	cmd.Flags().StringVar(&prefix, "prefix", "", "keys that begin with it")
	return cmd
}

func watchLines(ctx context.Context, c *client.Client, path string, out io.Writer) error {
	err := c.Lines(ctx, http.MethodGet, path, "", nil, func(line []byte) error {
		_, err := fmt.Fprintf(out, "%s\n", line)
		return err
	})
	if ctx.Err() != nil {
		return nil // the user ended it
	}
	return err
}
