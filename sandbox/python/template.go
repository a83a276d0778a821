package python

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/sandbox/frame"
	"github.com/mayfly-cloud/mayfly/sandbox/process"
)

// templates are the processes that are forked instead of started: one for a
// version, with its imports and its module's code done.
//
//	none ──build──▶ building ──▶ ready ──▶ gone (forgotten, evicted, or dead)
//	                        └──▶ refused: the code cannot be forked
//
// A version whose fork failed is refused for a while. Versions that are only
// prepared take free room; those that are started may take the room of one that
// was not used lately.
//
// Invariant: a template is not ended while a child of it lives, for a child's
// cell lies within the template's.
type templates struct {
	driver *Driver
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool                   // guarded by mu
	all    map[string]*template   // guarded by mu; by version and environment
	live   map[*template]struct{} // guarded by mu; those with a process, dropped ones too
}

// A template is one version's.
type template struct {
	key     string
	who     mayfly.Caller
	built   chan struct{} // closed when building is over
	worker  *frame.Worker // set before built is closed; nil where refused
	process *process.Process
	ready   *frame.Stock // children that wait; nil where refused
	err     error        // why not, where the code failed

	// guarded by templates.mu
	children int
	used     time.Time
	dropped  bool      // to end with its last child
	again    time.Time // refused until then; zero: for good
}

// Times after which a template may give way to another version's, and a
// version whose fork failed may have a template again.
const (
	idle   = time.Minute
	banned = 5 * time.Minute
)

func newTemplates(d *Driver) *templates {
	t := &templates{driver: d, all: map[string]*template{}, live: map[*template]struct{}{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// may reports whether spec may have a template on this machine.
func (t *templates) may(spec *sandbox.Spec) bool {
	return spec.Template && spec.Isolation != process.IsolationGVisor && t.driver.cfg.Templates > 0 && t.driver.cfg.Launcher.Tier().Name != sandbox.TierPlain
}

// build makes the version's template, or waits for the one that is being made.
// A FunctionError is the failure of the version's code.
func (t *templates) build(ctx context.Context, spec *sandbox.Spec) error {
	tpl, mine := t.claim(spec, false)
	if tpl == nil {
		return mayfly.Errorf(mayfly.Unavailable, "make template", "there are as many templates as may be")
	}
	if mine {
		t.make(ctx, tpl, spec)
	}
	select {
	case <-tpl.built:
		return tpl.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// later builds a template in the background, where one may be and none is.
func (t *templates) later(spec *sandbox.Spec) {
	if !t.may(spec) {
		return
	}
	tpl, mine := t.claim(spec, true)
	if tpl == nil || !mine {
		return
	}
	t.wg.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, max(spec.Timeout, time.Minute))
		defer cancel()
		t.make(ctx, tpl, spec)
	})
}

// claim returns the version's template; mine says that the caller is to make
// it. It is nil where there is no room, and evict may make none.
func (t *templates) claim(spec *sandbox.Spec, evict bool) (tpl *template, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := frame.Key(spec)
	if tpl := t.all[k]; tpl != nil && (tpl.again.IsZero() || time.Now().Before(tpl.again)) {
		return tpl, false
	}
	delete(t.all, k)
	if t.closed || !t.room(evict) {
		return nil, false
	}
	tpl = &template{key: k, who: spec.Caller(), built: make(chan struct{}), used: time.Now()}
	t.all[k] = tpl
	return tpl, true
}

// room reports whether there is room for one more. With evict it ends the idle
// template that was used the longest ago. t.mu is held.
func (t *templates) room(evict bool) bool {
	var oldest *template
	n := 0
	for _, tpl := range t.all {
		if isClosed(tpl.built) && tpl.worker == nil {
			continue // refused, and no process
		}
		n++
		if tpl.children == 0 && isClosed(tpl.built) && (oldest == nil || tpl.used.Before(oldest.used)) {
			oldest = tpl
		}
	}
	if n < t.driver.cfg.Templates {
		return true
	}
	if !evict || oldest == nil || time.Since(oldest.used) < idle {
		return false
	}
	t.drop(oldest)
	return true
}

// drop forgets a template and ends it once it has no child. t.mu is held.
func (t *templates) drop(tpl *template) {
	delete(t.all, tpl.key)
	tpl.dropped = true
	if tpl.children == 0 && isClosed(tpl.built) && tpl.worker != nil {
		t.wg.Go(tpl.end)
	}
}

// end ends a template's process, after the children that wait.
func (tpl *template) end() {
	tpl.ready.Close()
	tpl.worker.End()
}

// make starts the template of a claimed version.
func (t *templates) make(ctx context.Context, tpl *template, spec *sandbox.Spec) {
	w, p, err := t.start(ctx, spec)
	t.mu.Lock()
	defer t.mu.Unlock()
	tpl.worker, tpl.process, tpl.err = w, p, err
	if w != nil {
		tpl.ready = t.ahead(tpl, spec)
		t.live[tpl] = struct{}{}
	}
	close(tpl.built)
	if w != nil {
		tpl.ready.Open()
		t.wg.Go(func() { t.follow(tpl) })
	}
	if err != nil || t.closed || tpl.dropped {
		t.drop(tpl)
	}
}

// start returns no worker where the version's code cannot be forked.
func (t *templates) start(ctx context.Context, spec *sandbox.Spec) (*frame.Worker, *process.Process, error) {
	s, err := t.driver.starter(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	var p *process.Process
	launch := func(ctx context.Context, cmd process.Command) (frame.Program, error) {
		var err error
		p, err = t.driver.cfg.Launcher.Start(ctx, cmd)
		return p, err
	}
	cmd := s.Command(spec)
	cmd.Assignment, cmd.Template = frame.Assignment(spec), true
	w, err := frame.Begin(ctx, launch, cmd, t.driver.cfg.Log)
	if err != nil {
		return nil, nil, err
	}
	order := s.Order(w, spec)
	order.Template = true
	said, err := w.Load(ctx, spec, frame.Silent{}, order, time.Now(), false)
	if err != nil {
		w.End()
		return nil, nil, err
	}
	var about struct {
		Unsafe string `json:"unsafe"`
	}
	if err := json.Unmarshal(said, &about); err != nil || about.Unsafe != "" {
		w.End()
		t.driver.cfg.Log.Info("a function is started afresh each time: it cannot be forked", "app", spec.App, "function", spec.Function, "version", spec.Version, "reason", about.Unsafe)
		return nil, nil, nil
	}
	return w, p, nil
}

// follow forgets a template that ended by itself.
func (t *templates) follow(tpl *template) {
	<-tpl.worker.Done()
	tpl.ready.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, tpl)
	if t.all[tpl.key] == tpl {
		delete(t.all, tpl.key)
	}
}

// fork returns an instance of the version's template, and neither an instance
// nor an error where it has to be started otherwise.
func (t *templates) fork(ctx context.Context, spec *sandbox.Spec, out sandbox.Output) (*frame.Worker, error) {
	if !t.may(spec) {
		return nil, nil
	}
	tpl := t.acquire(spec)
	if tpl == nil {
		return nil, nil
	}
	w, err := t.child(ctx, tpl, spec, out)
	if err == nil {
		t.wg.Go(func() {
			<-w.Done()
			t.release(tpl)
		})
		return w, nil
	}
	t.release(tpl)
	if ctx.Err() != nil || mayfly.CodeOf(err) == mayfly.FunctionFailed {
		return nil, err
	}
	t.driver.cfg.Log.Warn("instance not forked; it is started afresh", "app", spec.App, "function", spec.Function, "error", err)
	t.refuse(tpl)
	return nil, nil
}

// refuse drops a template whose fork failed, and bars another for a while.
func (t *templates) refuse(tpl *template) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[tpl.key] != tpl {
		return
	}
	t.drop(tpl)
	t.all[tpl.key] = &template{key: tpl.key, who: tpl.who, built: tpl.built, again: time.Now().Add(banned)}
}

// acquire returns a template that is ready, with a child more.
func (t *templates) acquire(spec *sandbox.Spec) *template {
	t.mu.Lock()
	defer t.mu.Unlock()
	tpl := t.all[frame.Key(spec)]
	if tpl == nil || t.closed || !isClosed(tpl.built) || tpl.worker == nil || !tpl.worker.Alive() {
		return nil
	}
	tpl.children++
	tpl.used = time.Now()
	return tpl
}

func (t *templates) release(tpl *template) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tpl.children--; tpl.children == 0 && tpl.dropped {
		t.wg.Go(tpl.end)
	}
}

