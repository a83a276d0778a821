package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/manifest"
)

const (
	appsPrefix     = "apps."
	versionsPrefix = "versions."
)

func appKey(app mayfly.AppName) string { return appsPrefix + string(app) }

func versionKey(app mayfly.AppName, fn mayfly.FunctionName, n int) string {
	return fmt.Sprintf("%s%s.%s.%d", versionsPrefix, app, fn, n)
}

// App is one application as it is live: the value of its key in the index,
// whose one write makes a deploy atomic.
type App struct {
	Name     mayfly.AppName                       `json:"name"`
	Manifest *mayfly.Manifest                     `json:"manifest"` // with defaults applied
	Live     map[mayfly.FunctionName]mayfly.Alias `json:"live"`     // of each function of the manifest

	// Latest is the highest version number that a function ever had. It outlives
	// the function and the app, so that a number never means two things.
	Latest  map[mayfly.FunctionName]int   `json:"latest"`
	Kept    map[mayfly.FunctionName][]int `json:"versions"`          // the versions that there are, ascending
	Deploys []Deployment                  `json:"deploys,omitempty"` // the newest first, at most deploysKept
	Removed bool                          `json:"removed,omitempty"`

	revision uint64
	versions map[mayfly.FunctionName]map[int]*mayfly.Version
}

const deploysKept = 20

// Deployment records one change of an app.
type Deployment struct {
	ID       string                      `json:"id"`
	At       time.Time                   `json:"at"`
	By       string                      `json:"by"`
	Action   string                      `json:"action"` // deploy, promote, rollback, restore
	Message  string                      `json:"message,omitempty"`
	Versions map[mayfly.FunctionName]int `json:"versions,omitempty"` // that it made or turned to
}

// State is every app at one moment. It never changes once made.
type State struct {
	apps map[mayfly.AppName]*App
}

// Apps are the live apps by name.
func (s *State) Apps() []*App {
	var out []*App
	for _, name := range slices.Sorted(maps.Keys(s.apps)) {
		if !s.apps[name].Removed {
			out = append(out, s.apps[name])
		}
	}
	return out
}

// App is one live app. A NotFound error names the nearest.
func (s *State) App(name mayfly.AppName) (*App, error) {
	if a, ok := s.apps[name]; ok && !a.Removed {
		return a, nil
	}
	var names []string
	for _, a := range s.Apps() {
		names = append(names, string(a.Name))
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "", "there is no app %q%s", name, nearest(string(name), names))
}

// nearest is a hint for a NotFound message.
func nearest(name string, all []string) string {
	if near := manifest.Nearest(name, all); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(all) == 0 {
		return "; nothing is deployed: mayfly deploy DIR"
	}
	slices.Sort(all)
	if len(all) > 10 {
		all = append(all[:10:10], "…")
	}
	return "; there is " + strings.Join(all, ", ")
}

// Manifests are the live apps' manifests.
func (s *State) Manifests() []*mayfly.Manifest {
	var out []*mayfly.Manifest
	for _, a := range s.Apps() {
		out = append(out, a.Manifest)
	}
	return out
}

