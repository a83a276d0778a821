package bucket

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/mayfly-cloud/mayfly"
)

// Local gives the declared buckets whose objects are on this node.
func (d *Driver) Local(use func(app mayfly.AppName, bucket string)) {
	for _, s := range *d.specs.Load() {
		if !s.elsewhere() {
			use(s.app, s.name)
		}
	}
}

// Held counts the bytes of a bucket of this node: objects, old versions, and
// parts of uploads under way. It goes through all files, which takes seconds
// where there are a million.
func (d *Driver) Held(ctx context.Context, app mayfly.AppName, bucket string) (bytes int64, err error) {
	name := string(app) + "." + bucket
	for _, folder := range []string{filepath.Join(d.folders, name), d.oldVersions(name)} {
		_ = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // removed meanwhile, or no versions were ever kept
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				bytes += info.Size()
			}
			return ctx.Err()
		})
	}
	return bytes, ctx.Err()
}

// oldVersions is where versitygw keeps the old versions of a bucket's objects.
func (d *Driver) oldVersions(bucket string) string {
	return filepath.Join(filepath.Dir(d.folders), "versions", "data", bucket)
}
