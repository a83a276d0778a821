package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
)

// world is what a cell must not reach, made on this machine for an escape test.
type world struct {
	secret   string // a file of the daemon
	bundle   string // another function's file
	socket   string // a unix socket of the daemon
	abstract string // an abstract one
	tcp      string // a loopback service of this machine
	neighbor string // a file in /tmp of another cell
}

func newWorld(t *testing.T, l *Launcher) world {
	t.Helper()
	w := world{
		secret: filepath.Join(t.TempDir(), "secret"), bundle: filepath.Join(bundle(t, "code", "theirs"), "code"),
		abstract: "@mayfly-escape-" + strconv.Itoa(os.Getpid()), tcp: serveText(t, "host"), neighbor: "/tmp/neighbor",
	}
	if err := os.WriteFile(w.secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A short path: those of unix sockets end at 108 characters.
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.socket = filepath.Join(dir, "s")
	for _, name := range []string{w.socket, w.abstract} {
		s, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}
	p, err := l.Start(t.Context(), Command{Path: "/bin/sh", Args: []string{"-c", "echo neighbor > /tmp/neighbor; sleep 1000"}, Assignment: Assignment{Who: who}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return w
}

func (w world) environ() []string {
	return []string{"SECRET=" + w.secret, "BUNDLE=" + w.bundle, "SOCKET=" + w.socket, "ABSTRACT=" + w.abstract, "TCP=" + w.tcp, "NEIGHBOR=" + w.neighbor}
}

// TestEscape tries to get out of a cell from a native program, and from one in
// an image, as its root and as another user.
func TestEscape(t *testing.T) {
	t.Setenv("CANARY", "the daemon's environment")
	for name, change := range map[string]func(t *testing.T, c *Command){
		"program":      func(*testing.T, *Command) {},
		"image's root": func(t *testing.T, c *Command) { inImage(t, c, "") },
		"image's user": func(t *testing.T, c *Command) { inImage(t, c, "web") },
	} {
		t.Run(name, func(t *testing.T) { testEscape(t, change) })
	}
}

// inImage runs a command in an image, whose root's files are its own.
func inImage(t *testing.T, c *Command, user string) {
	c.Image, c.User, c.Env = newImage(t), user, append(c.Env, "OWN="+strings.Join(ownRoot, "|"))
	c.Binds = append(c.Binds, libraries()...)
}

func testEscape(t *testing.T, change func(t *testing.T, c *Command)) {
	l := walledLauncher(t, Config{Doors: []Door{greeter()}})
	w := newWorld(t, l)
	var out buffer
	p := startProbe(t, l, "escape", func(c *Command) {
		c.Env, c.Stdout, c.Stderr = append(c.Env, w.environ()...), &out, &out
		c.Bundle = bundle(t, "mine", "mine")
		change(t, c)
	})
	waitDone(t, p)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if e := p.Ended(); e.Code != 0 || len(lines) != len(escapes)+1 {
		t.Fatalf("the probe ended as %+v after %d of %d attempts: %s", e, len(lines)-1, len(escapes), out.String())
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "ESCAPED") {
			t.Error(line)
		}
	}
	if out, _ := run(t, l, "echo well", nil); out != "well" {
		t.Errorf("afterwards a sandbox printed %q", out)
	}
}

// escape is one attempt. It succeeded where try returns nil.
type escape struct {
	name string
	try  func() error
}

// probeEscape makes all attempts.
func probeEscape() error {
	runtime.LockOSThread()
	own := strings.Split(os.Getenv("OWN"), "|")
	for _, e := range escapes {
		if slices.Contains(own, e.name) {
			fmt.Println("its own:", e.name)
		} else if err := e.try(); err != nil {
			fmt.Println("held:", e.name+":", err)
		} else {
			fmt.Println("ESCAPED:", e.name)
		}
	}
	fmt.Println("done")
	return nil
}

func reads(path string) func() error {
	return func() error {
		path := os.Expand(path, os.Getenv)
		if entries, err := os.ReadDir(path); err == nil {
			if len(entries) == 0 {
				return fmt.Errorf("empty")
			}
			return nil
		}
		b, err := os.ReadFile(path)
		if err == nil && len(b) == 0 {
			return fmt.Errorf("empty")
		}
		return err
	}
}

func writes(path string) func() error {
	return func() error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("1")
		return err
	}
}

func dials(network, addr string) func() error {
	return func() error {
		conn, err := net.DialTimeout(network, os.Expand(addr, os.Getenv), 5*time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

func opensSocket(domain, kind, proto int) func() error {
	return func() error {
		_, err := unix.Socket(domain, kind, proto)
		return err
	}
}

// calls makes a system call whose pointers, where it has any, are to zeroes.
func calls(number uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
}

// denied succeeds, as an escape, unless the call is refused before it is
// looked at: EPERM from the filter, or ENOSYS.
func denied(number uintptr, args ...uintptr) func() error {
	return func() error {
		err := calls(number, args...)()
		if err == unix.EPERM || err == unix.ENOSYS {
			return err
		}
		return nil
	}
}

// ownRoot are attempts that are none in an image, whose files and users are the
// program's own.
var ownRoot = []string{"write system files", "write /etc", "write the root", "become root", "become root's group"}

var zeroes [4096]byte

func pointer() uintptr { return uintptr(unsafe.Pointer(&zeroes[0])) }

var escapes = slices.Concat([]escape{
	{"read the machine's passwords", reads("/etc/shadow")},
	{"read root's home", reads("/root")},
	{"read a file of the daemon", reads("$SECRET")},
	{"read another function's bundle", reads("$BUNDLE")},
	{"climb out of the bundle", reads("/var/task/../../../..$SECRET")},
	{"read another cell's /tmp", reads("$NEIGHBOR")},
	{"see init's environment", reads("/proc/1/environ")},
	{"see init's memory map", reads("/proc/1/maps")},
	{"read init's memory", reads("/proc/1/mem")},
	{"enter init's root", reads("/proc/1/root")},
	{"see init's descriptors", reads("/proc/1/fd")},
	{"see the kernel's memory", reads("/proc/kcore")},
	{"see the kernel's symbols", reads("/proc/kallsyms")},
	{"see keys", reads("/proc/keys")},
	{"see kernel messages", reads("/proc/kmsg")},
	{"see the machine's devices", reads("/sys/class")},
	{"see cgroups", reads("/sys/fs/cgroup")},
	{"read raw memory", reads("/dev/mem")},
	{"read a disk", reads("/dev/vda")},
	{"follow a link out", func() error { return followLink() }},
	{"link a bundle's file into /tmp", func() error { return os.Link("/var/task/mine", "/tmp/mine") }},
	{"see other processes", seesProcesses},
	{"have descriptors of the daemon", hasDescriptors},
	{"see the daemon's environment", func() error { return seesEnvironment() }},

	{"write system files", writes("/usr/bin/planted")},
	{"write /etc", writes("/etc/passwd")},
	{"write the bundle", writes("/var/task/planted")},
	{"change the bundle's file", func() error { return os.Chmod("/var/task/mine", 0o777) }},
	{"write the root", writes("/planted")},
	{"write /sys", writes("/sys/kernel/planted")},
	{"set the core pattern", writes("/proc/sys/kernel/core_pattern")},
	{"set host name by /proc", writes("/proc/sys/kernel/hostname")},
	{"trigger sysrq", writesHard("/proc/sysrq-trigger")},
	{"lower its chance of being killed", func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) }},
	{"map users", func() error { return os.WriteFile("/proc/self/uid_map", []byte("0 0 1"), 0) }},

	{"dial a service of the machine", dials("tcp", "$TCP")},
	{"dial a unix socket of the daemon", dials("unix", "$SOCKET")},
	{"dial an abstract socket of the daemon", dials("unix", "$ABSTRACT")},
	{"dial the clouds' metadata", dials("tcp", "169.254.169.254:80")},
	{"dial the internet", dials("tcp", "93.184.216.34:80")},
	{"open a raw socket", opensSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{"open a raw IPv6 socket", opensSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)},
	{"open a packet socket", opensSocket(unix.AF_PACKET, unix.SOCK_RAW, 0x300)},
	{"open a netfilter socket", opensSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
	{"open an audit socket", opensSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)},
	{"open a vsock", opensSocket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{"open a crypto socket", opensSocket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{"open a key socket", opensSocket(unix.AF_KEY, unix.SOCK_RAW, 2)},
	{"open a bluetooth socket", opensSocket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 1)},
	{"open a CAN socket", opensSocket(unix.AF_CAN, unix.SOCK_RAW, 1)},
	{"open an XDP socket", opensSocket(unix.AF_XDP, unix.SOCK_RAW, 0)},
	{"add a route", func() error { return addRoute() }},

	{"become root", func() error { return unix.Setresuid(0, 0, 0) }},
	{"become root's group", func() error { return unix.Setresgid(0, 0, 0) }},
	{"join groups", func() error { return unix.Setgroups([]int{0}) }},
	{"take capabilities", takesCapabilities},
	{"run a setuid program", runsSetuid},
	{"give a device node a name", func() error { return unix.Mknod("/tmp/node", unix.S_IFCHR|0o666, 0x0101) }},
	{"give a disk a name", func() error { return unix.Mknod("/tmp/disk", unix.S_IFBLK|0o666, 0xfe00) }},
	{"open a device node of its own", func() error { return opensNode(unix.S_IFCHR, 0x0101) }},
	{"open a disk's node of its own", func() error { return opensNode(unix.S_IFBLK, 0xfe00) }},
	{"kill init", killsInit},
	{"raise its priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -10) }},
	{"raise a limit", func() error {
		return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	}},
	{"push characters to a terminal", denied(unix.SYS_IOCTL, 0, unix.TIOCSTI, pointer())},
}, callEscapes, namespaceEscapes())

// callEscapes are system calls that the filter must refuse by itself.
var callEscapes = []escape{
	{"mount", denied(unix.SYS_MOUNT, pointer(), pointer(), pointer(), 0, 0)},
	{"unmount", denied(unix.SYS_UMOUNT2, pointer(), unix.MNT_DETACH)},
	{"pivot_root", denied(unix.SYS_PIVOT_ROOT, pointer(), pointer())},
	{"chroot", denied(unix.SYS_CHROOT, pointer())},
	{"fsopen", denied(unix.SYS_FSOPEN, pointer(), 0)},
	{"open_tree", denied(unix.SYS_OPEN_TREE, 0, pointer(), 1)},
	{"move_mount", denied(unix.SYS_MOVE_MOUNT, 0, pointer(), 0, pointer(), 0)},
	{"mount_setattr", denied(unix.SYS_MOUNT_SETATTR, 0, pointer(), 0, pointer(), 32)},
	{"ptrace", denied(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1)},
	{"read another process's memory", denied(unix.SYS_PROCESS_VM_READV, 1, pointer(), 1, pointer(), 1, 0)},
	{"write another process's memory", denied(unix.SYS_PROCESS_VM_WRITEV, 1, pointer(), 1, pointer(), 1, 0)},
	{"take a descriptor", denied(unix.SYS_PIDFD_GETFD, 0, 0, 0)},
	{"kcmp", denied(unix.SYS_KCMP, 1, 1, 0, 0, 0)},
	{"load a module", denied(unix.SYS_INIT_MODULE, pointer(), 1, pointer())},
	{"load a module's file", denied(unix.SYS_FINIT_MODULE, 0, pointer(), 0)},
	{"remove a module", denied(unix.SYS_DELETE_MODULE, pointer(), 0)},
	{"kexec", denied(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0)},
	{"reboot", denied(unix.SYS_REBOOT, 0, 0, 0, 0)},
	{"bpf", denied(unix.SYS_BPF, 5, pointer(), 128)},
	{"perf", denied(unix.SYS_PERF_EVENT_OPEN, pointer(), 0, 0, 0, 0)},
	{"userfaultfd", denied(unix.SYS_USERFAULTFD, 1)},
	{"io_uring", denied(unix.SYS_IO_URING_SETUP, 8, pointer())},
	{"keyctl", denied(unix.SYS_KEYCTL, 0, 0, 0, 0, 0)},
	{"add_key", denied(unix.SYS_ADD_KEY, pointer(), pointer(), pointer(), 1, 0)},
	{"request_key", denied(unix.SYS_REQUEST_KEY, pointer(), pointer(), 0, 0)},
	{"open_by_handle_at", denied(unix.SYS_OPEN_BY_HANDLE_AT, 0, pointer(), 0)},
	{"swapon", denied(unix.SYS_SWAPON, pointer(), 0)},
	{"set the time", denied(unix.SYS_SETTIMEOFDAY, pointer(), 0)},
	{"set a clock", denied(unix.SYS_CLOCK_SETTIME, 0, pointer())},
	{"set the host name", denied(unix.SYS_SETHOSTNAME, pointer(), 1)},
	{"read the kernel's log", denied(unix.SYS_SYSLOG, 2, pointer(), 10)},
	{"acct", denied(unix.SYS_ACCT, 0)},
	{"fanotify", denied(unix.SYS_FANOTIFY_INIT, 0, 0)},
	{"personality", denied(unix.SYS_PERSONALITY, 0x0040000)},
	{"x32 system calls", denied(0x40000000+unix.SYS_GETPID, 0)},
}

func namespaceEscapes() (all []escape) {
	for name, flag := range map[string]uintptr{
		"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "process": unix.CLONE_NEWPID, "network": unix.CLONE_NEWNET,
		"IPC": unix.CLONE_NEWIPC, "host name": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP, "time": unix.CLONE_NEWTIME,
	} {
		all = append(all, escape{"unshare a " + name + " namespace", denied(unix.SYS_UNSHARE, flag)})
		if flag != unix.CLONE_NEWTIME {
			all = append(all, escape{"clone into a " + name + " namespace", denied(unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD), 0)})
		}
	}
	return append(all,
		escape{"clone3", denied(unix.SYS_CLONE3, pointer(), 88)},
		escape{"setns", denied(unix.SYS_SETNS, 0, 0)},
	)
}

func writesHard(path string) func() error {
	return func() error {
		// A write to the masked file vanishes; the file itself must not be it.
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		if st.Rdev == unix.Mkdev(1, 3) {
			return fmt.Errorf("it is /dev/null")
		}
		return writes(path)()
	}
}

func followLink() error {
	os.Remove("/tmp/link")
	if err := os.Symlink(os.Getenv("SECRET"), "/tmp/link"); err != nil {
		return err
	}
	return reads("/tmp/link")()
}

func seesProcesses() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() && pid != os.Getppid() {
			cmdline, err := os.ReadFile("/proc/" + e.Name() + "/maps")
			if err == nil && len(cmdline) > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("none but its own")
}

// hasDescriptors looks for descriptors beside the standard ones and those that
// the Go runtime opened (epoll, eventfd, pipes).
func hasDescriptors() error {
	for fd := range 1000 {
		link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil || fd < 3 || strings.HasPrefix(link, "anon_inode:") || strings.HasPrefix(link, "/proc/") || strings.HasPrefix(link, "/sys/fs/cgroup") {
			continue
		}
		fmt.Println("descriptor", fd, link)
		return nil
	}
	return fmt.Errorf("none")
}

func seesEnvironment() error {
	if os.Getenv("CANARY") == "" {
		return fmt.Errorf("not set")
	}
	return nil
}

func takesCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
	return unix.Capset(&header, &data[0])
}

// runsSetuid runs a setuid program of the machine that would show its power.
func runsSetuid() error {
	for _, path := range []string{"/usr/bin/su", "/bin/su", "/usr/bin/mount", "/bin/mount", "/usr/bin/passwd"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode()&os.ModeSetuid == 0 {
			continue
		}
		cmd := exec.Command("/bin/sh", "-c", "exec "+path+" --help >/dev/null & sleep 0.05; cat /proc/$!/status 2>/dev/null")
		out, _ := cmd.CombinedOutput()
		if strings.Contains(string(out), "Uid:\t1000\t0") {
			return nil
		}
	}
	return fmt.Errorf("it runs as its caller")
}

func opensNode(kind uint32, number int) error {
	const path = "/tmp/opened"
	os.Remove(path)
	if err := unix.Mknod(path, kind|0o666, number); err != nil {
		return err
	}
	return reads(path)()
}

func killsInit() error {
	if err := syscall.Kill(1, syscall.SIGKILL); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond)
	return fmt.Errorf("init does not mind") // else this process were gone
}

func addRoute() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ioctl, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ioctl)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(0)
	return unix.IoctlIfreq(ioctl, unix.SIOCSIFFLAGS, r)
}

