package process

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// secret names a secret of an app.
type secret struct {
	app  mayfly.AppName
	name string
}

// shown is what a program has below SecretsDir.
type shown struct {
	mu    sync.Mutex // held while files are written, so that the newest value is the last
	app   mayfly.AppName
	files map[string][]byte // guarded by mu
}

// checkSecret refuses names that are no files of SecretsDir, or that its own
// files have.
func checkSecret(name string) error {
	if name == "" || name[0] == '.' || name != filepath.Base(name) {
		return mayfly.Errorf(mayfly.Invalid, "start sandbox", "secret %q is not a file name", name)
	}
	return nil
}

// Rotate gives a secret of an app another value: in the file of each program
// that has it as a file, of a frozen one too, and of those that are being
// started. It replaces whole files: a reader sees one value or the other. The
// error joins what was in the way of programs that still run.
func (l *Launcher) Rotate(ctx context.Context, app mayfly.AppName, name string, value []byte) error {
	l.mu.Lock()
	l.newest[secret{app, name}] = bytes.Clone(value)
	var live []*Process
	for p := range l.live {
		live = append(live, p)
	}
	l.mu.Unlock()
	var errs []error
	for _, p := range live {
		errs = append(errs, p.refresh(ctx))
	}
	return errors.Join(errs...)
}

// show notes what the program was given, and what came since it was resolved.
func (p *Process) show(ctx context.Context, a Assignment) error {
	if len(a.Secrets) == 0 {
		return nil
	}
	p.shown.mu.Lock()
	p.shown.app, p.shown.files = a.Who.App, maps.Clone(a.Secrets)
	p.shown.mu.Unlock()
	return p.refresh(ctx)
}

// refresh writes the files whose secrets have another value by now.
func (p *Process) refresh(ctx context.Context) error {
	p.shown.mu.Lock()
	defer p.shown.mu.Unlock()
	late := p.launcher.newer(p.shown.app, p.shown.files)
	if len(late) == 0 {
		return nil
	}
	if err := p.held.reveal(ctx, late); err != nil {
		return err
	}
	maps.Copy(p.shown.files, late)
	return nil
}

// newer is what files of an app should hold and do not.
func (l *Launcher) newer(app mayfly.AppName, files map[string][]byte) map[string][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := map[string][]byte{}
	for name, value := range files {
		if newest, ok := l.newest[secret{app, name}]; ok && !bytes.Equal(newest, value) {
			late[name] = newest
		}
	}
	return late
}
