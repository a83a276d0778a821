package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// DefaultBuildTimeout bounds a build that names no other.
const DefaultBuildTimeout = 10 * time.Minute

// packBuilt packs what a build command makes of a source, or the bundle that it
// made of the same source before.
func (s *Store) packBuilt(ctx context.Context, src string, rules ignore, o Options) (Bundle, error) {
	inputs, err := s.list(ctx, src, neverPackedRules)
	if err != nil {
		return Bundle{}, err
	}
	key := buildKey(inputs, o.Build)
	lock := s.buildLock(key)
	lock.Lock()
	defer lock.Unlock()
	if digest, err := os.ReadFile(s.path("builds", key)); err == nil {
		if b, err := s.Bundle(string(digest)); err == nil {
			return b, nil
		}
	}
	tmp, err := s.temp()
	if err != nil {
		return Bundle{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := copyTree(inputs, tmp); err != nil {
		return Bundle{}, err
	}
	if err := runBuild(ctx, tmp, o); err != nil {
		return Bundle{}, err
	}
	l, err := s.list(ctx, tmp, rules)
	if err != nil {
		return Bundle{}, err
	}
	b, err := s.commit(l)
	if err != nil {
		return Bundle{}, err
	}
	b.Built = true
	return b, s.writeFile(s.path("builds", key), []byte(b.Digest))
}

// buildKey is the digest of all that a build is taken to depend on. What it
// fetches or finds on the machine is not part of it.
func buildKey(inputs listing, command string) string {
	h := sha256.Sum256([]byte(strings.Join([]string{"build 2", runtime.GOOS, runtime.GOARCH, command, inputs.digest()}, "\x00")))
	return hex.EncodeToString(h[:])
}

func (s *Store) buildLock(key string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	lock, ok := s.building[key]
	if !ok {
		lock = &sync.Mutex{}
		s.building[key] = lock
	}
	return lock
}

// copyTree copies a listing to dir with its times, which make and the Go build
// cache look at.
func copyTree(l listing, dir string) error {
	for _, f := range l {
		target := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if f.Link != "" {
			if err := os.Symlink(f.Link, target); err != nil {
				return err
			}
			continue
		}
		if err := copyFile(f, target); err != nil {
			return fmt.Errorf("copy %s: %w", f.Path, err)
		}
	}
	return nil
}

func copyFile(f file, target string) error {
	src, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(dst, h), src)
	if err == nil && hex.EncodeToString(h.Sum(nil)) != f.Hash {
		err = errChanged // else its build would be remembered for other inputs
	}
	err = errors.Join(err, dst.Chmod(modeOf(f.Exec)|0o200), dst.Close())
	return errors.Join(err, os.Chtimes(target, info.ModTime(), info.ModTime()))
}

// notFound is the exit status of a shell whose command does not exist.
const notFound = 127

// runBuild runs the command in dir. All that it started is ended with it. The
// error of a failed command says the end of its output; it is Unavailable where
// the command does not exist, Invalid otherwise.
func runBuild(ctx context.Context, dir string, o Options) error {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DefaultBuildTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if o.Started != nil {
		o.Started()
	}
	var tail tailWriter
	out := io.Writer(&tail)
	if o.Output != nil {
		out = io.MultiWriter(&tail, o.Output)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", o.Build)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(buildEnv(o.Env), "PWD="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left in the background
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return mayfly.Errorf(mayfly.Invalid, "", "the build %q took longer than %s and was ended%s", o.Build, mayfly.Duration(timeout), tail.said())
	case ctx.Err() != nil:
		return ctx.Err()
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == notFound:
		return mayfly.Errorf(mayfly.Unavailable, "", "the build %q needs a program that this machine lacks; install it%s", o.Build, tail.said())
	case err != nil:
		return mayfly.Errorf(mayfly.Invalid, "", "the build %q failed: %v%s", o.Build, err, tail.said())
	}
	return nil
}

// buildEnv is the user's environment without the platform's own variables,
// which may hold its token.
func buildEnv(env []string) []string {
	if env == nil {
		env = os.Environ()
	}
	goflags := sameEverywhere
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		if flags, ok := strings.CutPrefix(v, "GOFLAGS="); ok {
			goflags += " " + flags // the user's win
			return true
		}
		return strings.HasPrefix(v, "MAYFLY_") || strings.HasPrefix(v, "PWD=")
	})
	return append(env, "GOFLAGS="+goflags)
}

// sameEverywhere keeps the folder of the copy, and the repository around it, out
// of what go build makes: else each machine and each store would make another
// bundle of the same source.
const sameEverywhere = "-trimpath -buildvcs=false"

// tailWriter keeps the end of what is written to it.
type tailWriter struct{ buf []byte }

const tailSize = 4 << 10

func (w *tailWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	if len(w.buf) > 2*tailSize {
		w.buf = bytes.Clone(w.buf[len(w.buf)-tailSize:])
	}
	return len(p), nil
}

func (w *tailWriter) said() string {
	text := w.buf[max(0, len(w.buf)-tailSize):]
	if len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	return "; it said:\n" + strings.TrimSpace(strings.ToValidUTF8(string(text), "�"))
}
