package process

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// template is a Python program that forks a child into the hollow cell that it
// is sent over descriptor 3, the way that Cell says. The child sends a byte,
// for its process id, and then runs.
const template = `
import array, ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(f, *args):
    if f(*args) < 0: raise OSError(ctypes.get_errno(), f.__name__ + str(args))
s = socket.socket(fileno=3)
open("/tmp/template", "w").close()
while True:
    filter, control, _, _ = s.recvmsg(65536, socket.CMSG_SPACE(64))
    if not filter: sys.exit()
    fds = array.array("i")
    for _, _, data in control: fds.frombytes(data)
    if os.fork():
        os.wait()
        for fd in fds: os.close(fd)
        continue
    try:
        for fd in fds: call(libc.setns, fd, 0)
        if os.fork(): os._exit(0)
        for fd in fds: os.close(fd)
        for n in range(41): libc.prctl(24, n, 0, 0, 0)
        call(libc.capset, struct.pack("II", 0x20080522, 0), bytes(24))
        code = ctypes.create_string_buffer(filter)
        call(libc.prctl, 22, 2, struct.pack("HxxxxxxP", len(filter) // 8, ctypes.addressof(code)), 0, 0)
        os.setsid(); os.chdir("/var/task")
        s.send(b"1")
        print("pid", os.getpid(), "uid", os.getuid(), open("hello").read(), open("/run/secrets/KEY").read(), os.listdir("/tmp"), flush=True)
        print([l.strip() for l in open("/proc/self/status") if l.startswith(("CapEff", "CapBnd", "Seccomp:"))], flush=True)
        for what in (lambda: libc.setns(os.open("/proc/self/ns/user", 0), 0), lambda: libc.unshare(0x10000000), lambda: libc.mount(b"a", b"/tmp", b"tmpfs", 0, 0)):
            print(what(), flush=True)
        os.execv("/bin/sleep", ["sleep", "1000"])
    except BaseException as e:
        print("failed", e, flush=True)
        os._exit(1)
`

func python(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "/usr/local/bin/python3"} {
		if exec.Command(path, "-c", "").Run() == nil {
			return path
		}
	}
	t.Skip("Python is not installed in /usr")
	return ""
}

// startTemplate starts the template and returns the socket to it.
func startTemplate(t testing.TB, l *Launcher, out *buffer, change ...func(*Command)) (*Process, *net.UnixConn) {
	t.Helper()
	path := python(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	cmd := Command{Path: path, Args: []string{"-c", template}, Files: []*os.File{theirs}, Stdout: out, Stderr: out, Template: true, Assignment: hollowAssignment(t)}
	for _, c := range change {
		c(&cmd)
	}
	p, err := l.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, conn.(*net.UnixConn)
}

func hollowAssignment(t testing.TB) Assignment {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/hello", []byte("bundled"), 0o644); err != nil {
		t.Fatal(err)
	}
	return Assignment{Who: who, Bundle: dir, Secrets: map[string][]byte{"KEY": []byte("secret")}, Memory: 128 * mayfly.MiB}
}

