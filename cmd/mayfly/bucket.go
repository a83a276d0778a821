package main

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newBucketCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listBuckets(cmd, g) }
	cmd := &cobra.Command{Use: "bucket", Short: "Buckets: list, copy, sync, remove, presign, S3 credentials and keys", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The app's buckets", Args: cobra.NoArgs, RunE: list},
		newBucketLsCmd(g), newBucketCpCmd(g), newBucketSyncCmd(g), newBucketRmCmd(g), newBucketPresignCmd(g), newBucketCredentialsCmd(g), newBucketKeyCmd(g),
	)
	return cmd
}

func listBuckets(cmd *cobra.Command, g *globals) error {
	var out struct {
		Buckets []struct {
			Bucket    string `json:"bucket"`
			Elsewhere bool   `json:"elsewhere"`
			S3        string `json:"s3_name"`
			Objects   int64  `json:"objects"`
			Bytes     int64  `json:"bytes"`
			Public    bool   `json:"public"`
			Website   string `json:"website"`
		} `json:"buckets"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/buckets", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, b := range out.Buckets {
			public := ""
			if b.Public {
				public = "public"
			}
			if b.Website != "" {
				public = strings.TrimSpace(public + " site at " + b.Website)
			}
			objects, size := strconv.FormatInt(b.Objects, 10), mayfly.Bytes(b.Bytes).About()
			if b.Elsewhere {
				objects, size = "", "elsewhere"
			}
			rows = append(rows, []string{b.Bucket, b.S3, objects, size, public})
		}
		table(w, "BUCKET\tS3 NAME\tOBJECTS\tSIZE\t", rows)
	})
}

// splitObject cuts BUCKET/KEY.
func splitObject(s string) (bucket, key string, err error) {
	bucket, key, _ = strings.Cut(s, "/")
	if bucket == "" {
		return "", "", usageError{fmt.Errorf("%q is not BUCKET/KEY", s)}
	}
	return bucket, key, nil
}

func newBucketLsCmd(g *globals) *cobra.Command {
	var after string
	cmd := &cobra.Command{Use: "ls BUCKET[/PREFIX]", Short: "Objects in order", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		bucket, prefix, err := splitObject(args[0])
		if err != nil {
			return err
		}
		var out struct {
			Objects []struct {
				Key      string    `json:"key"`
				Size     int64     `json:"size"`
				Modified time.Time `json:"modified"`
			} `json:"objects"`
			Next string `json:"next"`
		}
		q := url.Values{"prefix": {prefix}, "after": {after}}
		return g.appRaw(cmd.Context(), http.MethodGet, "/buckets/"+url.PathEscape(bucket)+"/objects?"+q.Encode(), nil, &out, func(w io.Writer) {
			var rows [][]string
			for _, o := range out.Objects {
				rows = append(rows, []string{o.Modified.Local().Format("2006-01-02 15:04:05"), mayfly.Bytes(o.Size).About(), o.Key})
			}
			table(w, "MODIFIED\tSIZE\tKEY", rows)
			if out.Next != "" {
				fmt.Fprintf(w, "more: --after %q\n", out.Next)
			}
		})
	}}
	cmd.Flags().StringVar(&after, "after", "", "where the page before ended")
	return cmd
}

// presigned is a URL for one request to an object.
func (g *globals) presigned(ctx context.Context, method, bucket, key, expires string) (string, error) {
	in := map[string]string{"method": method, "key": key}
	if expires != "" {
		in["expires"] = expires
	}
	var out struct {
		URL string `json:"url"`
	}
	err := g.appCall(ctx, http.MethodPost, "/buckets/"+url.PathEscape(bucket)+"/presign", in, &out)
	return out.URL, err
}

func newBucketPresignCmd(g *globals) *cobra.Command {
	var method, expires string
	cmd := &cobra.Command{Use: "presign BUCKET/KEY", Short: "A URL that works for a while, without credentials", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		bucket, key, err := splitObject(args[0])
		if err != nil {
			return err
		}
		link, err := g.presigned(cmd.Context(), strings.ToUpper(method), bucket, key, expires)
		if err != nil {
			return err
		}
		return g.print(map[string]string{"url": link}, func(w io.Writer) { fmt.Fprintln(w, link) })
	}}
	cmd.Flags().StringVar(&method, "method", "GET", "GET, HEAD, PUT or DELETE")
	cmd.Flags().StringVar(&expires, "expires", "", "how long, at most 7d (default 15m)")
	return cmd
}

func newBucketCpCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "cp FILE BUCKET/KEY | BUCKET/KEY FILE", Short: "Copy a file to or from a bucket; - is standard input or output", Args: cobra.ExactArgs(2),
		Long: "Copy a file to or from a bucket. The side that exists as a file, is \"-\", or begins with ./ or / is the file. A key that ends in / gets the file's name.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if isFile(args[0]) {
				return g.upload(cmd.Context(), args[0], args[1])
			}
			return g.download(cmd.Context(), args[0], args[1])
		},
	}
}

func isFile(s string) bool {
	if s == "-" || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || filepath.IsAbs(s) {
		return true
	}
	info, err := os.Stat(s)
	return err == nil && info.Mode().IsRegular()
}

func (g *globals) upload(ctx context.Context, file, object string) error {
	bucket, key, err := splitObject(object)
	if err != nil {
		return err
	}
	if key == "" || strings.HasSuffix(key, "/") {
		key += filepath.Base(file)
	}
	var body io.Reader = g.in
	size := int64(-1)
	if file == "-" { // S3 wants to know the size
		b, err := io.ReadAll(g.in)
		if err != nil {
			return err
		}
		body, size = strings.NewReader(string(b)), int64(len(b))
	} else {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		body, size = f, info.Size()
	}
	if err := g.put(ctx, bucket, key, body, size); err != nil {
		return err
	}
	return g.print(map[string]any{"bucket": bucket, "key": key, "size": size}, func(w io.Writer) {
		fmt.Fprintf(w, "%s/%s, %s\n", bucket, key, mayfly.Bytes(size).About())
	})
}

// put sends an object, with the content type that its name has.
func (g *globals) put(ctx context.Context, bucket, key string, body io.Reader, size int64) error {
	link, err := g.presigned(ctx, http.MethodPut, bucket, key, "")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, link, body)
	if err != nil {
		return err
	}
	if req.ContentLength = size; size == 0 {
		req.Body = http.NoBody
	}
	if kind := mime.TypeByExtension(path.Ext(key)); kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := s3Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// s3Do does a presigned request; an error has S3's message.
func s3Do(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode < 300 {
		return res, err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	message := res.Status
	if _, rest, ok := strings.Cut(string(body), "<Message>"); ok {
		message, _, _ = strings.Cut(rest, "</Message>")
	}
	code := mayfly.Internal
	switch res.StatusCode {
	case http.StatusNotFound:
		code = mayfly.NotFound
	case http.StatusForbidden:
		code = mayfly.Denied
	}
	return nil, mayfly.Errorf(code, "", "%s", message)
}

func (g *globals) download(ctx context.Context, object, file string) (err error) {
	bucket, key, err := splitObject(object)
	if err != nil {
		return err
	}
	link, err := g.presigned(ctx, http.MethodGet, bucket, key, "")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	res, err := s3Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if file == "-" {
		_, err := io.Copy(g.out, res.Body)
		return err
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, path.Base(key))
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, res.Body)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return g.print(map[string]any{"file": file, "size": n}, func(w io.Writer) { fmt.Fprintf(w, "%s, %s\n", file, mayfly.Bytes(n).About()) })
}

func newBucketRmCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "rm BUCKET/KEY", Short: "Remove an object", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		bucket, key, err := splitObject(args[0])
		if err != nil {
			return err
		}
		if key == "" {
			return usageError{fmt.Errorf("say which object: BUCKET/KEY")}
		}
		if err := g.remove(cmd.Context(), bucket, key); err != nil {
			return err
		}
		return g.sent(bucket + "/" + key + " is removed")
	}}
}

func (g *globals) remove(ctx context.Context, bucket, key string) error {
	return g.appCall(ctx, http.MethodDelete, "/buckets/"+url.PathEscape(bucket)+"/objects/"+url.PathEscape(key), nil, nil)
}

func newBucketCredentialsCmd(g *globals) *cobra.Command {
	return &cobra.Command{Use: "credentials", Short: "The administrator's S3 key, as variables for a shell", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		var out struct {
			Access   string `json:"access_key_id"`
			Secret   string `json:"secret_access_key"`
			Endpoint string `json:"endpoint"`
			Region   string `json:"region"`
		}
		if err := c.Do(cmd.Context(), http.MethodGet, "/v1/s3", nil, &out); err != nil {
			return err
		}
		return g.print(out, func(w io.Writer) {
			shellKey(w, out.Endpoint, out.Region, out.Access, out.Secret)
		})
	}}
}
