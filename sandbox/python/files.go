package python

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed worker/start.py worker/mayfly_worker/*.py worker/mayfly/*.py
var worker embed.FS

// insideDir is where cells see the worker's files.
const insideDir = "/opt/mayfly/python"

// digest names the embedded files and the interpreter that compiled them.
func digest(version string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, version)
	err := fs.WalkDir(worker, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := worker.ReadFile(path)
		fmt.Fprintln(h, path, len(data))
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// writeOut puts the worker's files into a folder below dir, compiled, and
// returns it. A folder that is complete is left as it is.
func writeOut(ctx context.Context, dir string, p *interpreter) (string, error) {
	name, err := digest(p.name())
	if err != nil {
		return "", err
	}
	final := filepath.Join(dir, "python-"+p.name()+"-"+name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	files, err := fs.Sub(worker, "worker")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(tmp, files); err != nil {
		return "", fmt.Errorf("write the Python worker: %w", err)
	}
	if err := readable(tmp); err != nil {
		return "", err
	}
	compile(ctx, p, tmp)
	if err := os.Rename(tmp, final); err != nil {
		if _, there := os.Stat(final); there == nil { // another daemon was first
			return final, nil
		}
		return "", err
	}
	return final, nil
}

// readable lets every function's user read the files.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

// compile writes bytecode beside the files. Without it workers start slower,
// and that is all.
func compile(ctx context.Context, p *interpreter, dir string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, "-E", "-s", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", dir)
	cmd.Env = []string{"LANG=C.UTF-8"}
	_ = cmd.Run()
}
