package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// Quotas bounds what the buckets, key-value stores and SQLite databases of an app
// hold together, where its manifest has a quota. It counts nothing by itself:
//
//	driver ──► Set        what a resource holds, once it has counted that
//	       ──► Reserve    before a write whose growth it knows; it counts at once
//	       ──► Room       before a write whose growth it does not know
//
// Each is a look into a map. A nil *Quotas bounds nothing. It is safe for
// concurrent use.
type Quotas struct {
	mu   sync.Mutex
	apps map[mayfly.AppName]*share // guarded by mu; those with a quota
}

// share is what one app may hold and what its resources do.
type share struct {
	quota, held int64
	of          map[resource]int64
}

type resource struct{ kind, name string }

var _ Driver = (*Quotas)(nil)

// NewQuotas makes one without apps.
func NewQuotas() *Quotas { return &Quotas{apps: map[mayfly.AppName]*share{}} }

// Kind is the manifest's key.
func (q *Quotas) Kind() string { return "quota" }

// Check finds nothing: any size is a quota.
func (q *Quotas) Check(*mayfly.Manifest) error { return nil }

// Apply takes over the apps' quotas. What was counted of resources that are still
// declared stays; drivers count the others when they are applied, after this.
func (q *Quotas) Apply(_ context.Context, apps []*mayfly.Manifest) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := map[mayfly.AppName]*share{}
	for _, m := range apps {
		if m.Quota <= 0 {
			continue
		}
		s := &share{quota: int64(m.Quota), of: map[resource]int64{}}
		if old := q.apps[m.App]; old != nil {
			for r, bytes := range old.of {
				if declares(m, r) {
					s.of[r] = bytes
					s.held += bytes
				}
			}
		}
		next[m.App] = s
	}
	q.apps = next
	return nil
}

func declares(m *mayfly.Manifest, r resource) (yes bool) {
	switch r.kind {
	case KindBucket:
		_, yes = m.Buckets[r.name]
	case KindKV:
		_, yes = m.KV[r.name]
	case KindDatabase:
		_, yes = m.Databases[r.name]
	}
	return yes
}

// Run waits for ctx to end: there is nothing to do.
func (q *Quotas) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Bounds reports whether an app has a quota, so that what it holds is to be
// counted.
func (q *Quotas) Bounds(app mayfly.AppName) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.apps[app] != nil
}

// Set says what a resource holds. It is never refused.
func (q *Quotas) Set(app mayfly.AppName, kind, name string, bytes int64) {
	q.change(app, resource{kind, name}, func(int64) int64 { return bytes })
}

// Add says by how much what a resource holds has changed. It is never refused.
func (q *Quotas) Add(app mayfly.AppName, kind, name string, bytes int64) {
	q.change(app, resource{kind, name}, func(held int64) int64 { return held + bytes })
}

func (q *Quotas) change(app mayfly.AppName, r resource, to func(held int64) int64) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.apps[app]; s != nil {
		s.set(r, to(s.of[r]))
	}
}

func (s *share) set(r resource, bytes int64) {
	s.held += bytes - s.of[r]
	s.of[r] = bytes
}

// Reserve is Add of a write that has not begun. What grows beyond the app's quota
// is a Quota error, and nothing is counted; what shrinks is never refused.
func (q *Quotas) Reserve(app mayfly.AppName, kind, name string, bytes int64) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.apps[app]
	if s == nil {
		return nil
	}
	if bytes > 0 && s.held+bytes > s.quota {
		return s.full(app, mayfly.Bytes(bytes).About()+" more")
	}
	r := resource{kind, name}
	s.set(r, s.of[r]+bytes)
	return nil
}

// Room is how much more an app may hold, 0 or less where its quota is used up.
// bounded is false where it has none.
func (q *Quotas) Room(app mayfly.AppName) (bytes int64, bounded bool) {
	if q == nil {
		return 0, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.apps[app]
	if s == nil {
		return 0, false
	}
	return s.quota - s.held, true
}

// Full is the error of a write of so many bytes that an app's quota has no room
// for; nil where it has.
func (q *Quotas) Full(app mayfly.AppName, bytes int64) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.apps[app]; s != nil && s.held+bytes > s.quota {
		return s.full(app, mayfly.Bytes(bytes).About()+" more")
	}
	return nil
}

// Refusal is the error of a write that took more than Room; nil where the app has
// no quota any more.
func (q *Quotas) Refusal(app mayfly.AppName) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.apps[app]; s != nil {
		return s.full(app, "what this write takes")
	}
	return nil
}

// most is how many resources an error names.
const most = 3

// full says what holds how much, and how to mend it.
func (s *share) full(app mayfly.AppName, wanted string) error {
	held := make([]resource, 0, len(s.of))
	for r, bytes := range s.of {
		if bytes > 0 {
			held = append(held, r)
		}
	}
	slices.SortFunc(held, func(a, b resource) int {
		return cmp.Or(cmp.Compare(s.of[b], s.of[a]), strings.Compare(a.kind+a.name, b.kind+b.name))
	})
	var by []string
	for _, r := range held[:min(len(held), most)] {
		by = append(by, fmt.Sprintf("%s/%s %s", r.kind, r.name, mayfly.Bytes(s.of[r]).About()))
	}
	where := ""
	if len(by) > 0 {
		where = " (" + strings.Join(by, ", ") + ")"
	}
	return mayfly.Errorf(mayfly.Quota, "write", "app %s holds %s of its quota of %s%s, which leaves no room for %s; delete some of it, or raise quota: in the manifest",
		app, mayfly.Bytes(s.held).About(), mayfly.Bytes(s.quota), where, wanted)
}