// Live are the versions that aliases point at: what unqualified calls reach.
func (s *State) Live() []*mayfly.Version {
	var out []*mayfly.Version
	for _, a := range s.Apps() {
		for _, fn := range slices.Sorted(maps.Keys(a.Live)) {
			for _, n := range []int{a.Live[fn].Version, a.Live[fn].Canary} {
				if v := a.versions[fn][n]; v != nil {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// Version resolves what a call names: qualifier is "" or "live" (roll, uniform
// in [0, 100), decides between the two of a canary), "$LATEST" (the newest) or
// a version number. NotFound errors name what is near.
func (s *State) Version(app mayfly.AppName, fn mayfly.FunctionName, qualifier string, roll int) (*mayfly.Version, error) {
	a, err := s.App(app)
	if err != nil {
		return nil, err
	}
	alias, err := a.alias(fn)
	if err != nil {
		return nil, err
	}
	number := 0
	switch qualifier {
	case "", mayfly.AliasLive:
		number = alias.Pick(roll)
	case "$LATEST":
		number = a.Latest[fn]
	default:
		if number, err = strconv.Atoi(qualifier); err != nil {
			return nil, mayfly.Errorf(mayfly.NotFound, "", "function %s/%s has no alias %q; there is %s, and version numbers", app, fn, qualifier, mayfly.AliasLive)
		}
	}
	return a.version(fn, number)
}

func (a *App) alias(fn mayfly.FunctionName) (mayfly.Alias, error) {
	if alias, ok := a.Live[fn]; ok {
		return alias, nil
	}
	var names []string
	for name := range a.Live {
		names = append(names, string(name))
	}
	if len(names) == 0 {
		return mayfly.Alias{}, mayfly.Errorf(mayfly.NotFound, "", "app %s has no functions", a.Name)
	}
	return mayfly.Alias{}, mayfly.Errorf(mayfly.NotFound, "", "there is no function %q in app %s%s", fn, a.Name, nearest(string(fn), names))
}

func (a *App) version(fn mayfly.FunctionName, n int) (*mayfly.Version, error) {
	if v := a.versions[fn][n]; v != nil {
		return v, nil
	}
	var have []string
	for _, n := range slices.Sorted(maps.Keys(a.versions[fn])) {
		have = append(have, strconv.Itoa(n))
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "", "function %s/%s has no version %d; it has %s", a.Name, fn, n, strings.Join(have, ", "))
}

// VersionInfo is a version and who uses it.
type VersionInfo struct {
	*mayfly.Version
	Live     bool `json:"live"`               // calls reach it
	Percent  int  `json:"percent,omitempty"`  // of the unqualified calls
	Previous bool `json:"previous,omitempty"` // what rollback returns to
}

// Versions are a function's versions, the newest first.
func (s *State) Versions(app mayfly.AppName, fn mayfly.FunctionName) ([]VersionInfo, error) {
	a, err := s.App(app)
	if err != nil {
		return nil, err
	}
	alias, err := a.alias(fn)
	if err != nil {
		return nil, err
	}
	numbers := slices.Sorted(maps.Keys(a.versions[fn]))
	slices.Reverse(numbers)
	var out []VersionInfo
	for _, n := range numbers {
		info := VersionInfo{Version: a.versions[fn][n], Previous: n == alias.Previous}
		switch {
		case alias.Canary > 0 && n == alias.Canary:
			info.Percent = alias.Weight
		case n == alias.Version && alias.Canary > 0:
			info.Percent = 100 - alias.Weight
		case n == alias.Version:
			info.Percent = 100
		}
		info.Live = info.Percent > 0
		out = append(out, info)
	}
	return out, nil
}

// reload takes an app's value from the index into a new state. Versions are
// written before the app that refers to them, so they are there.
func (c *Control) reload(key string) error {
	c.rebuild.Lock()
	defer c.rebuild.Unlock()
	old := c.State()
	name := mayfly.AppName(strings.TrimPrefix(key, appsPrefix))
	next := &State{apps: maps.Clone(old.apps)}
	value, rev, ok := c.cfg.Index.Get(key)
	if !ok {
		delete(next.apps, name)
	} else {
		a := &App{}
		if err := json.Unmarshal(value, a); err != nil {
			c.cfg.Log.Error("an app's record is damaged; the one before stays in force", "app", name, "error", err)
			return fmt.Errorf("the record of app %s is damaged: %w", name, err)
		}
		a.revision = rev
		a.versions = c.readVersions(a, old.apps[name])
		next.apps[name] = a
	}
	c.state.Store(next)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

// readVersions are the records of the versions that an app has. Others in the
// index are what an interrupted deploy left. A version never changes, so that
// those which were known before need not be read.
func (c *Control) readVersions(a, before *App) map[mayfly.FunctionName]map[int]*mayfly.Version {
	out := make(map[mayfly.FunctionName]map[int]*mayfly.Version, len(a.Kept))
	for fn, numbers := range a.Kept {
		out[fn] = make(map[int]*mayfly.Version, len(numbers))
		for _, n := range numbers {
			if before != nil && before.versions[fn][n] != nil {
				out[fn][n] = before.versions[fn][n]
				continue
			}
			value, _, _ := c.cfg.Index.Get(versionKey(a.Name, fn, n))
			v, ok := readVersion(value)
			if !ok {
				c.cfg.Log.Error("a version's record is missing or damaged", "app", a.Name, "function", fn, "version", n)
				continue
			}
			out[fn][n] = v
		}
	}
	return out
}

func readVersion(value []byte) (*mayfly.Version, bool) {
	v := &mayfly.Version{}
	err := json.Unmarshal(value, v)
	return v, err == nil && v.Number > 0
}
