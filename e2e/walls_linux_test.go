package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wallsNode runs testdata/walls on a machine that has walls.
func wallsNode(t *testing.T) *node {
	t.Helper()
	needs(t, "python3", "node", "go")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/walls")); err != nil {
		t.Fatal(err)
	}
	native := filepath.Join(dir, "native", "bootstrap")
	build := exec.Command("go", "build", "-o", native, filepath.Join(dir, "native", "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Node makes no system calls of its own choice, but may start what does.
	if err := os.Link(native, filepath.Join(dir, "node", "native")); err != nil {
		t.Fatal(err)
	}
	power := filepath.Join(dir, "python", "power")
	write(t, power, "#!/bin/sh\nid -u\n")
	if err := os.Chmod(power, 0o755|fs.ModeSetuid|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	n := start(t, t.TempDir(), "dev", dir)
	if tier := n.tier(); tier == "plain" {
		t.Skip("this machine has no walls; `mayfly doctor` says why")
	}
	return n
}

// tier is the node's isolation.
func (n *node) tier() string {
	n.t.Helper()
	var status struct{ Isolation struct{ Name string } }
	if err := n.client().Do(n.t.Context(), "GET", "/v1/node", nil, &status); err != nil {
		n.t.Fatal(err)
	}
	return status.Isolation.Name
}

// answering calls the neighbor until its result is asked for: how often it
// answered, and every answer that was not right.
func answering(n *node) func() (int64, []string) {
	var stop atomic.Bool
	var right atomic.Int64
	var wrong []string
	var calling sync.WaitGroup
	calling.Go(func() {
		for !stop.Load() {
			r, err := n.try("POST", "/_fn/walls/neighbor", `"well"`, "Authorization", "Bearer "+n.Token)
			if err == nil && r.status == 200 && strings.TrimSpace(r.body) == `"well"` {
				right.Add(1)
			} else if len(wrong) < 10 {
				wrong = append(wrong, strconv.Itoa(r.status)+" "+r.body)
			}
		}
	})
	return func() (int64, []string) {
		stop.Store(true)
		calling.Wait()
		return right.Load(), wrong
	}
}

// pointer in a system call's line becomes the address of zeroes.
const pointer = "pointer"

// temptations are what a function must not get at.
func temptations(t *testing.T, n *node) map[string]any {
	t.Helper()
	bundles, err := filepath.Glob(filepath.Join(n.data, "artifacts", "*", "*"))
	if err != nil || len(bundles) == 0 {
		t.Fatal("no bundles: ", err)
	}
	daemon := "/proc/" + strconv.Itoa(n.cmd.Process.Pid)
	stranger := n.direct("walls", "neighbor", "1").header.Get("X-Mayfly-Request-Id")
	host := func(url string) string { return strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/") }
	return map[string]any{
		"files":    append([]string{"/etc/shadow", "/root", n.data, filepath.Join(n.data, "root.key"), daemon + "/environ", daemon + "/mem", daemon + "/fd/3", daemon + "/root/etc/shadow"}, bundles...),
		"places":   []string{"/usr/bin/planted", "/etc/passwd", "/var/task/planted", "/planted", "/sys/kernel/uevent_helper", "/proc/sys/kernel/core_pattern", "/proc/self/uid_map", "/sys/fs/cgroup/planted", filepath.Join(n.data, "planted")},
		"services": []string{host(n.Gateway), host(n.API), host(n.S3), "169.254.169.254:80", "93.184.216.34:80", "10.0.0.1:22", "127.0.0.1:22"},
		"requests": [][2]string{
			{"GET", "/v1/apps"}, {"GET", "/v1/node"}, {"PUT", "/v1/apps/walls/kv/notes/keys/a"}, {"GET", "/v1/apps/walls/secrets"}, {"POST", "/v1/apps/walls/functions/neighbor/invoke"},
			{"GET", "/debug/pprof/"}, {"GET", "/metrics"}, {"GET", "/v1/logs"}, {"POST", "/v1/apps"}, {"GET", "/v1/apps/../../v1/apps"},
		},
		"stranger": stranger,
		"calls": [][]any{
			{"mount", unix.SYS_MOUNT, pointer, pointer, pointer, 0, 0}, {"umount", unix.SYS_UMOUNT2, pointer, 2}, {"pivot_root", unix.SYS_PIVOT_ROOT, pointer, pointer},
			{"fsopen", unix.SYS_FSOPEN, pointer, 0}, {"ptrace", unix.SYS_PTRACE, 16, 1}, {"process_vm_readv", unix.SYS_PROCESS_VM_READV, 1, pointer, 1, pointer, 1, 0},
			{"init_module", unix.SYS_INIT_MODULE, pointer, 1, pointer}, {"finit_module", unix.SYS_FINIT_MODULE, 0, pointer, 0}, {"kexec", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0},
			{"bpf", unix.SYS_BPF, 5, pointer, 128}, {"perf", unix.SYS_PERF_EVENT_OPEN, pointer, 0, 0, 0, 0}, {"userfaultfd", unix.SYS_USERFAULTFD, 1},
			{"io_uring", unix.SYS_IO_URING_SETUP, 8, pointer}, {"keyctl", unix.SYS_KEYCTL, 0, 0, 0, 0, 0}, {"add_key", unix.SYS_ADD_KEY, pointer, pointer, pointer, 1, 0},
			{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, 0, pointer, 0}, {"setns", unix.SYS_SETNS, 0, 0}, {"clone3", unix.SYS_CLONE3, pointer, 88},
			{"unshare users", unix.SYS_UNSHARE, unix.CLONE_NEWUSER}, {"unshare mounts", unix.SYS_UNSHARE, unix.CLONE_NEWNS}, {"unshare network", unix.SYS_UNSHARE, unix.CLONE_NEWNET},
			{"clone users", unix.SYS_CLONE, unix.CLONE_NEWUSER | int(unix.SIGCHLD), 0}, {"clone processes", unix.SYS_CLONE, unix.CLONE_NEWPID | int(unix.SIGCHLD), 0},
			{"clone mounts", unix.SYS_CLONE, unix.CLONE_NEWNS | int(unix.SIGCHLD), 0}, {"clone network", unix.SYS_CLONE, unix.CLONE_NEWNET | int(unix.SIGCHLD), 0},
			{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, 1, pointer, 1, pointer, 1, 0}, {"pidfd_getfd", unix.SYS_PIDFD_GETFD, 0, 0, 0}, {"request_key", unix.SYS_REQUEST_KEY, pointer, pointer, 0, 0},
			{"delete_module", unix.SYS_DELETE_MODULE, pointer, 0}, {"open_tree", unix.SYS_OPEN_TREE, 0, pointer, 1}, {"move_mount", unix.SYS_MOVE_MOUNT, 0, pointer, 0, pointer, 0},
			{"syslog", unix.SYS_SYSLOG, 2, pointer, 10}, {"swapon", unix.SYS_SWAPON, pointer, 0}, {"sethostname", unix.SYS_SETHOSTNAME, pointer, 1}, {"fanotify", unix.SYS_FANOTIFY_INIT, 0, 0},
			{"raw socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, 1}, {"packet socket", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 768},
			{"reboot", unix.SYS_REBOOT, 0, 0, 0, 0}, {"set the time", unix.SYS_SETTIMEOFDAY, pointer, 0}, {"chroot", unix.SYS_CHROOT, pointer},
		},
	}
}

// TestWalls has functions in three languages try to get out, and to use up what
// there is, while a neighbor is called all the time.
func TestWalls(t *testing.T) {
	n := wallsNode(t)
	key, err := os.ReadFile(filepath.Join(n.data, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	neighbor := answering(n)
	event, err := json.Marshal(temptations(t, n))
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range []string{"python", "node", "native"} {
		var got struct {
			Escaped []string
			Held    int
		}
		r := n.direct("walls", fn, string(event))
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != 200 || len(got.Escaped) > 0 || got.Held < 80 {
			t.Errorf("%s: %d %s", fn, r.status, r.body)
		}
		for _, bomb := range []string{"memory", "disk", "descriptors", "threads", "processes", "frames"} {
			if bomb == "frames" && fn == "native" {
				continue // it has none
			}
			r := n.direct("walls", fn, `{"bomb":"`+bomb+`"}`)
			// What a function uses up ends its call, or its instance.
			if held := r.status == 200 && strings.HasPrefix(r.body, `"held`); !held && r.status != 502 && r.status != 504 {
				t.Errorf("%s, %s: %d %s", fn, bomb, r.status, r.body)
			}
			if bomb == "memory" && fn != "python" && !strings.Contains(r.body, "OutOfMemory") && n.tier() == "full" {
				t.Errorf("%s, %s: %d %s", fn, bomb, r.status, r.body)
			}
		}
	}
	if right, wrong := neighbor(); right < 10 || len(wrong) > 0 {
		t.Errorf("the neighbor answered %d times, and wrongly: %q", right, wrong)
	}
	if now, err := os.ReadFile(filepath.Join(n.data, "root.key")); err != nil || !bytes.Equal(now, key) {
		t.Error("the root key changed: ", err)
	}
	n.stop()
}

// slips are archives that want to be unpacked elsewhere.
func slips(t *testing.T, outside string) map[string][]byte {
	t.Helper()
	up := strings.Repeat("../", 20)
	zipped := func(name string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range []string{"app.py", name} {
			f, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(f, version1)
		}
		w.Close()
		return b.Bytes()
	}
	tarred := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range append(headers, tar.Header{Name: "app.py", Typeflag: tar.TypeReg}) {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeReg {
				h.Size = int64(len(version1))
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				io.WriteString(w, version1)
			}
		}
		w.Close()
		return b.Bytes()
	}
	return map[string][]byte{
		"up.zip": zipped(up + outside), "root.zip": zipped(outside), "up.tar": tarred(tar.Header{Name: up + outside, Typeflag: tar.TypeReg}),
		"link.tar": tarred(tar.Header{Name: "d", Linkname: filepath.Dir(outside), Typeflag: tar.TypeSymlink}, tar.Header{Name: "d/outside", Typeflag: tar.TypeReg}),
		"hard.tar": tarred(tar.Header{Name: "passwords", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}),
		"node.tar": tarred(tar.Header{Name: "memory", Devmajor: 1, Devminor: 1, Typeflag: tar.TypeChar}),
	}
}

func TestSlipsAreRefused(t *testing.T) {
	needs(t, "python3")
	n := start(t, t.TempDir(), "serve")
	outside := filepath.Join(t.TempDir(), "outside")
	for name, data := range slips(t, outside) {
		dir := app(t, map[string]string{"mayfly.yaml": strings.ReplaceAll(pythonManifest, "./hello", "./"+name), name: string(data)})
		if out, code := n.cli("deploy", dir); code == 0 {
			t.Errorf("%s was deployed:\n%s", name, out)
		}
		if _, err := os.Lstat(outside); err == nil {
			t.Fatalf("%s was unpacked elsewhere", name)
		}
	}
	n.stop()
}

// TestRootless runs a node as a user without any privilege.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests run without privilege")
	}
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("/usr/bin/python3 is not on this machine")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "mayfly-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, filepath.Join(dir, "app", "mayfly.yaml"), pythonManifest)
	write(t, filepath.Join(dir, "app", "hello", "app.py"), "import os\ndef handler(event, context):\n    return f'{os.getuid()} {os.getcwd()}'\n")
	exe, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mayfly"), exe, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { return os.Chown(path, nobody, nobody) }); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, data: filepath.Join(dir, "data"), out: &output{}, done: make(chan struct{})}
	ready := filepath.Join(dir, "ready.json")
	n.cmd = exec.Command(filepath.Join(dir, "mayfly"), "dev", filepath.Join(dir, "app"), "--data", n.data, "--gateway", "127.0.0.1:0", "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--ready-file", ready)
	n.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir}
	n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = dir, n.out, n.out
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.err = n.cmd.Wait(); close(n.done) }()
	t.Cleanup(n.kill)
	n.await(ready)
	tier := n.tier()
	if tier == "plain" {
		t.Skip("this machine does not let users make namespaces; `mayfly doctor` says more")
	}
	if r := n.call("GET", "/hello", ""); r.body != "1000 /var/task" {
		t.Errorf("got %d %q", r.status, r.body)
	}
	if out, code := n.cli("invoke", "hello", "-v"); code != 0 || !strings.Contains(out, "isolation "+tier) {
		t.Errorf("invoke -v: exit %d\n%s", code, out)
	}
	if tier == "full" { // cgroups were delegated to the user
		return
	}
	wants := app(t, map[string]string{"mayfly.yaml": strings.ReplaceAll(pythonManifest, "timeout: 5s", "require_isolation: full"), "hello/app.py": version1})
	if out, code := n.cli("deploy", wants); code == 0 || !strings.Contains(out, "require_isolation is full") {
		t.Errorf("a function that requires more: exit %d\n%s", code, out)
	}
	n.stop()
}

// below are the processes below pid that run.
func below(pid int) (all []int) {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], id)
		}
	}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// born is when a process began, which tells it from a later one with its id; ""
