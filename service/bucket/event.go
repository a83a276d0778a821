package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// intent is a write to a bucket that functions listen to, noted in a file
// before it begins. A nil intent belongs to a write of which nobody is told.
//
//	noted ──► (write) ──► told ──► file removed
//	   └ failed: file removed   └ not accepted: file says done, told again later
//
// After a crash what is in the file is compared with what is there.
type intent struct {
	d    *Driver
	file string

	Change service.ObjectChange `json:"change"`
	Folder string               `json:"folder"` // of the bucket on this node
	Before state                `json:"before"`
	Done   bool                 `json:"done"` // the write happened
	Hops   int                  `json:"hops"` // functions that its cause went through
}

// state is what tells one content of a key from another.
type state struct {
	Exists   bool   `json:"exists"`
	Modified int64  `json:"modified"` // Unix nanoseconds
	Size     int64  `json:"size"`
	ETag     string `json:"etag"`
}

// intend notes a write. It returns nil where no function listens to the bucket.
func (d *Driver) intend(ctx context.Context, who mayfly.Caller, p place, key, event string) (*intent, error) {
	if p.spec == nil || !p.spec.listened {
		return nil, nil
	}
	now := time.Now().UTC()
	i := &intent{d: d, Folder: p.spec.full(), Hops: p.hops, Before: d.stateOf(ctx, p.store, key), Change: service.ObjectChange{
		ID: fmt.Sprintf("s3-%016x-%s", now.UnixNano(), mayfly.NewID()[:8]), App: p.app, Bucket: p.bucket,
		Key: strings.Clone(key), Event: event, Time: now, Who: who,
	}}
	i.file = filepath.Join(d.intents, i.Change.ID)
	if err := i.note(); err != nil {
		return nil, fmt.Errorf("note a write to bucket %s: %w", p.bucket, err)
	}
	return i, nil
}

func (i *intent) note() error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	tmp := i.file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, i.file)
}

// drop forgets a write that failed.
func (i *intent) drop() {
	if i != nil {
		_ = os.Remove(i.file)
	}
}

// tell hands the event over. Where it is not accepted it stays in the file, and
// Run tries again.
func (i *intent) tell(ctx context.Context, m made) {
	if i == nil {
		return
	}
	created := strings.HasPrefix(i.Change.Event, "ObjectCreated")
	switch {
	case m.marker:
		i.Change.Event = "ObjectRemoved:DeleteMarkerCreated"
	case !created && !i.Before.Exists && m.version == "":
		i.drop() // there was nothing to remove
		return
	}
	after := i.d.stateOf(context.WithoutCancel(ctx), i.store(), i.Change.Key)
	i.Change.ETag, i.Change.Version = strings.Trim(strings.Clone(m.etag), `"`), strings.Clone(m.version)
	if created {
		i.Change.Size = after.Size
	}
	i.Done = true
	if err := i.d.cfg.Changed(mayfly.WithHops(ctx, i.Hops), i.Change); err != nil {
		i.d.cfg.Log.Warn("an object's event was not accepted; it is tried again", "bucket", i.Change.Bucket, "error", err)
		if err := i.note(); err != nil {
			i.d.cfg.Log.Error("an object's event is kept in memory only until it is read again", "error", err)
		}
		i.d.late.Store(true)
		return
	}
	i.drop()
}

func (i *intent) store() store { return i.d.storeOf(i.Change.App, i.Change.Bucket, i.Folder) }

// stateOf is what a key holds now.
func (d *Driver) stateOf(ctx context.Context, at store, key string) state {
	out, err := at.files.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.folder, Key: &key})
	if err != nil {
		return state{}
	}
	s := state{Exists: true, ETag: strings.Trim(strings.Clone(text(out.ETag)), `"`)}
	if out.ContentLength != nil {
		s.Size = *out.ContentLength
	}
	if out.LastModified != nil {
		s.Modified = out.LastModified.UnixNano()
	}
	return s
}

// reconcile tells of the writes that an earlier process noted and did not tell
// of, and of those that were not accepted. all: no write is under way, so that
// one which is not marked done can be judged by what is there.
func (d *Driver) reconcile(ctx context.Context, all bool) error {
	entries, err := os.ReadDir(d.intents)
	if err != nil {
		return fmt.Errorf("read noted writes: %w", err)
	}
	var problems []error
	failed := 0
	for _, e := range entries { // in the order of their time
		if failed == maxRefusals && !all {
			break
		}
		file := filepath.Join(d.intents, e.Name())
		if strings.HasSuffix(file, ".tmp") {
			if all {
				_ = os.Remove(file)
			}
			continue
		}
		if err := d.retell(ctx, file, all, failed < maxRefusals); err != nil && err != errLater {
			problems = append(problems, err)
			failed++
		}
	}
	return errors.Join(problems...)
}

// maxRefusals is how many events are told in vain before the others wait for the
// next time.
const maxRefusals = 16

// errLater is for an event that was not told because others were not accepted.
var errLater = errors.New("it is told later")

func (d *Driver) retell(ctx context.Context, file string, all, tell bool) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // told meanwhile
	}
	i := &intent{d: d, file: file}
	if err != nil || json.Unmarshal(data, i) != nil {
		d.cfg.Log.Error("a noted write cannot be read and is dropped", "file", file)
		i.drop()
		return nil
	}
	if !i.Done {
		if !all {
			return nil
		}
		if !d.happened(ctx, i) {
			i.drop()
			return nil
		}
		i.Done = true // only now can that be judged
		if err := i.note(); err != nil {
			return fmt.Errorf("note a write to bucket %s: %w", i.Change.Bucket, err)
		}
	}
	if !tell {
		return errLater
	}
	if err := d.cfg.Changed(mayfly.WithHops(ctx, i.Hops), i.Change); err != nil {
		return fmt.Errorf("tell of a write to bucket %s: %w", i.Change.Bucket, err)
	}
	i.drop()
	return nil
}

// happened judges a write of an earlier process by what is there, and fills the
// event.
func (d *Driver) happened(ctx context.Context, i *intent) bool {
	now := d.stateOf(ctx, i.store(), i.Change.Key)
	if strings.HasPrefix(i.Change.Event, "ObjectRemoved") {
		return i.Before.Exists && !now.Exists
	}
	i.Change.Size, i.Change.ETag = now.Size, now.ETag
	return now.Exists && now != i.Before
}
