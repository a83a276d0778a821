package wasm

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

const (
	// DefaultHandler is the entry of a command.
	DefaultHandler = "_start"

	// workerMemory is what a worker's cell may hold beyond the linear memory:
	// wazero, the module and its native code, the buffers of a call.
	workerMemory = 96 * mayfly.MiB

	// compileMemory is for a worker that compiles: about 100 times the module's
	// size was seen.
	compileMemory = 2 * mayfly.GiB

	// compileTime bounds a compilation; 25 MB of module take 20 s.
	compileTime = 10 * time.Minute
)

// Config configures a Driver.
type Config struct {
	Launcher *process.Launcher
	Dir      string       // the cache of compiled modules; kept between runs
	Cache    mayfly.Bytes // size of the cache; default 2 GiB
	Spares   int          // versions with a worker that has the module loaded; default 8, negative none
	Log      *slog.Logger // default: none
}

// Driver runs the wasm runtime.
type Driver struct {
	config Config
	cache  *cache
	stock  *frame.Stock
	spares *spares
	log    *slog.Logger
	exe    string // this executable
	close  func()

	mu       sync.Mutex
	versions map[string]*version // guarded by mu; by key
	compiled sync.Mutex          // one compilation at a time: each needs a core and much memory
}

// version is what Prepare found of one version.
type version struct {
	module string // the file's name in the bundle
	hash   string
	more   bool // the bundle holds more than the module
}

var (
	_ sandbox.Driver  = (*Driver)(nil)
	_ sandbox.Stocked = (*Driver)(nil)
)

// New returns a Driver. It starts nothing before the first Prepare or Start.
func New(c Config) (*Driver, error) {
	c.Cache = cmp.Or(c.Cache, 2*mayfly.GiB)
	c.Spares = cmp.Or(c.Spares, 8)
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	store, err := openCache(c.Dir, c.Cache)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		config: c, cache: store, exe: exe, versions: map[string]*version{},
		log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
	}
	d.stock = frame.NewStock(frame.StockConfig{
		Make: func(ctx context.Context) (*frame.Worker, error) { return d.begin(ctx, d.command(nil)) },
		Each: 24 * mayfly.MiB, Log: d.log,
	})
	d.spares = newSpares(max(c.Spares, 0), d.log)
	d.close = sync.OnceFunc(func() {
		d.spares.close()
		d.stock.Close()
	})
	return d, nil
}

// Runtime is mayfly.Wasm.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.Wasm }

// Check succeeds: the engine is part of this executable.
func (d *Driver) Check(context.Context) error { return nil }

// Forget ends the version's spare. The cache keeps the compiled module, which
// another version may share, until it needs the room.
func (d *Driver) Forget(spec *sandbox.Spec) {
	d.mu.Lock()
	delete(d.versions, key(spec))
	d.mu.Unlock()
	d.spares.forget(key(spec))
}

// Close ends all workers that hold nobody's instance.
func (d *Driver) Close() error {
	d.close()
	return nil
}

func key(spec *sandbox.Spec) string {
	return string(spec.App) + "/" + string(spec.Function) + "/" + strconv.Itoa(spec.Version) + "/" + spec.Dir
}

// Paths in a worker's cell.
const (
	cellWorker = "/run/mayfly/worker"
	cellCache  = "/run/mayfly/cache"
)

// command is a worker of this executable. Its assignment is left out where spec
// is nil.
func (d *Driver) command(spec *sandbox.Spec) process.Command {
	cmd := process.Command{
		Path: cellWorker, Args: []string{workerName, cellCache, process.SecretsDir}, Env: frame.BaseEnv("GODEBUG=madvdontneed=1"), Dir: "/",
		Binds: []process.Bind{{Source: d.exe, Target: cellWorker}, {Source: d.cache.dir, Target: cellCache}},
	}
	if spec != nil {
		cmd.Assignment = d.assignment(spec)
	}
	return cmd
}