// where it does not run.
func born(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); len(f) > 19 && f[0] != "Z" {
		return f[19]
	}
	return ""
}

// left finds later which of a node's processes and cgroups are still there.
func (n *node) left() func() []string {
	groups, births := groupsOf(below(n.cmd.Process.Pid)), map[int]string{}
	for _, id := range below(n.cmd.Process.Pid) {
		births[id] = born(id)
	}
	return func() (left []string) {
		for id, when := range births {
			if when != "" && born(id) == when {
				left = append(left, "process "+strconv.Itoa(id))
			}
		}
		for _, dir := range groups {
			if _, err := os.Stat(dir); err == nil {
				left = append(left, dir)
			}
		}
		return left
	}
}

// groupsOf are the cgroups of cells of the nodes that processes are in.
func groupsOf(pids []int) (groups []string) {
	nodes := map[string]bool{}
	for _, pid := range pids {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		for part := range strings.FieldsFuncSeq(string(b), func(r rune) bool { return r == '/' || r == '\n' }) {
			if strings.HasPrefix(part, "mayfly-") {
				nodes[part] = true
			}
		}
	}
	for name := range nodes {
		for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
			found, _ := filepath.Glob(pattern + "/c*[0-9]")
			groups = append(groups, found...)
		}
	}
	return groups
}

