package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact/image"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/program"
)

// Port is $PORT in a container.
const Port = 8080

// errorTypeImage is for an image that cannot run here.
const errorTypeImage = "Runtime.InvalidImage"

// Config configures a Driver.
type Config struct {
	Launcher *process.Launcher
	Dir      string       // unpacked images; kept between runs
	Log      *slog.Logger // default: none
}

// Driver runs the container runtime.
type Driver struct {
	launcher *process.Launcher
	roots    *image.Roots
	log      *slog.Logger

	mu       sync.Mutex
	versions map[string]*version // guarded by mu; by key
	uses     map[string]int      // guarded by mu; versions and instances of an image, by its id
}

// version is what Prepare made of one version.
type version struct {
	id   string // the image's
	root string
	path string // the program, as its cell sees it
	args []string
	env  map[string]string
	user string
	dir  string
	name string // the program, for people
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a Driver.
func New(c Config) (*Driver, error) {
	roots, err := image.NewRoots(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Driver{
		launcher: c.Launcher, roots: roots, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		versions: map[string]*version{}, uses: map[string]int{},
	}, nil
}

// Runtime is mayfly.Container.
func (d *Driver) Runtime() mayfly.Runtime { return mayfly.Container }

// Check fails where cells have no root folder of their own.
func (d *Driver) Check(context.Context) error {
	tier := d.launcher.Tier()
	if tier.Name != sandbox.TierPlain {
		return nil
	}
	return mayfly.Errorf(mayfly.Unavailable, "run containers", "this machine does not allow sandboxes with a root folder of their own (%s); `mayfly doctor` says more",
		cmp.Or(tier.Missing["private root"], "no namespaces"))
}

// Prepare unpacks the image and finds its program.
func (d *Driver) Prepare(ctx context.Context, spec *sandbox.Spec) error {
	v, err := d.hold(ctx, spec)
	if err != nil {
		return err
	}
	d.release(v.id)
	return nil
}

func key(spec *sandbox.Spec) string {
	return string(spec.App) + "/" + string(spec.Function) + "/" + strconv.Itoa(spec.Version) + "/" + spec.Dir
}

// hold returns what was prepared of a version, prepared now where it was not,
// with its image in use until release.
func (d *Driver) hold(ctx context.Context, spec *sandbox.Spec) (*version, error) {
	if v := d.known(spec); v != nil {
		return v, nil
	}
	img, err := image.Open(spec.Dir, d.roots.Scratch())
	if err != nil {
		return nil, failure(err)
	}
	defer img.Close()
	d.use(img.ID) // before Root, so that no Forget removes it
	began := time.Now()
	v, err := d.unpack(ctx, spec, img)
	if err != nil {
		d.release(img.ID)
		return nil, err
	}
	d.log.Debug("image is unpacked", "function", spec.Function, "image", img.ID, "took", time.Since(began))
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.versions[key(spec)]; known == nil {
		d.versions[key(spec)] = v
		d.uses[v.id]++
	}
	return v, nil
}

func (d *Driver) known(spec *sandbox.Spec) *version {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.versions[key(spec)]
	if v != nil {
		d.uses[v.id]++
	}
	return v
}

func (d *Driver) unpack(ctx context.Context, spec *sandbox.Spec, img *image.Image) (*version, error) {
	root, err := d.roots.Root(ctx, img)
	if err != nil {
		return nil, failure(err)
	}
	v := &version{id: img.ID, root: root, user: img.Config.User, dir: filepath.Join("/", img.Config.WorkingDir), env: map[string]string{}}
	for _, e := range img.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		v.env[name] = value
	}
	line, err := command(spec, img)
	if err != nil {
		return nil, err
	}
	v.name = line.Words[0]
	v.path, err = line.Find(root, "", v.dir, cmp.Or(spec.Env["PATH"], v.env["PATH"], program.Path))
	v.args = line.Words[1:]
	return v, err
}

// command is the line that a container runs.
func command(spec *sandbox.Spec, img *image.Image) (program.Line, error) {
	if spec.Handler != "" {
		line, err := program.ParseLine(spec.Handler)
		if err != nil {
			err = &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: mayfly.MessageOf(err)}
		}
		return line, err
	}
	words := append(append([]string{}, img.Config.Entrypoint...), img.Config.Cmd...)
	if len(words) == 0 || words[0] == "" {
		return program.Line{}, &mayfly.FunctionError{Type: mayfly.ErrorTypeHandler, Message: "the image has no entrypoint and no command; name a command line in handler"}
	}
	return program.Line{Words: words}, nil
}

