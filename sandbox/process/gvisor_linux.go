package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where a cell has gVisor's program and what it is to run.
const (
	runscPath = "/opt/mayfly/runsc"
	runscTask = "/opt/mayfly/gvisor"
)

// gvisorCalls are what gVisor needs besides what programs may: it runs the
// program's threads by ptrace and seccomp, and puts itself into namespaces, all
// within the cell's.
var gvisorCalls = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_SETHOSTNAME,
}

// newGVisorFilter assembles the filter of gVisor itself.
func newGVisorFilter() ([]byte, error) {
	f := &filter{}
	f.begin()
	for _, number := range deniedCalls {
		if !slices.Contains(gvisorCalls, number) {
			f.call(number, errnoOf(unix.EPERM))
		}
	}
	f.add(bpf.RetConstant{Val: seccompAllow})
	return f.assemble()
}

// gvisor makes a command one that runs in gVisor within the cell. Its kernel in
// user space then answers the program's system calls; the cell holds gVisor as
// it would hold the program. gVisor uses the cell's network as it is: doors and
// egress are those of every cell. Of the platforms, systrap alone works on
// virtual machines without nested ones.
func (h *walled) gvisor(p *Process, cmd Command) (Command, error) {
	runsc, err := findRunsc()
	if err != nil {
		return cmd, err
	}
	dir := filepath.Join(p.dir, "gvisor")
	if err := h.writeTask(dir, taskOf(p, cmd)); err != nil {
		return cmd, fmt.Errorf("write what gVisor is to run: %w", err)
	}
	args := []string{"--rootless", "--network=host", "--platform=systrap", "--ignore-cgroups", "--overlay2=none", "--root=/dev/shm/runsc", "run", "--bundle=" + runscTask}
	for i := range cmd.Files {
		fd := strconv.Itoa(3 + i)
		args = append(args, "--pass-fd="+fd+":"+fd)
	}
	cmd.Path, cmd.Args = runscPath, append(args, "cell")
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin", "TMPDIR=/tmp"}, "/"
	cmd.Binds = append(cmd.Binds[:len(cmd.Binds):len(cmd.Binds)], Bind{Source: runsc, Target: runscPath}, Bind{Source: dir, Target: runscTask})
	return cmd, nil
}

// writeTask writes the task where the cell's user alone can read it: it has the
// function's environment.
func (h *walled) writeTask(dir string, task any) error {
	b, err := json.Marshal(task)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, b, 0o400); err != nil {
		return err
	}
	if id := int(h.cell.users.program); id != 0 {
		for _, path := range []string{file, dir} {
			if err := os.Chown(path, id, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// taskOf is cmd as the OCI runtime specification has it. The program is root of
// gVisor's world without any capability there; in the cell it is the cell's
// user.
func taskOf(p *Process, cmd Command) any {
	type object = map[string]any
	tmp := strconv.FormatInt(int64(cmd.Assignment.withDefaults().Tmp), 10)
	dir := cmd.Dir
	if dir == "" && cmd.Bundle != "" {
		dir = TaskDir
	}
	if dir == "" {
		dir = "/"
	}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "args": append([]string{cmd.Path}, cmd.Args...), "env": append(p.doorEnv(), cmd.Env...), "cwd": dir, "noNewPrivileges": true,
			"rlimits": []object{{"type": "RLIMIT_NOFILE", "soft": maxFiles, "hard": maxFiles}},
		},
		"root": object{"path": "/", "readonly": cmd.Image == ""}, // an image's is an overlay of the cell's
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=1777", "size=" + tmp}},
			{"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=1777"}},
		},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}},
	}
}
