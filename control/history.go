package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
)

const snapshotsPrefix = "deploys."

func snapshotKey(app mayfly.AppName, id string) string {
	return snapshotsPrefix + string(app) + "." + id
}

// Snapshot is an app as one change of it left it. It is kept as long as the
// change is listed, compressed: a manifest of many functions is large and repeats
// itself.
type Snapshot struct {
	Deployment Deployment                          `json:"deployment"`
	Manifest   *mayfly.Manifest                    `json:"manifest"`
	Functions  map[mayfly.FunctionName]SnapshotRun `json:"functions"`
}

// SnapshotRun is what calls of a function reached.
type SnapshotRun struct {
	Version int    `json:"version"`
	Canary  int    `json:"canary,omitempty"`
	Weight  int    `json:"weight,omitempty"`
	Digest  string `json:"digest"` // of Version's bundle

	// Spec is that of Version where it is not the manifest's, as after a rollback
	// or a deploy that was held back.
	Spec *mayfly.Function `json:"spec,omitempty"`
}

// snapshot is the app as it is going to be; made are versions that it has not
// read yet.
func (a *App) snapshot(record Deployment, made []*mayfly.Version) *Snapshot {
	s := &Snapshot{Deployment: record, Manifest: a.Manifest, Functions: make(map[mayfly.FunctionName]SnapshotRun, len(a.Live))}
	fresh := map[string]*mayfly.Version{}
	for _, v := range made {
		fresh[v.Ref()] = v
	}
	for fn, alias := range a.Live {
		run := SnapshotRun{Version: alias.Version, Canary: alias.Canary, Weight: alias.Weight}
		v := a.versions[fn][alias.Version]
		if v == nil {
			v = fresh[(&mayfly.Version{App: a.Name, Function: fn, Number: alias.Version}).Ref()]
		}
		if v != nil {
			run.Digest = v.Digest
			if want := a.Manifest.Functions[fn]; want != nil && identity(&v.Spec, "") != identity(want, "") {
				run.Spec = &v.Spec
			}
		}
		s.Functions[fn] = run
	}
	return s
}

// remember writes what a change is going to leave. It comes before the change, so
// that none is listed without it.
func (c *Control) remember(ctx context.Context, s *Snapshot) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("remember deploy %s: %w", s.Deployment.ID, err)
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if _, err := c.cfg.Index.Put(ctx, snapshotKey(s.Manifest.App, s.Deployment.ID), out.Bytes(), 0); err != nil {
		return fmt.Errorf("remember deploy %s: %w", s.Deployment.ID, err)
	}
	return nil
}

// Snapshot is the app as the deployment with the id left it. Of one that is not
// kept it is a NotFound error.
func (c *Control) Snapshot(app mayfly.AppName, id string) (*Snapshot, error) {
	a, err := c.State().App(app)
	if err != nil {
		return nil, err
	}
	value, _, ok := c.cfg.Index.Get(snapshotKey(app, id))
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "read deploy", "nothing is kept of a deploy %q of app %s; the last %d are", id, a.Name, deploysKept)
	}
	z, err := zstd.NewReader(bytes.NewReader(value), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("read deploy %s: %w", id, err)
	}
	s := &Snapshot{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read deploy %s: %w", id, err)
	}
	return s, nil
}

// Changes are what differs between two deployments of an app, as a plan from the
// one to the other; from "" is the one before to, or nothing where to is the first.
func (c *Control) Changes(app mayfly.AppName, from, to string) (*Plan, error) {
	want, err := c.Snapshot(app, to)
	if err != nil {
		return nil, err
	}
	if from == "" {
		from = c.before(app, to)
	}
	var base *App
	old := &Snapshot{}
	if from != "" {
		if old, err = c.Snapshot(app, from); err != nil {
			return nil, err
		}
		base = old.app()
	}
	bundles := make(map[mayfly.FunctionName]artifact.Bundle, len(want.Functions))
	for fn, run := range want.Functions {
		bundles[fn] = artifact.Bundle{Digest: run.Digest}
	}
	p := compare(want.effective(), bundles, base)
	for i := range p.Functions {
		ch := &p.Functions[i]
		ch.Version, ch.To, ch.Bundle = false, want.Functions[ch.Function].Version, nil
	}
	p.addShares(old, want)
	return p, nil
}

// addShares says of which functions another share of the calls goes to a canary.
func (p *Plan) addShares(old, want *Snapshot) {
	for _, fn := range slices.Sorted(maps.Keys(want.Functions)) {
		was, is := old.Functions[fn], want.Functions[fn]
		if was.Version == 0 || (was.Canary == is.Canary && was.Weight == is.Weight) {
			continue
		}
		i, found := slices.BinarySearchFunc(p.Functions, fn, func(ch FunctionChange, fn mayfly.FunctionName) int { return cmp.Compare(ch.Function, fn) })
		if !found {
			p.Functions = slices.Insert(p.Functions, i, FunctionChange{Function: fn, Action: Change, From: was.Version, To: is.Version})
		}
		p.Functions[i].Fields = append(p.Functions[i].Fields, FieldChange{Field: "calls", Old: was.share(), New: is.share()})
	}
}

