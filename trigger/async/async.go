package async

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Config of the calls. All but the last three are needed.
type Config struct {
	Store     *event.Store // of the INVOKE logs; who made it runs it
	Dead      *event.Dead
	Invoker   trigger.Invoker
	Functions trigger.Functions
	Sender    trigger.Sender    // for destinations; nil: a function with one fails its calls at the end
	Authorize mayfly.Authorizer // for the API; nil: administrators only
	Logger    *slog.Logger      // default: discards
	InFlight  int               // most calls of one function at once; default 1000
	Region    string            // in ARN-like ids; default "local"
	Drain     time.Duration     // how long running calls may take when Run's context ends; default 5 s
	Done      func(Status)      // told of each call that ended; nil: nobody
}

// Calls accepts and runs asynchronous calls.
type Calls struct {
	cfg  Config
	crew *trigger.Crew // of the workers of lanes

	mu      sync.Mutex
	lines   map[string]bool               // guarded by mu; lanes that have a worker, or will
	running map[string]context.CancelFunc // guarded by mu; by id
	recent  recent                        // guarded by mu
}

// New makes Calls.
func New(cfg Config) *Calls {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = 1000
	}
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	if cfg.Drain == 0 {
		cfg.Drain = 5 * time.Second
	}
	return &Calls{cfg: cfg, crew: trigger.NewCrew(cfg.Drain), lines: map[string]bool{}, running: map[string]context.CancelFunc{}}
}

func laneOf(app mayfly.AppName, fn mayfly.FunctionName) string { return string(app) + "/" + string(fn) }

// Enqueue accepts a call durably and returns its id. A call whose causes went
// through too many functions becomes a dead letter, and an Invalid error.
func (c *Calls) Enqueue(ctx context.Context, r *Request) (id string, err error) {
	op := "call " + string(r.Function)
	if len(r.Event) > int(mayfly.MaxAsync) {
		return "", mayfly.Errorf(mayfly.TooLarge, op, "an asynchronous event of %d bytes is over the limit of %s", len(r.Event), mayfly.MaxAsync)
	}
	if _, ok := c.cfg.Functions.Function(r.App, r.Function); !ok {
		return "", mayfly.Errorf(mayfly.NotFound, op, "the app %s has no function %s", r.App, r.Function)
	}
	body, err := encode(r)
	if err != nil {
		return "", err
	}
	if r.Hops > mayfly.MaxHops {
		return "", c.cycle(ctx, r, body)
	}
	it := &event.Item{Body: body, At: r.At, Dedup: r.Dedup, Window: r.Window}
	if it.Window == 0 {
		it.Window = defaultWindow
	}
	lane := c.cfg.Store.Lane(laneOf(r.App, r.Function))
	if err := lane.Put(ctx, it); err != nil {
		return "", err
	}
	c.line(lane)
	return it.ID, nil
}

// Accept implements trigger.Acceptor.
func (c *Calls) Accept(ctx context.Context, a *trigger.Accept) (string, error) {
	return c.Enqueue(ctx, request(a))
}

// Send accepts a call with a message's body, as a destination.
func (c *Calls) Send(ctx context.Context, app mayfly.AppName, fn string, m *mayfly.Message) error {
	_, err := c.Enqueue(ctx, &Request{
		App: app, Function: mayfly.FunctionName(fn), Event: m.Body, Trigger: mayfly.TriggerDirect, Trace: m.Trace, Hops: m.Hops, At: m.At, Dedup: m.DedupID,
		Caller: mayfly.CallerFrom(ctx),
	})
	return err
}

func (c *Calls) cycle(ctx context.Context, r *Request, body []byte) error {
	letter := &event.DeadLetter{
		App: r.App, Source: "function/" + string(r.Function), Function: r.Function, Reason: event.DeadHops,
		Error: "functions call each other in a cycle", Accepted: time.Now(), Trace: r.Trace, Body: body,
	}
	if err := c.cfg.Dead.Add(ctx, letter); err != nil {
		return err
	}
	c.cfg.Logger.Warn("functions call each other in a cycle, which is stopped", "app", r.App, "function", r.Function, "trace", r.Trace.ID, "dead_letter", letter.ID)
	return mayfly.Errorf(mayfly.Invalid, "call "+string(r.Function), "the event came through more than %d functions: they call each other in a cycle; it is kept as dead letter %s", mayfly.MaxHops, letter.ID)
}

// line makes Run work on a lane.
func (c *Calls) line(lane *event.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lines[lane.Name()] {
		c.lines[lane.Name()] = true
		c.crew.Join(c.worker(lane).Run)
	}
}

