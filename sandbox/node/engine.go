package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// An engine is the machine's Node.
type engine struct {
	path    string // the executable itself, no shim
	version [2]int // major, minor
}

const probe = `process.stdout.write(JSON.stringify({path: process.execPath, version: process.versions.node.split(".").slice(0, 2).map(Number)}))`

// find returns the configured node or the first on PATH.
func find(ctx context.Context, configured string) (*engine, error) {
	missing := func(why string) error {
		return mayfly.Errorf(mayfly.Unavailable, "find Node", "JavaScript functions need Node.js 18 or newer as node; install it (https://nodejs.org) so that it is on PATH (%s)", why)
	}
	path := configured
	if path == "" {
		found, err := exec.LookPath("node")
		if err != nil {
			return nil, missing("there is no node on PATH")
		}
		path = found
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-e", probe)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")} // a shim needs both
	out, err := cmd.Output()
	if err != nil {
		return nil, missing(path + ": " + err.Error())
	}
	var said struct {
		Path    string
		Version [2]int
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return nil, missing(path + " is not Node")
	}
	if said.Version[0] < 18 {
		return nil, missing(path + " is older")
	}
	return &engine{path: said.Path, version: said.Version}, nil
}

func (e *engine) atLeast(major, minor int) bool {
	return e.version[0] > major || e.version[0] == major && e.version[1] >= minor
}

// flags make files run that say what they are by their content alone.
func (e *engine) flags() []string {
	flags := []string{"--no-warnings"}
	if e.version[0] == 20 && e.atLeast(20, 10) {
		flags = append(flags, "--experimental-detect-module") // the default from 22.7 on
	}
	if e.atLeast(22, 6) && !e.atLeast(22, 18) {
		flags = append(flags, "--experimental-strip-types") // the default later
	}
	return flags
}

// binds shows an installation outside the system's folders in cells.
func (e *engine) binds() []process.Bind {
	for _, known := range []string{"/usr/", "/bin/", "/lib/"} {
		if strings.HasPrefix(e.path, known) {
			return nil
		}
	}
	prefix := filepath.Dir(filepath.Dir(e.path))
	return []process.Bind{{Source: prefix, Target: prefix}}
}
