package shim

import "syscall"

// Fixed descriptors of every process here.
const (
	fdControl = 3 // the socket to the daemon
	fdTunnel  = 4 // a reference to /dev/net/tun, or to /dev/null where that is missing
	fdDevice  = 5 // of an init that may open it: the tunnel, opened in its network, until it is linked
	fdSignals = 6 // of an init: its signalfd
)

// init takes the process over where the daemon asked for it. It runs before
// nearly every other package's, see the package documentation.
func init() {
	if _, ok := syscall.Getenv(Env); ok {
		keep()
	}
}

// keep is the keeper's life.
func keep() {
	setName("mayfly-keeper")
	ignoreChildren()
	s := &server{role: keeper, signals: -1}
	s.serve()
}

// role is what a process of this package is.
type role int

const (
	keeper role = iota
	nursery
	initial // the init of a cell
)

// server is the loop of one process. It is used by one thread.
type server struct {
	role    role
	signals int      // a signalfd for SIGCHLD; -1 in keeper and nursery
	freezer string   // keeper: the v1 freezer folder of this node's cells, "" without
	unified string   // keeper: their v2 folder
	groups  []string // keeper: the folders of all hierarchies
	program int      // init: process id of the program in this pid namespace, 0 before it
	early   []exit   // init: ends of processes that may be adopted yet
	uid     int      // init: the program's user and group, as the cell sees them
	gid     int
	own     int // init: its own user
}

// exit is how a process ended.
type exit struct {
	pid    int
	status uint32
	usage  syscall.Rusage
}

// serve answers messages until the daemon hangs up.
func (s *server) serve() {
	for {
		if s.signals >= 0 && !s.wait() {
			continue
		}
		msg, fds, ok := receive(fdControl)
		if !ok {
			s.leave()
		}
		s.handle(msg, fds)
		for _, fd := range fds {
			closeFD(fd)
		}
	}
}

// handle acts on one message. Descriptors that it keeps it duplicates.
func (s *server) handle(msg Reader, fds []int) {
	switch msg.Byte() {
	case OpTree:
		s.tree(msg)
	case OpNursery:
		s.nursery(msg, fds)
	case OpCell:
		s.cell(msg, fds)
	case OpSetup:
		s.setup(msg)
	case OpEquip:
		s.equip(msg, fds)
	case OpExec:
		s.exec(msg, fds)
	case OpImage:
		s.image(msg, fds)
	case OpAdopt:
		s.adopt(msg)
	case OpSockets:
		s.sockets(msg)
	case OpLink:
		s.link(msg, fds)
	case OpSecrets:
		s.secrets(msg)
	case OpListen:
		s.listens(msg)
	default:
		s.fail("unknown operation", syscall.ENOSYS)
	}
}

// leave ends the process. Where it is an init, the kernel ends its cell. The
// keeper, the last to go, first makes sure that no other is kept from dying by a
// freezer, and removes their cgroups.
func (s *server) leave() {
	if s.role == keeper {
		s.release()
		s.clear()
	}
	exitNow(0)
}

// ok answers a request; the reply's fields are in w.
func (s *server) ok(w Writer, fds ...int) {
	send(fdControl, append(Writer{ReplyOK}, w...), fds)
}

// fail answers a request that failed, and where.
func (s *server) fail(where string, errno syscall.Errno) {
	w := Writer{ReplyError}
	w.Text(where)
	w.Uint(uint64(errno))
	send(fdControl, w, nil)
}
