package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newConsoleCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "console",
		Short: "Print a link that opens the console and signs in",
		Long: `Print a link that opens the console and signs in. It holds the node's token: what
follows its # stays in the browser, is sent to nobody, and is taken out of the
address at once. Do not pass the link on.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if c.Token == "" {
				return mayfly.Errorf(mayfly.Unauthorized, "", "the node's token is not known here; set MAYFLY_TOKEN, or give --token")
			}
			link := strings.TrimRight(c.Base, "/") + "/#token=" + url.QueryEscape(c.Token)
			return g.print(map[string]string{"url": link}, func(w io.Writer) { fmt.Fprintln(w, link) })
		},
	}
}
