package bucket

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-cloud/mayfly"
)

// usage is how much a bucket with a quota holds: its current objects, counted
// when the quota is set and by every write since. Old versions and parts of
// unfinished uploads do not count.
type usage struct {
	mu   sync.Mutex
	used int64 // guarded by mu
}

// reserve counts a write of size bytes to a key before it begins; release says
// whether it happened. A key of "" is one that nothing replaces.
func (d *Driver) reserve(p place, key string, size int64) (release func(done bool), err error) {
	if p.spec == nil || p.spec.quota == 0 {
		return func(bool) {}, nil
	}
	u := p.spec.usage
	var before int64
	if key != "" {
		before = d.sizeOf(p, key)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if grow := size - before; grow > 0 && u.used+grow > p.spec.quota {
		return nil, s3err.APIError{
			Code: "QuotaExceeded", HTTPStatusCode: http.StatusForbidden,
			Description: "bucket " + p.bucket + " holds " + mayfly.Bytes(u.used).String() + " of its quota of " + mayfly.Bytes(p.spec.quota).String() + "; delete objects or raise the quota in the manifest",
		}
	}
	u.used += size - before
	return func(done bool) {
		if !done {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.used -= size - before
		}
	}, nil
}

// sizeOf is the size of a key's current object, 0 where a bucket has no quota.
func (d *Driver) sizeOf(p place, key string) int64 {
	if p.spec == nil || p.spec.quota == 0 {
		return 0
	}
	return fileSize(p.folder, key)
}

func fileSize(folder, key string) int64 {
	info, err := os.Stat(filepath.Join(folder, key))
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// free counts a delete of an object that had size bytes.
func (d *Driver) free(p place, key string, size int64) {
	if p.spec == nil || p.spec.quota == 0 {
		return
	}
	left := fileSize(p.folder, key)
	p.spec.usage.mu.Lock()
	defer p.spec.usage.mu.Unlock()
	p.spec.usage.used -= size - left
}

// measure counts a bucket's current objects and their bytes.
func measure(folder string) (objects, bytes int64) {
	_ = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if e.IsDir() {
			if strings.HasPrefix(e.Name(), ".sgwtmp") {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			objects++
			bytes += info.Size()
		}
		return nil
	})
	return objects, bytes
}
