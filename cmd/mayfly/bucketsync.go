package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// puts is how many objects are sent at once.
const puts = 4

func newBucketSyncCmd(g *globals) *cobra.Command {
	var remove, dry bool
	cmd := &cobra.Command{
		Use: "sync DIR BUCKET[/PREFIX]", Short: "Put the files of a folder that differ from a bucket's objects", Args: cobra.ExactArgs(2),
		Long: `Put the files of a folder that differ from a bucket's objects, with content types by
their names. Pages (.html) go after everything that they may refer to, and what --delete
removes goes after them, so that a website is whole meanwhile.`,
		Example: "  mayfly bucket sync ./public site --delete",
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, prefix, err := splitObject(args[1])
			if err != nil {
				return err
			}
			if prefix != "" {
				prefix = strings.TrimSuffix(prefix, "/") + "/"
			}
			s := &syncing{g: g, dir: args[0], bucket: bucket, prefix: prefix}
			if err := s.compare(cmd.Context()); err != nil {
				return err
			}
			if !remove {
				s.Removed = []string{}
			}
			if !dry {
				if err := s.run(cmd.Context()); err != nil {
					return err
				}
			}
			return g.print(s, s.write)
		},
	}
	cmd.Flags().BoolVar(&remove, "delete", false, "remove the objects that the folder has no file for")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be put and removed, and do nothing")
	return cmd
}

// syncing is a folder that is compared with a bucket.
type syncing struct {
	g                   *globals
	dir, bucket, prefix string

	Put     []string `json:"put"` // keys, in the order in which they are put
	Removed []string `json:"removed"`
	Same    int      `json:"same"`

	files map[string]string // by key
}

// compare finds what differs, by size and MD5, which is the ETag of what was put
// in one piece.
func (s *syncing) compare(ctx context.Context) error {
	there, err := s.objects(ctx)
	if err != nil {
		return err
	}
	if err := s.walk(); err != nil {
		return err
	}
	s.Put, s.Removed = []string{}, []string{}
	for _, key := range slices.Sorted(maps.Keys(s.files)) {
		same, err := isObject(s.files[key], there[key])
		switch {
		case err != nil:
			return err
		case same:
			s.Same++
		default:
			s.Put = append(s.Put, key)
		}
	}
	slices.SortStableFunc(s.Put, func(a, b string) int { return order(a) - order(b) })
	for _, key := range slices.Sorted(maps.Keys(there)) {
		if s.files[key] == "" {
			s.Removed = append(s.Removed, key)
		}
	}
	return nil
}

// order puts pages behind what they may refer to.
func order(key string) int {
	if ext := path.Ext(key); ext == ".html" || ext == ".htm" {
		return 1
	}
	return 0
}

// object is what a bucket says of a key.
type object struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	ETag string `json:"etag"`
}

func (s *syncing) objects(ctx context.Context) (map[string]object, error) {
	all := map[string]object{}
	after := ""
	for {
		var page struct {
			Objects []object `json:"objects"`
			Next    string   `json:"next"`
		}
		q := url.Values{"prefix": {s.prefix}, "after": {after}}
		if err := s.g.appCall(ctx, http.MethodGet, "/buckets/"+url.PathEscape(s.bucket)+"/objects?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			all[o.Key] = o
		}
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

func (s *syncing) walk() error {
	s.files = map[string]string{}
	return filepath.WalkDir(s.dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(file) // of what a link leads to
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(s.dir, file)
		s.files[s.prefix+filepath.ToSlash(rel)] = file
		return err
	})
}

// isObject reports whether a file is what an object holds.
func isObject(file string, o object) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != o.Size || o.ETag == "" {
		return false, err
	}
	sum := md5.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == o.ETag, nil
}

// run puts, then removes. Pages wait for the rest.
func (s *syncing) run(ctx context.Context) error {
	first := slices.IndexFunc(s.Put, func(key string) bool { return order(key) > 0 })
	if first < 0 {
		first = len(s.Put)
	}
	for _, step := range []struct {
		keys []string
		do   func(context.Context, string) error
	}{{s.Put[:first], s.put}, {s.Put[first:], s.put}, {s.Removed, func(ctx context.Context, key string) error { return s.g.remove(ctx, s.bucket, key) }}} {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(puts)
		for _, key := range step.keys {
			group.Go(func() error {
				if err := step.do(ctx, key); err != nil {
					return fmt.Errorf("%s/%s: %w", s.bucket, key, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncing) put(ctx context.Context, key string) error {
	f, err := os.Open(s.files[key])
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.g.put(ctx, s.bucket, key, f, info.Size())
}

func (s *syncing) write(w io.Writer) {
	for _, key := range s.Put {
		fmt.Fprintf(w, "+ %s\n", key)
	}
	for _, key := range s.Removed {
		fmt.Fprintf(w, "- %s\n", key)
	}
	fmt.Fprintf(w, "%d put, %d removed, %d the same\n", len(s.Put), len(s.Removed), s.Same)
}
