package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Spec is one version as a driver runs it. It does not change once made.
type Spec struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Version  int
	Digest   string // of the bundle; what a driver may key caches by

	Runtime     mayfly.Runtime
	Handler     string
	Dir         string            // the unpacked bundle on this machine; never written to
	Env         map[string]string // the manifest's, with secrets resolved
	Files       map[string][]byte // secrets as files, by name below /run/secrets
	Memory      mayfly.Bytes
	Timeout     time.Duration // of one call; also of an instance's start
	PerInstance int
	Egress      []string
	Template    bool   // python: may instances be forked from a template
	Isolation   string // "process" or "gvisor"
	Require     string // "any" or "full": refuse to run below it
}

// Caller is the identity that code of this version has inside its sandbox.
func (s *Spec) Caller() mayfly.Caller {
	return mayfly.Caller{Kind: mayfly.CallerFunction, App: s.App, Function: s.Function, Version: s.Version}
}

// Driver runs one runtime. Its methods may be called concurrently.
type Driver interface {
	Runtime() mayfly.Runtime

	// Check reports whether this machine can run the runtime at all, with a
	// message that says what to install (code unavailable).
	Check(ctx context.Context) error

	// Prepare is called once per version at deploy, before the first Start, and
	// again after a restart of the daemon. It is idempotent. It returns a
	// FunctionError, with the user's file and line, where the code cannot run.
	Prepare(ctx context.Context, spec *Spec) error

	// Start returns an instance that is ready for calls. It returns a
	// FunctionError where the user's initialisation failed, ran out of memory
	// or exited. The instance outlives ctx, which bounds the start alone.
	Start(ctx context.Context, spec *Spec, out Output) (Instance, error)

	// Forget drops what the driver keeps for a version (templates, modules).
	Forget(spec *Spec)

	// Close ends everything that the driver keeps started ahead.
	Close() error
}

// Stocked is a Driver that may hold an instance of a version which is ready for
// calls, so that its start takes no time.
type Stocked interface {
	// Held returns such an instance, as Start would, and nil where there is none.
	Held(spec *Spec, out Output) Instance
}

// Output receives what instances print. It must not block for long: a driver
// drops lines, and says how many, rather than stop reading.
type Output interface {
	Log(line mayfly.LogLine)
}

// Call is one invocation as an instance sees it.
type Call struct {
	ID       string
	Trace    mayfly.Trace
	Deadline time.Time
	Attempt  int
	Trigger  mayfly.TriggerKind
	ARN      string // the invoked function's ARN-like id, with its qualifier
	Hops     int    // functions that the event's cause went through; what code sends by the platform's client passes it on
	Event    []byte // JSON
	// HTTP says that Event is an HTTPRequest and the reply becomes an HTTP
	// response: a reply may then stream and set Meta.
	HTTP bool
}

// Reply is what came of a call. Exactly one of Payload and Body is set.
type Reply struct {
	Payload []byte        // the handler's result, JSON
	Body    io.ReadCloser // a streamed result; Close ends the call early
	Meta    *Meta         // of a streamed HTTP response
}

// Whole is what a Reply's Body has where it came as a whole: there is nothing
// to wait for.
type Whole interface {
	Rest() []byte // what was not read, once
}

// Meta is the head of a streamed HTTP response.
type Meta struct {
	Status  int
	Header  http.Header
	Cookies []string
}

// Instance is one running sandbox of one version.
type Instance interface {
	// ID is unique on this node; log stream names are made from it.
	ID() string

	// Call runs the handler once. At most Spec.PerInstance calls run at once.
	// A *mayfly.FunctionError is the handler's failure and leaves the instance
	// usable unless Done is closed. When ctx ends first the call returns at
	// once; the caller then stops the instance.
	Call(ctx context.Context, call *Call) (*Reply, error)

	// Done is closed when the instance can take no more calls.
	Done() <-chan struct{}

	// Err says why Done was closed: ErrOutOfMemory, a FunctionError with the
	// exit, or ErrStopped.
	Err() error

	// Stop ends the instance and frees what it holds: politely (SIGTERM) until
	// ctx ends, then by force. It may be called twice.
	Stop(ctx context.Context) error

	// Info says what it took to start the instance and what holds it.
	Info() Info

	// Usage is read after a call. It must be cheap (a file read at most).
	Usage() Usage
}

// Freezer is an Instance that can be paused while idle.
type Freezer interface {
	Freeze() error
	Thaw() error
}

// Server is an Instance whose code serves HTTP itself. The gateway proxies
// requests over its connections instead of making events.
type Server interface {
	DialContext(ctx context.Context) (net.Conn, error)
}

// Info describes a started instance.
type Info struct {
	Phases []mayfly.Phase // sandbox, runtime, init
	Tier   Tier
	PID    int // of its first process on this machine; 0 where it has none
}

// Usage is what an instance used so far.
type Usage struct {
	MemoryPeak mayfly.Bytes
	Memory     mayfly.Bytes
	CPU        time.Duration
}

// Tier is how strongly code is held. Walls names each mechanism in force;
// Missing names what is not, and why.
type Tier struct {
	Name    string            `json:"name"` // full, partial, plain
	Walls   []string          `json:"walls"`
	Missing map[string]string `json:"missing,omitempty"`
}

// Tier names.
const (
	TierFull    = "full"    // every wall this platform knows, but for those the kernel lacks
	TierPartial = "partial" // namespaces, but some limit is missing
	TierPlain   = "plain"   // an ordinary process
)

var (
	// ErrStopped is why an instance that was told to stop takes no more calls.
	ErrStopped = errors.New("instance stopped")
	// ErrOutOfMemory is why an instance that passed its memory limit ended.
	ErrOutOfMemory = &mayfly.FunctionError{Type: mayfly.ErrorTypeOutOfMemory, Message: "the function used more than its memory limit; raise its memory: in mayfly.yaml where it needs more"}
)