// TestSoak kills instances at random under load, then lets the node go to zero:
// it must not hold more than it did. bench's soak does so for half an hour.
func TestSoak(t *testing.T) {
	needs(t, "python3", "node")
	dir := app(t, map[string]string{"mayfly.yaml": `
app: soak
defaults: {keep_alive: 100ms, timeout: 60s}
functions:
  python: {runtime: python, source: ./python, handler: app.handler, template: "off", egress: ["localhost:1"]}
  forks: {runtime: python, source: ./python, handler: app.forks}
  node: {runtime: node, source: ./node, handler: app.handler}
`, "python/app.py": `
import subprocess
def handler(event, context): return "ok"
def forks(event, context):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return "ok"
`, "node/app.js": "exports.handler = async () => 'ok'\n"})
	data := t.TempDir()
	n := start(t, data, "dev", dir)
	if n.tier() == "plain" {
		t.Skip("this machine has no walls; `mayfly doctor` says why")
	}
	pid := n.cmd.Process.Pid
	kills, answered := 0, 0
	for i := range 60 {
		r := n.direct("soak", []string{"python", "forks", "node"}[i%3], "{}")
		if r.status == 200 {
			answered++
		}
		all := below(pid)
		victim := all[rand.IntN(len(all))]
		name, _ := os.ReadFile("/proc/" + strconv.Itoa(victim) + "/comm")
		if s := strings.TrimSpace(string(name)); s != "" && s != "mayfly-keeper" && s != "mayfly-nursery" && syscall.Kill(victim, syscall.SIGKILL) == nil {
			kills++
		}
	}
	if answered < 20 || kills < 20 {
		t.Errorf("%d of 60 calls were answered, %d processes killed", answered, kills)
	}
	eventually(t, "each function answers again", func() bool {
		for _, fn := range []string{"python", "forks", "node"} {
			if n.direct("soak", fn, "{}").status != 200 {
				return false
			}
		}
		return true
	})
	// What is started ahead stays; of what the calls left, nothing does.
	eventually(t, "no process of an instance is left", func() bool {
		for _, id := range below(pid) {
			if line, _ := os.ReadFile("/proc/" + strconv.Itoa(id) + "/cmdline"); strings.HasPrefix(string(line), "sleep") {
				return false
			}
		}
		return true
	})
	eventually(t, "each cgroup has its cell", func() bool {
		cells := map[string]bool{}
		for _, dir := range groupsOf(below(pid)) {
			cells[filepath.Base(dir)] = true
		}
		inits := 0
		for _, id := range below(pid) {
			if name, _ := os.ReadFile("/proc/" + strconv.Itoa(id) + "/comm"); strings.TrimSpace(string(name)) == "mayfly-init" {
				inits++
			}
		}
		return len(cells) == 0 || len(cells) == inits
	})
	left := n.left()
	n.kill()
	eventually(t, "nothing is left of a node that was killed", func() bool { return len(left()) == 0 })
	n = start(t, data, "dev", dir)
	if r := n.direct("soak", "python", "{}"); r.status != 200 {
		t.Errorf("the next node answered %d %s", r.status, r.body)
	}
	left = n.left()
	n.stop()
	eventually(t, "nothing is left of a node that stopped", func() bool { return len(left()) == 0 })
}