// TestEscapeFromScripts tries from the interpreters that functions use: by
// themselves, and by all of TestEscape in a program that they start.
func TestEscapeFromScripts(t *testing.T) {
	l := walledLauncher(t, Config{})
	w := newWorld(t, l)
	scripts := map[string]func(t testing.TB) (string, []string){
		"python": func(t testing.TB) (string, []string) { return python(t), []string{"-c", pythonEscape} },
		"node": func(t testing.TB) (string, []string) {
			if _, err := os.Stat("/usr/bin/node"); err != nil {
				t.Skip("Node is not installed in /usr")
			}
			return "/usr/bin/node", []string{"-e", nodeEscape}
		},
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			path, args := script(t)
			var out buffer
			p := startProbe(t, l, "escape", func(c *Command) {
				c.Env, c.Stdout, c.Stderr = append(append(c.Env, w.environ()...), "PROGRAM="+c.Path, "PATH=/usr/bin:/bin"), &out, &out
				c.Path, c.Args, c.Bundle = path, args, bundle(t, "mine", "mine")
			})
			waitDone(t, p)
			if got := out.String(); strings.Contains(got, "ESCAPED") || !strings.HasSuffix(got, "done\n") || strings.Count(got, "held: ") != len(escapes) {
				t.Error(got)
			}
		})
	}
}

