package bucket

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/pkg/xattr"
	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// usage is how much a bucket holds that has a quota, or whose app has one: its
// objects and their old versions, counted when the quota is set, by every write
// since, and anew from time to time: of two writes to a key at once both take what
// was there for what they replace. Parts of unfinished uploads do not count.
type usage struct {
	mu      sync.Mutex
	used    int64 // guarded by mu
	open    int   // guarded by mu; writes under way
	changes int64 // guarded by mu; how often used changed
}

// count makes or keeps the usage of a bucket, and tells the app's quota of it.
func (d *Driver) count(s, was *spec) {
	if s.elsewhere() || s.quota == 0 && !d.cfg.Quotas.Bounds(s.app) {
		return
	}
	if was != nil && was.usage != nil {
		s.usage = was.usage
	} else {
		s.usage = &usage{used: d.measureAll(s)}
	}
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	d.cfg.Quotas.Set(s.app, service.KindBucket, s.name, s.usage.used)
}

func (d *Driver) measureAll(s *spec) int64 {
	_, bytes := measure(s.folder)
	_, old := measure(d.oldVersions(s.full()))
	return bytes + old
}

// recount measures a bucket that counts, and takes that over where nothing was
// written meanwhile.
func (d *Driver) recount(s *spec) {
	u := s.usage
	if u == nil {
		return
	}
	u.mu.Lock()
	before, quiet := u.changes, u.open == 0
	u.mu.Unlock()
	if !quiet {
		return
	}
	bytes := d.measureAll(s)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.changes == before {
		u.used = bytes
		d.cfg.Quotas.Set(s.app, service.KindBucket, s.name, bytes)
	}
}

// counts reports whether a bucket's writes count towards a quota.
func (p *place) counts() bool { return p.spec != nil && p.spec.usage != nil }

// reserve counts a write of size bytes to a key before it begins; release says
// whether it happened. A key of "" is one that nothing replaces.
func (d *Driver) reserve(p place, key string, size int64) (release func(done bool), err error) {
	if !p.counts() {
		return func(bool) {}, nil
	}
	grow := size
	if key != "" && !p.spec.versions {
		grow -= fileSize(p.folder, key)
	}
	u := p.spec.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if grow > 0 && p.spec.quota > 0 && u.used+grow > p.spec.quota {
		return nil, full("bucket " + p.bucket + " holds " + mayfly.Bytes(u.used).About() + " of its quota of " + mayfly.Bytes(p.spec.quota).String() + "; delete objects or raise the quota in the manifest")
	}
	if err := d.cfg.Quotas.Reserve(p.app, service.KindBucket, p.bucket, grow); err != nil {
		return nil, full(mayfly.MessageOf(err))
	}
	u.used += grow
	u.open++
	u.changes++
	return func(done bool) {
		u.mu.Lock()
		u.open--
		u.mu.Unlock()
		if !done {
			d.changed(p, -grow)
		}
	}, nil
}

func full(why string) error {
	return s3err.APIError{Code: "QuotaExceeded", HTTPStatusCode: http.StatusForbidden, Description: why}
}

// changed counts what a bucket holds more, or less.
func (d *Driver) changed(p place, bytes int64) {
	p.spec.usage.mu.Lock()
	defer p.spec.usage.mu.Unlock()
	p.spec.usage.used += bytes
	p.spec.usage.changes++
	d.cfg.Quotas.Add(p.app, service.KindBucket, p.bucket, bytes)
}

// deleting counts a delete: it is called before, and what it returns after it was
// done. Without a version it leaves a marker where versions are kept, and frees
// nothing.
func (d *Driver) deleting(ctx context.Context, p place, in *s3.DeleteObjectInput) (done func()) {
	switch {
	case !p.counts() || p.spec.versions && text(in.VersionId) == "":
		return func() {}
	case p.spec.versions:
		key, version := *in.Key, *in.VersionId
		head, err := p.files.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &p.folder, Key: &key, VersionId: &version})
		if err != nil || head.ContentLength == nil {
			return func() {}
		}
		size := *head.ContentLength
		return func() { d.changed(p, -size) }
	}
	key := strings.Clone(*in.Key)
	before := fileSize(p.folder, key)
	return func() { d.changed(p, fileSize(p.folder, key)-before) }
}

func fileSize(folder, key string) int64 {
	info, err := os.Stat(filepath.Join(folder, key))
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// marks reports whether a file is the marker of a delete. versitygw leaves in it
// what the object held, which a version holds as well.
func marks(file string) bool {
	_, err := xattr.Get(file, "user.delete-marker")
	return err == nil
}

// measure counts a folder's objects and their bytes.
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
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && !marks(path) {
			objects++
			bytes += info.Size()
		}
		return nil
	})
	return objects, bytes
}