// failure makes a fault of the image the function's.
func failure(err error) error {
	switch mayfly.CodeOf(err) {
	case mayfly.Invalid, mayfly.TooLarge:
		return &mayfly.FunctionError{Type: errorTypeImage, Message: mayfly.MessageOf(err)}
	}
	return err
}

func (d *Driver) use(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.uses[id]++
}

// release gives up one use of an image, and removes its root at the last.
func (d *Driver) release(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.uses[id]--; d.uses[id] > 0 {
		return
	}
	delete(d.uses, id)
	if err := d.roots.Remove(id); err != nil {
		d.log.Warn("image not removed", "image", id, "error", err)
	}
}

// Forget removes the version's image once nothing else uses it.
func (d *Driver) Forget(spec *sandbox.Spec) {
	d.mu.Lock()
	v := d.versions[key(spec)]
	delete(d.versions, key(spec))
	d.mu.Unlock()
	if v != nil {
		d.release(v.id)
	}
}

// Close has nothing to end: images stay for the next run.
func (d *Driver) Close() error { return nil }

// Start runs the image and waits until its program takes calls.
func (d *Driver) Start(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (sandbox.Instance, error) {
	ctx, cancel, limit := program.Limit(ctx, spec)
	defer cancel()
	v, err := d.hold(ctx, spec)
	if err != nil {
		return nil, err
	}
	web, poller, err := d.begin(ctx, spec, v, out)
	if err != nil {
		d.release(v.id)
		return nil, err
	}
	return await(ctx, web, poller, limit)
}

// begin starts the program, which both of its results then are. Its end gives up
// the use of the image.
func (d *Driver) begin(ctx context.Context, spec *sandbox.Spec, v *version, out sandbox.Output) (*program.Web, *program.Poller, error) {
	poller, err := program.NewPoller(d.launcher, spec)
	if err != nil {
		return nil, nil, err
	}
	web := program.NewWeb(spec, Port)
	id := program.NewID()
	fixed := poller.Environ(spec, spec.Handler)
	maps.Copy(fixed, map[string]string{"PORT": strconv.Itoa(Port)})
	err = poller.Start(ctx, id, program.Config{
		Launcher: d.launcher, Spec: spec, Out: out, Ended: func(error) { d.release(v.id) },
		Current: func() *sandbox.Call { return cmp.Or(web.Current(), poller.Current()) },
		Command: process.Command{
			Path: v.path, Args: v.args, Env: program.Environ(spec, id, v.env, fixed), Dir: v.dir, Image: v.root, User: v.user,
		},
	})
	if err != nil {
		return nil, nil, err
	}
	web.Attach(poller.Program)
	return web, poller, nil
}

// await waits for what the program does first. One that does neither, or fails,
// is ended.
func await(ctx context.Context, web *program.Web, poller *program.Poller, limit time.Duration) (sandbox.Instance, error) {
	listening := make(chan error, 1)
	dialing, stop := context.WithCancel(ctx)
	defer stop()
	go func() { listening <- web.Await(dialing) }()
	var err error
	select {
	case <-poller.Polling():
		stop()
		<-listening
		if err = poller.Polled(); err == nil {
			poller.Ready()
			return poller, nil
		}
	case err = <-listening:
		if err == nil {
			poller.Ready()
			return web, nil
		}
		if errors.Is(err, ctx.Err()) && poller.Err() == nil {
			err = poller.Slow(ctx, limit, fmt.Sprintf("it neither listened on port %d (the variable PORT) nor asked AWS_LAMBDA_RUNTIME_API for an event", Port))
		}
	}
	poller.Kill()
	return nil, err
}
