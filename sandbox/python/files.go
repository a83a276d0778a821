package python

import (
	"context"
	"embed"
	"io/fs"
	"os/exec"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

//go:embed worker/start.py worker/mayfly_worker/*.py worker/mayfly/*.py
var worker embed.FS

// insideDir is where cells see the worker's files.
const insideDir = "/opt/mayfly/python"

// writeOut puts the worker's files into a folder below dir, compiled for p.
func writeOut(ctx context.Context, dir string, p *interpreter) (string, error) {
	files, err := fs.Sub(worker, "worker")
	if err != nil {
		return "", err
	}
	return frame.WriteOut(files, dir, "python-"+p.name(), func(dir string) { compile(ctx, p, dir) })
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