const pythonEscape = `
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
env = os.environ
def call(f, *args):
    if f(*args) < 0: raise OSError(ctypes.get_errno(), "")
def nonempty(x):
    if not x: raise ValueError("empty")
def tcp(addr):
    host, port = addr.rsplit(":", 1)
    socket.create_connection((host, int(port)), 5)
def unix(path):
    socket.socket(socket.AF_UNIX).connect(path.replace("@", "\0"))
for name, attempt in {
    "shadow": lambda: open("/etc/shadow").read(), "secret": lambda: open(env["SECRET"]).read(), "bundle": lambda: open(env["BUNDLE"]).read(),
    "neighbor": lambda: open(env["NEIGHBOR"]).read(), "init": lambda: nonempty(open("/proc/1/environ").read()), "write": lambda: open("/usr/planted", "w"),
    "tcp": lambda: tcp(env["TCP"]), "socket": lambda: unix(env["SOCKET"]), "abstract": lambda: unix(env["ABSTRACT"]),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), "packet": lambda: socket.socket(17, socket.SOCK_RAW, 0),
    "unshare": lambda: call(libc.unshare, 0x10000000), "mount": lambda: call(libc.mount, b"x", b"/tmp", b"tmpfs", 0, None),
    "ptrace": lambda: call(libc.ptrace, 16, 1, 0, 0), "setuid": lambda: os.setuid(0), "mknod": lambda: os.mknod("/tmp/n", 0o20666, os.makedev(1, 1)),
    "chroot": lambda: os.chroot("/tmp"), "subprocess": lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/tmp"], check=True, capture_output=True),
}.items():
    try: attempt(); print("ESCAPED", name)
    except Exception as e: print("held", name, e)
print(subprocess.run([env["PROGRAM"]], capture_output=True, text=True).stdout)
print("done")
`

