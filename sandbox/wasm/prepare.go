package wasm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// errorTypeModule is for a file that is not a module this runtime can run.
const errorTypeModule = "Runtime.InvalidModule"

// Prepare compiles the module into the cache and checks its handler.
func (d *Driver) Prepare(ctx context.Context, spec *sandbox.Spec) error {
	if spec.Isolation == process.IsolationGVisor {
		return mayfly.Errorf(mayfly.Invalid, "prepare module", "isolation gvisor is not for wasm: a module makes no system calls of its own")
	}
	v, err := d.version(ctx, spec)
	if err != nil {
		return err
	}
	d.stock.Open()
	d.makeSpare(spec, v, 0)
	return nil
}

// version finds and compiles the module of a version, once.
func (d *Driver) version(ctx context.Context, spec *sandbox.Spec) (*version, error) {
	d.mu.Lock()
	v := d.versions[key(spec)]
	d.mu.Unlock()
	if v != nil && d.cache.has(v.hash) {
		return v, nil
	}
	v, err := findModule(spec.Dir)
	if err != nil {
		return nil, err
	}
	rec, err := d.compile(ctx, spec, v)
	if err != nil {
		return nil, err
	}
	if err := rec.check(cmp.Or(spec.Handler, DefaultHandler), spec.Memory); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.versions[key(spec)] = v
	return v, nil
}

func badModule(format string, args ...any) error {
	return &mayfly.FunctionError{Type: errorTypeModule, Message: fmt.Sprintf(format, args...)}
}

// findModule finds the only module of a bundle.
func findModule(dir string) (*version, error) {
	var modules []string
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		if strings.HasSuffix(path, ".wasm") && e.Type().IsRegular() {
			rel, err := filepath.Rel(dir, path)
			modules = append(modules, rel)
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read bundle: %w", err)
	case len(modules) == 0:
		return nil, badModule("the bundle has no file that ends in .wasm; compile one in build, or name it in source")
	case len(modules) > 1:
		return nil, badModule("the bundle has %d modules (%s); name one in source", len(modules), strings.Join(modules, ", "))
	}
	v := &version{module: modules[0], more: files > 1}
	v.hash, err = hashModule(filepath.Join(dir, v.module), v.module)
	return v, err
}

// hashModule reads a module's digest, and refuses what is not one.
func hashModule(path, name string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read module: %w", err)
	}
	defer f.Close()
	var head [8]byte
	_, err = io.ReadFull(f, head[:])
	switch {
	case err != nil || string(head[:4]) != "\x00asm":
		return "", badModule("%s is not a WebAssembly module", name)
	case string(head[4:]) == "\x0d\x00\x01\x00":
		return "", badModule("%s is a component (WASI preview 2); compile it for wasip1, as a core module", name)
	case string(head[4:]) != "\x01\x00\x00\x00":
		return "", badModule("%s has an unknown version of WebAssembly", name)
	}
	h := sha256.New()
	h.Write(head[:])
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read module: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// record is what compiling a module told of it. It lies beside the cache.
type record struct {
	Files   []string `json:"files"`   // in the cache
	Exports []string `json:"exports"` // functions without parameters
	Imports []string `json:"imports"` // that wasip1 does not have
	Memory  int64    `json:"memory"`  // that it begins with, in bytes
}

// check reports what the module lacks.
func (r *record) check(handler string, limit mayfly.Bytes) error {
	switch {
	case len(r.Imports) > 0:
		return badModule("the module imports %s, which wasip1 does not have; compile it for wasip1", strings.Join(r.Imports, ", "))
	case !slices.Contains(r.Exports, handler):
		return &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler,
			Message: fmt.Sprintf("the module does not export the function %q without parameters; it exports: %s", handler, cmp.Or(strings.Join(r.Exports, ", "), "none"))}
	case r.Memory > int64(limit):
		return badModule("the module begins with %s of memory; the function has %s", mayfly.Bytes(r.Memory), limit)
	}
	return nil
}

// compile has a worker compile the module where the cache does not have it.
func (d *Driver) compile(ctx context.Context, spec *sandbox.Spec, v *version) (*record, error) {
	if rec := d.cache.record(v.hash); rec != nil {
		return rec, nil
	}
	d.compiled.Lock()
	defer d.compiled.Unlock()
	if rec := d.cache.record(v.hash); rec != nil {
		return rec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	dir, err := d.cache.begin()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := d.compileIn(ctx, dir, spec, v); err != nil {
		return nil, err
	}
	return d.cache.commit(dir, v.hash)
}

// compileIn runs the worker. It has nothing of the function but its bundle.
func (d *Driver) compileIn(ctx context.Context, dir string, spec *sandbox.Spec, v *version) error {
	bare := *spec
	bare.Env, bare.Files, bare.Egress, bare.Memory = nil, nil, nil, compileMemory
	cmd := d.command(&bare)
	cmd.Binds = []process.Bind{{Source: d.exe, Target: cellWorker}, {Source: dir, Target: cellCache, Writable: true}}
	w, err := d.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer w.End()
	o := d.order(w, &bare, v)
	o.Compile = true
	_, err = w.Load(ctx, &bare, &lateOutput{}, o, time.Now(), false)
	return err
}
