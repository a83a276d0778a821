package wasm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
)

// workerName is the first argument that makes this executable a worker:
//
//	EXECUTABLE mayfly-wasm CACHE SECRETS     with the daemon's socket as descriptor 3
const workerName = "mayfly-wasm"

// init makes a worker of a process that was started as one, before the rest of
// the program begins. It is an init function, and not a call in main, so that it
// holds for every executable that has the driver: the daemon's, a test's.
func init() {
	if len(os.Args) == 4 && os.Args[1] == workerName {
		os.Exit(workerMain(os.Args[2], os.Args[3]))
	}
}

// workerMain serves calls until the daemon closes the socket. It returns the
// exit status.
func workerMain(cacheDir, secrets string) int {
	// One call at a time needs one processor. With a second one the runtime leaves
	// the first to a worker that waits for its socket, instead of taking it away
	// and giving it back around each call (two futexes and a wake of its monitor):
	// 7,200 to 10,200 calls/s.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(400) // the heap is small: linear memory lies outside
	w := &worker{wire: newWire(socket(3)), cacheDir: cacheDir, secrets: secrets}
	if err := w.run(); err != io.EOF {
		fmt.Fprintln(os.Stderr, "wasm worker:", err)
		return 1
	}
	return 0
}

// worker is one worker process. It is anonymous until a Load frame.
type worker struct {
	wire     *wire
	cacheDir string
	secrets  string

	runtime wazero.Runtime
	memory  *memory
	ctx     context.Context // carries memory

	code    wazero.CompiledModule
	config  wazero.ModuleConfig
	handler string
	base    variables // of every call
	root    string    // the bundle
	guest   *guest    // the next call's

	env     block   // of the guest
	request request // of the call
	printed []byte  // storage for what a call prints
}

// run serves until the socket ends, which is io.EOF.
func (w *worker) run() error {
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.wire.send(&frame.Frame{Kind: frame.Hello}); err != nil {
		return err
	}
	for {
		f, err := w.wire.next()
		if err != nil {
			return err
		}
		switch f.Kind {
		case frame.Load:
			err = w.answerLoad(&f)
		case frame.Call:
			err = w.call(&f)
		}
		if err != nil {
			return err
		}
	}
}

// begin makes what needs no function: the runtime and wasip1's host module.
func (w *worker) begin() error {
	store, err := wazero.NewCompilationCacheWithDir(w.cacheDir)
	if err != nil {
		return err
	}
	w.memory = &memory{}
	w.ctx = experimental.WithMemoryAllocator(context.Background(), w.memory)
	w.runtime = wazero.NewRuntimeWithConfig(w.ctx, wazero.NewRuntimeConfig().WithCompilationCache(store).WithDebugInfoEnabled(false))
	b := w.runtime.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	i32 := []api.ValueType{api.ValueTypeI32}
	two := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}
	// The environment is a call's own, while its instance is made ahead.
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(w.environGet), two, i32).Export("environ_get")
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(w.environSizesGet), two, i32).Export("environ_sizes_get")
	_, err = b.Instantiate(w.ctx)
	return err
}

func (w *worker) answerLoad(f *frame.Frame) error {
	var o order
	if err := json.Unmarshal(f.Body, &o); err != nil {
		return err
	}
	if err := w.load(&o); err != nil {
		return w.wire.fail(frame.Failed, f.ID, err)
	}
	return w.wire.send(&frame.Frame{ID: f.ID, Kind: frame.Loaded, Body: []byte("{}")})
}

// load compiles the module, from the cache where it is there, and makes its
// first instance.
func (w *worker) load(o *order) error {
	code, err := os.ReadFile(filepath.Join(o.Root, o.Module))
	if err != nil {
		return err
	}
	if w.code, err = w.runtime.CompileModule(w.ctx, mergeData(code)); err != nil {
		return badModule("%s is not a valid module: %v", o.Module, err)
	}
	if o.Compile {
		return w.leaveRecord()
	}
	w.handler, w.root, w.memory.limit = o.Handler, o.Root, uint64(o.Memory)
	w.base = newVariables(o.Env)
	if w.config, err = w.moduleConfig(o); err != nil {
		return err
	}
	return w.instantiate()
}