// child makes one instance, of a child that waits where there is one.
func (t *templates) child(ctx context.Context, tpl *template, spec *sandbox.Spec, out sandbox.Output) (*frame.Worker, error) {
	asked := time.Now()
	w, waited, done := tpl.ready.Take()
	defer done()
	if waited {
		err := t.load(ctx, w, spec, out, asked)
		if err == nil {
			return w, nil
		}
		var failed *mayfly.FunctionError
		if ctx.Err() != nil || errors.As(err, &failed) && failed.Type != mayfly.ErrorTypeExit {
			return nil, err
		}
		t.driver.cfg.Log.Info("a forked child ended while it waited", "app", spec.App, "function", spec.Function, "error", err)
	}
	w, err := tpl.sprout(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := t.load(ctx, w, spec, out, asked); err != nil {
		return nil, err
	}
	return w, nil
}

// load makes a child an instance, and ends it where that fails.
func (t *templates) load(ctx context.Context, w *frame.Worker, spec *sandbox.Spec, out sandbox.Output, asked time.Time) error {
	s, err := t.driver.starter(ctx, spec)
	if err == nil {
		_, err = w.Load(ctx, spec, out, s.Order(w, spec), asked, true)
	}
	if err != nil {
		w.End()
	}
	return err
}

// forget drops the version's templates.
func (t *templates) forget(spec *sandbox.Spec) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tpl := range t.all {
		if tpl.who == spec.Caller() {
			t.drop(tpl)
		}
	}
}

// close ends all templates, and with them their children, and waits for them.
// Nothing may be prepared or started any more.
func (t *templates) close() {
	t.mu.Lock()
	t.closed = true
	for tpl := range t.live {
		t.wg.Go(tpl.end)
	}
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
