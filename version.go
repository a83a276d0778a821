package mayfly

import (
	"strconv"
	"time"
)

// Version is one immutable state of a function.
type Version struct {
	App      AppName      `json:"app"`
	Function FunctionName `json:"function"`
	Number   int          `json:"version"` // 1, 2, … per function
	Digest   string       `json:"digest"`  // of the bundle, "sha256:…"
	Size     Bytes        `json:"size"`    // of the bundle, unpacked
	Spec     Function     `json:"spec"`    // with defaults applied
	Created  time.Time    `json:"created"`
	Deploy   string       `json:"deploy"` // the deploy that made it
	Message  string       `json:"message,omitempty"`
}

// Ref names a version for people and for files: "app.function.3".
func (v *Version) Ref() string {
	return string(v.App) + "." + string(v.Function) + "." + strconv.Itoa(v.Number)
}

// Alias points callers at versions. Weight percent of the calls go to Canary,
// the rest to Version.
type Alias struct {
	Name     string `json:"name"`
	Version  int    `json:"version"`
	Canary   int    `json:"canary,omitempty"`
	Weight   int    `json:"weight,omitempty"`   // 1 to 99
	Previous int    `json:"previous,omitempty"` // what rollback returns to
}

// AliasLive is the alias that triggers and unqualified calls use.
const AliasLive = "live"

// Pick is the version for one call; roll is uniform in [0, 100).
func (a Alias) Pick(roll int) int {
	if a.Canary > 0 && roll < a.Weight {
		return a.Canary
	}
	return a.Version
}