// enter has the template fork a child into c, and adopts the child.
func enter(t testing.TB, conn *net.UnixConn, c *Cell) *Process {
	t.Helper()
	var fds []int
	for _, f := range c.Namespaces() {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(c.Filter(), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	p, err := c.Adopt(t.Context(), senderOf(t, conn))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// senderOf waits for a message and says which process sent it.
func senderOf(t testing.TB, conn *net.UnixConn) int {
	t.Helper()
	b, oob := make([]byte, 16), make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) == 0 {
		t.Fatal("the template has ended")
	}
	cred, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return int(cred.Pid)
}

func TestHollow(t *testing.T) {
	l := walledLauncher(t, Config{Doors: []Door{greeter()}})
	var out buffer
	origin, conn := startTemplate(t, l, &out)
	for range 3 {
		c, err := origin.Hollow(t.Context(), hollowAssignment(t))
		if err != nil {
			t.Fatal(err, out.String())
		}
		p := enter(t, conn, c)
		eventually(t, "the child runs", func() bool { return strings.Count(out.String(), "\n") >= 5 })
		want := "pid 2 uid 1000 bundled secret []\n['CapEff:\\t0000000000000000', 'CapBnd:\\t0000000000000000', 'Seccomp:\\t2']\n-1\n-1\n-1\n"
		if got := out.String(); got != want {
			t.Errorf("the child printed %q, want %q", got, want)
		}
		out.Reset()
		if err := p.Freeze(); err != nil && mayfly.CodeOf(err) != mayfly.Unavailable {
			t.Error(err)
		}
		p.Kill()
		waitDone(t, p)
		p.Close()
		c.Close()
	}
	unused, err := origin.Hollow(t.Context(), hollowAssignment(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unused.Adopt(t.Context(), os.Getpid()); mayfly.CodeOf(err) != mayfly.Denied {
		t.Errorf("a foreign process was adopted: %v", err)
	}
	unused.Close()
}

func TestHollowEndsWithTemplate(t *testing.T) {
	l := walledLauncher(t, Config{})
	var out buffer
	origin, conn := startTemplate(t, l, &out)
	c, err := origin.Hollow(t.Context(), hollowAssignment(t))
	if err != nil {
		t.Fatal(err)
	}
	p := enter(t, conn, c)
	origin.Close()
	waitDone(t, p)
	p.Close()
}

func TestTemplateHasRoomForItsChildren(t *testing.T) {
	l := walledLauncher(t, Config{})
	var out buffer
	origin, _ := startTemplate(t, l, &out)
	parent := origin.held.(*walled).cell
	dir, file := parent.group.dir("memory"), "memory.limit_in_bytes"
	if dir == "" {
		t.Skip("the daemon may not limit memory here")
	}
	if parent.group.h.v2["memory"] {
		file = "memory.max"
	}
	children := func() int {
		parent.mu.Lock()
		defer parent.mu.Unlock()
		return parent.young
	}
	a := hollowAssignment(t)
	var cells []*Cell
	for range 3 {
		c, err := origin.Hollow(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		cells = append(cells, c)
	}
	if got, least := mayfly.Bytes(number([]byte(readAll(t, filepath.Join(dir, file))))), 4*a.Memory; got < least {
		t.Errorf("a template with three children may have %v; it and its children may have %v", got, least)
	}
	if n := children(); n != 3 {
		t.Errorf("%d children are counted, want 3", n)
	}
	for _, c := range cells {
		c.Close()
	}
	if n := children(); n != 0 {
		t.Errorf("%d children are counted after their end", n)
	}
}

// TestTemplateHasMoreChildrenThanProcesses: a sandbox's limit on processes is
// for each child, not for all of them together.
func TestTemplateHasMoreChildrenThanProcesses(t *testing.T) {
	const most = 8
	l := walledLauncher(t, Config{})
	var out buffer
	a := hollowAssignment(t)
	a.Pids = most
	origin, conn := startTemplate(t, l, &out, func(c *Command) { c.Assignment = a })
	for range most { // of two processes each, with the init
		c, err := origin.Hollow(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		p := enter(t, conn, c)
		defer p.Close()
		var bound unix.Rlimit
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_NPROC, nil, &bound); err != nil {
			t.Fatal(err)
		}
		if limitsProcesses() && bound.Max != most {
			t.Errorf("a child may have %d processes, want %d", bound.Max, most)
		}
	}
}

// TestHollowEgress gives cells within a template's cell a way out of their own.
func TestHollowEgress(t *testing.T) {
	if !hasTunnel() {
		t.Skip("/dev/net/tun cannot be opened here")
	}
	l := walledLauncher(t, Config{}, "closed network")
	var out buffer
	a := hollowAssignment(t)
	a.Egress = []string{"api.test:443"}
	origin, conn := startTemplate(t, l, &out, func(c *Command) { c.Assignment = a })
	for range 3 {
		c, err := origin.Hollow(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		p := enter(t, conn, c)
		used := usageOf(c.cell.pid, sandbox.Usage{}).CPU
		time.Sleep(300 * time.Millisecond)
		if used = usageOf(c.cell.pid, sandbox.Usage{}).CPU - used; used > 100*time.Millisecond {
			t.Errorf("an init with nothing to do took %v of processor time", used)
		}
		p.Close()
	}
}
