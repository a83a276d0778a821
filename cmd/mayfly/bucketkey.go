package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newBucketKeyCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listKeys(cmd, g) }
	cmd := &cobra.Command{
		Use: "key", Short: "S3 keys of people and tools: create, list, revoke", Args: cobra.NoArgs, RunE: list,
		Long: "S3 keys of people and tools, each for some of one app's buckets. Functions have their own and need none of these.",
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The app's keys", Args: cobra.NoArgs, RunE: list},
		newBucketKeyCreateCmd(g), newBucketKeyRevokeCmd(g),
	)
	return cmd
}

// issuedKey is a key as the API describes it.
type issuedKey struct {
	Name    string    `json:"name"`
	Access  string    `json:"access_key_id"`
	Allow   []string  `json:"allow"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

func listKeys(cmd *cobra.Command, g *globals) error {
	var out struct {
		Keys []issuedKey `json:"keys"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/s3-keys", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, k := range out.Keys {
			expires := "never"
			if !k.Expires.IsZero() {
				expires = k.Expires.Local().Format("2006-01-02 15:04")
			}
			rows = append(rows, []string{k.Name, k.Access, k.Created.Local().Format("2006-01-02 15:04"), expires, strings.Join(k.Allow, ", ")})
		}
		table(w, "NAME\tACCESS KEY\tCREATED\tEXPIRES\tALLOW", rows)
	})
}

func newBucketKeyCreateCmd(g *globals) *cobra.Command {
	var allow, read, write []string
	var expires string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key and print it, once, as variables for a shell", Args: cobra.ExactArgs(1),
		Long: `Make a key for a person or a tool and print it as variables for a shell. The secret
is told now and never again. With the key, buckets have their own names.`,
		Example: `  mayfly bucket key create ci --write site --expires 90d
  mayfly bucket key create ann --read uploads --allow "write bucket/inbox"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, bucket := range read {
				allow = append(allow, "list bucket/"+bucket, "read bucket/"+bucket)
			}
			for _, bucket := range write {
				allow = append(allow, "* bucket/"+bucket)
			}
			if len(allow) == 0 {
				return usageError{fmt.Errorf("say what the key may do: --read BUCKET, --write BUCKET or --allow LINE")}
			}
			in := map[string]any{"name": args[0], "allow": allow}
			if expires != "" {
				in["expires"] = expires
			}
			var out struct {
				issuedKey
				Secret   string `json:"secret_access_key"`
				Endpoint string `json:"endpoint"`
				Region   string `json:"region"`
			}
			return g.appRaw(cmd.Context(), http.MethodPost, "/s3-keys", in, &out, func(w io.Writer) {
				shellKey(w, out.Endpoint, out.Region, out.Access, out.Secret)
			})
		},
	}
	cmd.Flags().StringArrayVar(&read, "read", nil, "a bucket that the key may list and read; may be repeated")
	cmd.Flags().StringArrayVar(&write, "write", nil, "a bucket that the key may list, read, write and delete from; may be repeated")
	cmd.Flags().StringArrayVar(&allow, "allow", nil, "a line as in a function's allow; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "", "after which time the key does nothing, such as 90d (default: never)")
	return cmd
}

// shellKey prints what S3 tools read from their environment.
func shellKey(w io.Writer, endpoint, region, access, secret string) {
	fmt.Fprintf(w, "export AWS_ENDPOINT_URL_S3=%s\nexport AWS_REGION=%s\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", endpoint, region, access, secret)
}

func newBucketKeyRevokeCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "revoke NAME", Short: "End a key for good, and the URLs that it signed", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return g.appSend(cmd.Context(), http.MethodDelete, "/s3-keys/"+url.PathEscape(args[0]), nil, args[0]+" is revoked")
	}}
}
