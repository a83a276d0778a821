package process

import (
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/mayfly-cloud/mayfly"
)

// Config configures a Launcher.
type Config struct {
	Dir     string         // scratch folder of this node: cell roots, sockets
	Bundles string         // folder below which every bundle lies, others are refused; "": anywhere
	Node    string         // with Dir, names cgroups and what a restart cleans up; default "node"
	Doors   []Door         // served inside every cell
	Stock   int            // cells made ahead while Run runs; default 4, negative none
	Memory  mayfly.Bytes   // of all instances together, where the machine has a memory limit; 0: no bound
	Walls   string         // WallsAuto (default: all that the machine allows) or WallsNone (tests)
	Egress  EgressRecorder // told of every refused connection; may be nil
	Log     *slog.Logger
}

// Values of Config.Walls.
const (
	WallsAuto = "auto"
	WallsNone = "none"
)

// IsolationGVisor is a value of Assignment.Isolation. Its programs cannot be
// frozen: gVisor does not bear it, and ends.
const IsolationGVisor = "gvisor"

// Folders that every cell has.
const (
	TaskDir    = "/var/task"    // the bundle
	SecretsDir = "/run/secrets" // Assignment.Secrets
)

// Door is a loopback port inside every cell, served by the daemon.
type Door struct {
	Port int      // inside the cell; where cells share the host's network, a free one is chosen
	Env  []string // variables that get the address: "NAME=http://{addr}/path"
	// Serve accepts connections of one instance until the listener closes. who
	// has the PID of the instance.
	Serve func(l net.Listener, who mayfly.Caller)
}

// EgressRecorder is told of a refused connection or name.
type EgressRecorder interface {
	EgressRefused(who mayfly.Caller, target, line string) // line: what to add to the manifest's egress
}

// EgressMeter is an EgressRecorder that is also told of each piece of data that
// code sent through its egress lines, but for those to this machine. It must not
// block.
type EgressMeter interface {
	EgressSent(who mayfly.Caller, bytes int)
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

	// Template lets the program's children enter hollow cells (Process.Hollow).
	// Its filter then allows setns, which leads nowhere else, and no netlink.
	Template bool

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

	// Isolation "gvisor" runs the program in gVisor within its cell. It cannot be
	// given to a program that runs already.
	Isolation string
}

// withDefaults fills what was not said.
func (a Assignment) withDefaults() Assignment {
	if a.Pids == 0 {
		a.Pids = mayfly.DefaultPids
	}
	if a.Tmp == 0 {
		a.Tmp = mayfly.DefaultTmp
	}
	return a
}

// Ended is how a Process ended.
type Ended struct {
	Code        int    // exit status, -1 by a signal
	Signal      string // "killed", or ""
	OutOfMemory bool
}