// leaveRecord writes what the daemon wants to know of a compiled module.
func (w *worker) leaveRecord() error {
	var rec record
	for name, f := range w.code.ExportedFunctions() {
		if len(f.ParamTypes()) == 0 {
			rec.Exports = append(rec.Exports, name)
		}
	}
	slices.Sort(rec.Exports)
	known := w.runtime.Module(wasi_snapshot_preview1.ModuleName).ExportedFunctionDefinitions()
	for _, f := range w.code.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != wasi_snapshot_preview1.ModuleName || known[name] == nil {
			rec.Imports = append(rec.Imports, module+"."+name)
		}
	}
	for _, m := range w.code.ExportedMemories() {
		rec.Memory += int64(m.Min()) << 16
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.cacheDir, recordName), b, 0o644)
}

// moduleConfig is the same for every instance: its streams are the worker's
// current guest.
func (w *worker) moduleConfig(o *order) (wazero.ModuleConfig, error) {
	c := wazero.NewModuleConfig().WithName("").WithArgs(filepath.Base(o.Module)).WithStartFunctions().
		WithStdin(stdin{w}).WithStdout(stdout{w}).WithStderr(stderr{w}).
		WithSysWalltime().WithSysNanotime().WithNanosleep(w.sleep).WithRandSource(random{})
	files := wazero.NewFSConfig()
	for _, show := range []struct {
		wanted      bool
		from, guest string
	}{{o.Bundle, o.Root, "/"}, {o.Secrets, w.secrets, "/run/secrets"}} {
		if !show.wanted {
			continue
		}
		dir, err := readOnly(show.from)
		if err != nil {
			return nil, err
		}
		files = files.WithFSMount(dir, show.guest)
	}
	return c.WithFSConfig(files), nil
}

// readOnly shows a folder from which no link leads out.
func readOnly(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// instantiate makes the next call's instance. A reactor is initialised ahead.
func (w *worker) instantiate() (err error) {
	defer func() {
		if r := recover(); r != nil { // of a memory larger than the function's
			err = badModule("the module cannot be instantiated: %v", r)
		}
	}()
	g := &guest{worker: w}
	w.guest = g
	g.module, err = w.runtime.InstantiateModule(w.ctx, w.code, w.config)
	if err != nil {
		return badModule("the module cannot be instantiated: %v", err)
	}
	g.entry = g.module.ExportedFunction(w.handler)
	if g.entry == nil {
		return &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: fmt.Sprintf("the module does not export the function %q", w.handler)}
	}
	if init := g.module.ExportedFunction("_initialize"); init != nil && w.handler != DefaultHandler && w.handler != "_initialize" {
		w.env.reset(&w.base.fixed)
		w.base.settle(&w.env)
		if _, err := init.Call(w.ctx); err != nil && !exitedWell(err) {
			return g.failure(err)
		}
	}
	return nil
}

// call runs one call, answers it, and makes the next instance.
func (w *worker) call(f *frame.Frame) error {
	if w.code == nil {
		return fmt.Errorf("a call before a load")
	}
	if err := w.guest.run(f); err != nil {
		return err
	}
	w.guest.module.Close(w.ctx) // of an instance in memory; it holds nothing that could fail
	return w.instantiate()
}

// traceOf parts a wasm error into its message and its stack.
func traceOf(err error) (message string, trace []string) {
	message, stack, _ := strings.Cut(err.Error(), "\nwasm stack trace:\n")
	for line := range strings.SplitSeq(stack, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			trace = append(trace, line)
		}
	}
	return cmp.Or(strings.TrimPrefix(message, "wasm error: "), "the module failed"), trace
}