const nodeEscape = `
const fs = require("fs"), net = require("net"), { execFileSync } = require("child_process"), env = process.env
const nonempty = x => { if (!x.length) throw new Error("empty") }
for (const [name, attempt] of Object.entries({
  shadow: () => fs.readFileSync("/etc/shadow"), secret: () => fs.readFileSync(env.SECRET), bundle: () => fs.readFileSync(env.BUNDLE),
  neighbor: () => fs.readFileSync(env.NEIGHBOR), init: () => nonempty(fs.readFileSync("/proc/1/environ")), write: () => fs.writeFileSync("/usr/planted", "x"),
  setuid: () => process.setuid(0), mount: () => execFileSync("mount", ["-t", "tmpfs", "x", "/tmp"], { stdio: "pipe" }),
  unshare: () => execFileSync("unshare", ["-U", "true"], { stdio: "pipe" }), task: () => fs.writeFileSync("/var/task/planted", "x"),
})) try { attempt(); console.log("ESCAPED", name) } catch (e) { console.log("held", name, e.message.split("\n")[0]) }
console.log(execFileSync(env.PROGRAM, { encoding: "utf8" }))
const at = env.TCP.lastIndexOf(":")
const dials = [{ host: env.TCP.slice(0, at), port: +env.TCP.slice(at + 1) }, { path: env.SOCKET }, { path: env.ABSTRACT.replace("@", "\0") }, { host: "169.254.169.254", port: 80 }]
Promise.all(dials.map(to => new Promise(done => {
  const c = net.connect(to, () => { console.log("ESCAPED", JSON.stringify(to)); c.destroy(); done() })
  c.on("error", done)
}))).then(() => console.log("done"))
`

