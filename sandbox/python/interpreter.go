package python

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// system is where distributions put Python. It comes before PATH, whose python3
// may be a shim that takes several times as long to start.
const system = "/usr/bin/python3"

// An interpreter is one python of this machine.
type interpreter struct {
	Path    string `json:"path"`   // the executable itself, no shim
	Prefix  string `json:"prefix"` // its installation
	Version [2]int `json:"version"`
}

func (p *interpreter) name() string { return fmt.Sprintf("%d.%d", p.Version[0], p.Version[1]) }

// binds shows the installation in cells, which have the system's folders only.
func (p *interpreter) binds() []process.Bind {
	for _, known := range []string{"/usr", "/lib", "/bin", "/opt/mayfly"} {
		if p.Prefix == known {
			return nil
		}
	}
	return []process.Bind{{Source: p.Prefix, Target: p.Prefix}}
}

const probe = `import json, sys
print(json.dumps({"path": getattr(sys, "_base_executable", None) or sys.executable, "prefix": sys.base_prefix, "version": sys.version_info[:2]}))`

// inspect asks the python at path what it is.
func inspect(ctx context.Context, path string) (*interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-E", "-s", "-c", probe)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")} // a shim needs both
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", path, err)
	}
	var p interpreter
	if err := json.Unmarshal(out, &p); err != nil {
		return nil, fmt.Errorf("%s is not a Python: %w", path, err)
	}
	if p.Version[0] != 3 || p.Version[1] < 8 {
		return nil, fmt.Errorf("%s is Python %s", path, p.name())
	}
	return &p, nil
}

// find returns the machine's python: the configured one, the system's, or the
// first on PATH.
func find(ctx context.Context, configured string) (*interpreter, error) {
	candidates := []string{configured}
	if configured == "" {
		candidates = []string{system}
		if path, err := exec.LookPath("python3"); err == nil && path != system {
			candidates = append(candidates, path)
		}
	}
	var reasons []string
	for _, path := range candidates {
		p, err := inspect(ctx, path)
		if err == nil {
			return p, nil
		}
		reasons = append(reasons, err.Error())
	}
	return nil, mayfly.Errorf(mayfly.Unavailable, "find Python",
		"Python functions need Python 3.8 or newer as python3; install it (Debian: apt-get install python3) so that it is on PATH (%s)", strings.Join(reasons, "; "))
}

// wanted is the version that a bundle's virtual environment was made for, ""
// where it has none: "3.12".
func wanted(bundle string) string {
	for _, venv := range []string{".venv", "venv"} {
		data, err := os.ReadFile(filepath.Join(bundle, venv, "pyvenv.cfg"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, "=")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			if key != "version" && key != "version_info" {
				continue
			}
			if parts := strings.SplitN(value, ".", 3); len(parts) >= 2 {
				return parts[0] + "." + parts[1]
			}
		}
	}
	return ""
}

// choose returns the interpreter for a bundle, given the machine's.
func choose(ctx context.Context, machine *interpreter, bundle string) (*interpreter, error) {
	want := wanted(bundle)
	if want == "" || want == machine.name() {
		return machine, nil
	}
	path, err := exec.LookPath("python" + want)
	if err == nil {
		var p *interpreter
		if p, err = inspect(ctx, path); err == nil {
			return p, nil
		}
	}
	return nil, &mayfly.FunctionError{
		Type:    mayfly.ErrorTypeImport,
		Message: fmt.Sprintf("the bundle's virtual environment was made for Python %s, and this machine has Python %s; install python%s, or make the environment anew", want, machine.name(), want),
	}
}