// Run runs the calls of all functions until ctx ends. Calls that run then have
// Config.Drain to end; what is left is given back, to be run again after the
// next start. The store should run until Run has returned, so that it takes in
// how they ended.
func (c *Calls) Run(ctx context.Context) error {
	for _, lane := range c.cfg.Store.Lanes() {
		c.line(lane)
	}
	c.crew.Run(ctx)
	return nil
}

// State is where a call is.
type State string

const (
	Waiting   State = "waiting"
	Running   State = "running"
	Backoff   State = "backoff" // failed; will be tried again
	Succeeded State = "succeeded"
	Dead      State = "dead"
	Cancelled State = "cancelled"
	Finished  State = "finished" // ended too long ago to know how
)

// Status is what became of a call.
type Status struct {
	ID         string              `json:"id"`
	App        mayfly.AppName      `json:"app,omitempty"`
	Function   mayfly.FunctionName `json:"function,omitempty"`
	State      State               `json:"state"`
	Attempts   int                 `json:"attempts"`
	Accepted   time.Time           `json:"accepted,omitzero"`
	Next       time.Time           `json:"next,omitzero"` // of a call in backoff or for later
	Ended      time.Time           `json:"ended,omitzero"`
	Error      string              `json:"error,omitempty"`
	DeadLetter string              `json:"dead_letter,omitempty"`
	History    []event.Attempt     `json:"history,omitempty"`
}

// Status says where a call is, NotFound where it was never accepted.
func (c *Calls) Status(ctx context.Context, id string) (*Status, error) {
	c.mu.Lock()
	if s, ok := c.recent.get(id); ok {
		c.mu.Unlock()
		return &s, nil
	}
	c.mu.Unlock()
	w, err := c.cfg.Store.Find(ctx, id)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.NotFound, "read call", "no asynchronous call has the id %s", id)
	}
	s := &Status{ID: id, Attempts: w.Attempts, Accepted: w.Created, History: w.History}
	switch w.State {
	case event.Finished:
		s.State = Finished
		return s, nil
	case event.Leased:
		s.State = Running
	case event.Backoff:
		s.State, s.Next = Backoff, w.Until
	default:
		s.State, s.Next = Waiting, w.Until
	}
	if n := len(w.History); n > 0 {
		s.Error = w.History[n-1].Error
	}
	var st stored
	if err := json.Unmarshal(w.Body, &st); err == nil {
		s.App, s.Function = st.App, st.Function
	}
	return s, nil
}

// Cancel ends a call that waits, or stops one that runs. It returns a Conflict
// error where the call has ended.
func (c *Calls) Cancel(ctx context.Context, id string) error {
	status, err := c.Status(ctx, id)
	if err != nil {
		return err
	}
	ok, err := c.cfg.Store.Cancel(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return mayfly.Errorf(mayfly.Conflict, "cancel call", "the call %s has ended (%s)", id, status.State)
	}
	status.State, status.Ended, status.Next = Cancelled, time.Now(), time.Time{}
	c.ended(*status)
	c.mu.Lock()
	stop := c.running[id]
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	return nil
}

// Revive accepts a dead letter's call again, for another function where to says.
func (c *Calls) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	var st stored
	if err := json.Unmarshal(letter.Body, &st); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "dead letter %s is not a call: %w", letter.ID, err)
	}
	r := st.request()
	if to != "" {
		r.Function = mayfly.FunctionName(to)
	}
	r.Hops, r.Dedup, r.Window = 0, "redrive."+letter.ID, time.Hour
	_, err := c.Enqueue(ctx, r)
	return err
}

func (c *Calls) ended(s Status) {
	c.mu.Lock()
	c.recent.add(s)
	c.mu.Unlock()
	if c.cfg.Done != nil {
		c.cfg.Done(s)
	}
}

// recent remembers how the last calls ended.
type recent struct {
	by   map[string]Status
	ring [recentCalls]string
	next int
}

const recentCalls = 1 << 14

func (r *recent) add(s Status) {
	if r.by == nil {
		r.by = map[string]Status{}
	}
	if _, ok := r.by[s.ID]; !ok {
		delete(r.by, r.ring[r.next])
		r.ring[r.next] = s.ID
		r.next = (r.next + 1) % recentCalls
	}
	r.by[s.ID] = s
}

func (r *recent) get(id string) (Status, bool) {
	s, ok := r.by[id]
	return s, ok
}