// TestExhaustion lets programs use up what they can, while another answers.
func TestExhaustion(t *testing.T) {
	l := walledLauncher(t, Config{}, "memory limit", "process limit")
	neighbor := startProbe(t, l, "server", func(c *Command) { c.Env = append(c.Env, "PORT=80") })
	answers := func() bool {
		conn, err := neighbor.Dial(t.Context(), 80)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	eventually(t, "the neighbor listens", answers)
	for _, bomb := range []struct{ name, want string }{
		{"forks", "refused at"}, {"threads", "refused at"}, {"descriptors", "refused at"}, {"disk", "no space left"}, {"shm", "no space left"},
		{"file", "file too large"}, {"memory", ""},
	} {
		t.Run(bomb.name, func(t *testing.T) {
			var out buffer
			p := startProbe(t, l, "bomb", func(c *Command) {
				c.Env, c.Stdout, c.Stderr = append(c.Env, "BOMB="+bomb.name), &out, &out
				c.Memory, c.Tmp, c.Pids = 256*mayfly.MiB, 16*mayfly.MiB, 100
			})
			waitDone(t, p)
			if !strings.Contains(out.String(), bomb.want) {
				t.Errorf("ended as %+v: %s", p.Ended(), out.String())
			}
			if bomb.name == "memory" && !p.Ended().OutOfMemory {
				t.Errorf("ended as %+v", p.Ended())
			}
			if !answers() {
				t.Error("the neighbor does not answer any more")
			}
		})
	}
}

// probeBomb uses up one thing.
func probeBomb() error {
	bombs := map[string]func() error{
		"forks": bombForks, "threads": bombThreads, "descriptors": bombDescriptors, "memory": probeMemory,
		"disk": func() error { return bombFile("/tmp/fill", 64<<20) }, "shm": func() error { return bombFile("/dev/shm/fill", 128<<20) },
		"file": bombLargeFile,
	}
	return bombs[os.Getenv("BOMB")]()
}

func bombForks() error {
	for i := range 10_000 {
		if _, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, nil); err != nil {
			return fmt.Errorf("refused at %d: %w", i, err)
		}
	}
	return nil
}

// threadsScript runs 10,000 threads in Python: the Go runtime would end its
// process when it gets none, before it could tell.
const threadsScript = `
import threading, time
for i in range(10000):
    try: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    except RuntimeError as e: print("refused at", i, e); break
`

func bombThreads() error {
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		return fmt.Errorf("refused at 0: no Python to try with")
	}
	out, err := exec.Command("/usr/bin/python3", "-c", threadsScript).CombinedOutput()
	fmt.Print(string(out))
	return err
}

func bombDescriptors() error {
	for i := 0; ; i++ {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return fmt.Errorf("refused at %d: %w", i, err)
		}
	}
}

func bombFile(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for b := make([]byte, 1<<20); size > 0; size -= len(b) {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func bombLargeFile() error {
	f, err := os.Create("/tmp/large")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(1 << 40)
}