// share is where the calls of a function go, for people.
func (r SnapshotRun) share() string {
	if r.Canary == 0 {
		return fmt.Sprintf("all to version %d", r.Version)
	}
	return fmt.Sprintf("%d%% to version %d, the others to version %d", r.Weight, r.Canary, r.Version)
}

// before is the id of the change before one, "" where none is kept.
func (c *Control) before(app mayfly.AppName, id string) string {
	a, err := c.State().App(app)
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(a.Deploys, func(d Deployment) bool { return d.ID == id })
	if i < 0 || i+1 == len(a.Deploys) {
		return ""
	}
	older := a.Deploys[i+1].ID
	if _, _, kept := c.cfg.Index.Get(snapshotKey(app, older)); !kept {
		return ""
	}
	return older
}

// effective is the manifest with what really ran in the place of what was wanted.
func (s *Snapshot) effective() *mayfly.Manifest {
	m := *s.Manifest
	m.Functions = maps.Clone(m.Functions)
	for fn, run := range s.Functions {
		if run.Spec != nil && m.Functions[fn] != nil {
			spec := *run.Spec
			spec.On = m.Functions[fn].On
			m.Functions[fn] = &spec
		}
	}
	return &m
}

// app is the snapshot as a base of comparison.
func (s *Snapshot) app() *App {
	a := (*App)(nil).clone(s.Manifest.App)
	a.Manifest, a.versions = s.effective(), map[mayfly.FunctionName]map[int]*mayfly.Version{}
	for fn, run := range s.Functions {
		if a.Manifest.Functions[fn] == nil {
			continue
		}
		a.Live[fn] = mayfly.Alias{Name: mayfly.AliasLive, Version: run.Version}
		a.versions[fn] = map[int]*mayfly.Version{run.Version: {App: a.Name, Function: fn, Number: run.Version, Digest: run.Digest, Spec: *a.Manifest.Functions[fn]}}
	}
	return a
}

// Restore makes an app what a deployment had left: manifest, resources, triggers
// and the version of each function, all of it or nothing. What differs is started
// once before. Data stays as it is. A version that is gone is a Conflict error.
func (c *Control) Restore(ctx context.Context, app mayfly.AppName, id string) (Deployment, error) {
	s, err := c.Snapshot(app, id)
	if err != nil {
		return Deployment{}, err
	}
	record := c.deployment(mayfly.NewID()[:8], "restore", strings.TrimSpace("back to "+id+" "+s.Deployment.Message))
	a, err := c.change(ctx, app, record, func(a *App) error {
		if err := c.restore(ctx, a, s, &record); err != nil {
			return mayfly.Errorf(mayfly.CodeOf(err), "restore "+string(app), "%w", err)
		}
		return nil
	})
	if err == nil {
		return a.Deploys[0], nil
	}
	if undo := c.applyResources(context.WithoutCancel(ctx), ""); undo != nil {
		c.cfg.Log.Error("resources of an app that was not restored could not be set back", "app", app, "error", undo)
	}
	return Deployment{}, err
}

func (c *Control) restore(ctx context.Context, a *App, s *Snapshot, record *Deployment) error {
	var gone []string
	for fn, run := range s.Functions {
		if a.versions[fn][run.Version] == nil {
			gone = append(gone, fmt.Sprintf("%s %d", fn, run.Version))
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		return mayfly.Errorf(mayfly.Conflict, "", "there is no more version %s; deploy the source of then again", strings.Join(gone, ", "))
	}
	for fn, run := range s.Functions {
		was := a.Live[fn]
		if was.Version == run.Version && was.Canary == 0 {
			continue
		}
		a.Live[fn] = mayfly.Alias{Name: mayfly.AliasLive, Version: run.Version, Previous: was.Version}
		record.Versions[fn] = run.Version
	}
	a.Manifest = s.Manifest
	for fn := range a.Live {
		if a.Manifest.Functions[fn] == nil {
			delete(a.Live, fn)
			delete(a.Kept, fn)
		}
	}
	c.pend(a.Manifest)
	err := c.applyResources(ctx, a.Name)
	for fn, n := range record.Versions {
		if err == nil {
			err = c.startAgain(ctx, a, fn, n)
		}
	}
	return err
}

// forget removes the snapshots of changes that no app lists any more.
func (c *Control) forget(ctx context.Context, state *State) error {
	var dropped []string
	for e := range c.cfg.Index.List(snapshotsPrefix) {
		app, id, _ := strings.Cut(strings.TrimPrefix(e.Key, snapshotsPrefix), ".")
		a := state.apps[mayfly.AppName(app)]
		if a == nil || !slices.ContainsFunc(a.Deploys, func(d Deployment) bool { return d.ID == id }) {
			dropped = append(dropped, e.Key)
		}
	}
	for _, key := range dropped {
		if err := c.cfg.Index.Delete(ctx, key, 0); err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			return err
		}
	}
	return nil
}
