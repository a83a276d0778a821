package process

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Config configures a Launcher.
type Config struct {
	Dir     string         // scratch folder of this node: cell roots, sockets
	Bundles string         // folder below which every bundle lies; cells see only the one they are given
	Node    string         // unique per data folder: names cgroups, and what a restart cleans up
	Doors   []Door         // served inside every cell
	Stock   int            // cells made ahead; default 4, negative none
	Memory  mayfly.Bytes   // of all instances together; 0: no bound
	Walls   string         // "auto" (default: all that the machine allows) or "none" (tests)
	Egress  EgressRecorder // told of every refused connection; may be nil
	Log     *slog.Logger
}

// Door is a loopback port inside every cell, served by the daemon.
type Door struct {
	Port int      // inside the cell; where cells share the host's network, a free one is chosen
	Env  []string // variables that get the address: "NAME=http://{addr}/path"
	// Serve accepts connections of one instance until the listener closes.
	Serve func(l net.Listener, who mayfly.Caller)
}

// EgressRecorder is told of a refused connection or name.
type EgressRecorder interface {
	EgressRefused(who mayfly.Caller, target, line string) // line: what to add to the manifest's egress
}

// Command is a program to run in a cell.
type Command struct {
	Path  string     // as seen inside the cell
	Args  []string   // without the path
	Env   []string   // whole environment, "NAME=value"; doors' variables are added
	Dir   string     // working folder inside; default /var/task where a bundle is given, else /
	Files []*os.File // descriptors 3, 4, … of the program; Start leaves the caller's copies open

	Stdout, Stderr io.Writer // written by one goroutine each until the pipe closes

	// Listen are TCP ports of the cell's loopback that the daemon accepts on,
	// such as the Runtime API. Process.Listener returns them.
	Listen []int

	Image string // an unpacked image's root, for an overlay; "" for the machine's own system folders
	User  string // of an image: "uid[:gid]" or a name in its passwd

	Binds []Bind // read-only unless said; sources are paths on this machine

	Assignment
}

// Bind shows a file or folder of this machine inside a cell.
type Bind struct {
	Source, Target string
	Writable       bool
}

// Assignment is what makes a cell a function's.
type Assignment struct {
	Who     mayfly.Caller
	Bundle  string            // folder on this machine, shown read-only at /var/task
	Secrets map[string][]byte // files below /run/secrets
	Memory  mayfly.Bytes
	Pids    int          // default mayfly.DefaultPids
	Tmp     mayfly.Bytes // size of /tmp; default mayfly.DefaultTmp
	Egress  []string
	Require string // "full" refuses to start below sandbox.TierFull
}

// A Launcher starts Processes. It is safe for concurrent use.
//
//	New(Config) (*Launcher, error)          sweeps what an earlier daemon with this Node left; starts nothing
//	Run(ctx) error                          keeps the stock; returns when ctx ends and its goroutines are gone
//	Start(ctx, Command) (*Process, error)   a program in a cell
//	Hollow(ctx, Assignment) (*Cell, error)  a cell for a child that a template will fork
//	Tier() sandbox.Tier                     what this machine allows
//	Close() error                           ends every process

// Ended is how a Process ended.
type Ended struct {
	Code        int    // exit status, -1 by a signal
	Signal      string // "killed", or ""
	OutOfMemory bool
}

// running is what a Process offers its driver; Process implements it.
//
//	Done() <-chan struct{}                  closed when its first process ended and its cell is empty
//	Ended() Ended                           after Done
//	PID() int
//	Signal(os.Signal) error                 to the program
//	Kill()                                  at once, with all its children; works when frozen
//	Close()                                 Kill, wait, free the cell
//	Freeze() error; Thaw() error
//	Usage() sandbox.Usage
//	Tier() sandbox.Tier
//	Started() time.Duration                 what the cell took (the "sandbox" phase)
//	Dial(ctx, port) (net.Conn, error)       a TCP connection to the cell's loopback
//	Listener(i) net.Listener                of Command.Listen[i]
//	Addr(i) string                          what the program dials to reach Listener(i)
//	Assign(ctx, Assignment) error           once, where Start got a Command without Who
type running interface {
	Done() <-chan struct{}
	Ended() Ended
	PID() int
	Signal(os.Signal) error
	Kill()
	Close()
	Freeze() error
	Thaw() error
	Usage() sandbox.Usage
	Tier() sandbox.Tier
	Started() time.Duration
	Dial(ctx context.Context, port int) (net.Conn, error)
	Listener(i int) net.Listener
	Addr(i int) string
	Assign(ctx context.Context, a Assignment) error
}