func (d *Driver) assignment(spec *sandbox.Spec) process.Assignment {
	a := frame.Assignment(spec)
	a.Memory += workerMemory
	return a
}

func (d *Driver) launch(ctx context.Context, cmd process.Command) (frame.Program, error) {
	p, err := d.config.Launcher.Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (d *Driver) begin(ctx context.Context, cmd process.Command) (*frame.Worker, error) {
	return frame.Begin(ctx, d.launch, cmd, d.log)
}

// order is what a worker is told to become.
type order struct {
	frame.Order
	Module  string `json:"module"`            // in the bundle
	Memory  int64  `json:"memory"`            // bytes that the linear memory may reach
	Bundle  bool   `json:"bundle,omitempty"`  // show the bundle to the module
	Secrets bool   `json:"secrets,omitempty"` // show secrets that are files
	Compile bool   `json:"compile,omitempty"` // compile into the cache, and no more
}

func (d *Driver) order(w *frame.Worker, spec *sandbox.Spec, v *version) order {
	starter := frame.Starter{Engine: "Mayfly_wasm"}
	o := order{
		Order: starter.Order(w, spec), Module: v.module, Memory: int64(spec.Memory),
		Bundle: v.more, Secrets: len(spec.Files) > 0,
	}
	o.Handler = cmp.Or(spec.Handler, DefaultHandler)
	return o
}

// Start returns the version's spare, or a worker that loads the module.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	v, err := d.version(ctx, spec)
	if err != nil {
		return nil, err
	}
	d.stock.Open()
	if in := d.spare(spec, v, out); in != nil {
		return in, nil
	}
	in, err := d.load(ctx, spec, v)
	if err != nil {
		return nil, err
	}
	in.serve(out, 0)
	d.makeSpare(spec, v, settle)
	return in, nil
}

// Held returns the version's spare.
func (d *Driver) Held(spec *sandbox.Spec, out sandbox.Output) sandbox.Instance {
	d.mu.Lock()
	v := d.versions[key(spec)]
	d.mu.Unlock()
	if v == nil {
		return nil
	}
	if in := d.spare(spec, v, out); in != nil {
		return in
	}
	return nil
}

// spare hands the version's spare out, and has another made.
func (d *Driver) spare(spec *sandbox.Spec, v *version, out sandbox.Output) *instance {
	asked := time.Now()
	in := d.spares.take(key(spec), spec)
	if in != nil {
		in.serve(out, time.Since(asked))
		d.makeSpare(spec, v, settle)
	}
	return in
}

// makeSpare has a worker of the version loaded beside, where none is.
func (d *Driver) makeSpare(spec *sandbox.Spec, v *version, after time.Duration) {
	d.spares.fill(key(spec), after, func(ctx context.Context) (*instance, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return d.load(ctx, spec, v)
	})
}

// load starts a worker with the module loaded.
func (d *Driver) load(ctx context.Context, spec *sandbox.Spec, v *version) (*instance, error) {
	asked := time.Now()
	w, ahead, done, err := d.worker(ctx, spec)
	defer done()
	if err != nil {
		return nil, err
	}
	in := &instance{Worker: w, out: &lateOutput{}, spec: spec}
	if _, err := w.Load(ctx, spec, in.out, d.order(w, spec, v), asked, ahead); err != nil {
		in.End()
		return nil, err
	}
	return in, nil
}

// worker finds a worker whose cell is spec's. done must be called.
func (d *Driver) worker(ctx context.Context, spec *sandbox.Spec) (w *frame.Worker, ahead bool, done func(), err error) {
	var ready bool
	if w, ready, done = d.stock.Take(); ready {
		if err = w.Assign(ctx, d.assignment(spec)); err == nil {
			return w, true, done, nil
		}
		w.End()
		d.log.Warn("worker started ahead could not be assigned", "error", err)
	}
	w, err = d.begin(ctx, d.command(spec))
	return w, false, done, err
}
