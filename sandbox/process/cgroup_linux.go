package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-cloud/mayfly"
)

// memoryPerCPU is how much memory a whole processor goes with, as in Lambda
// (docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
const memoryPerCPU = 1769 * mayfly.MiB

// groupPrefix begins the names of a node's folders. The node's name follows,
// and after a dot one of each run: the keeper of a daemon that was killed
// removes its folders while the next daemon may already make its own.
const groupPrefix = "mayfly-"

// hierarchies says where this machine's cgroups are and who holds what. The
// unified (v2) hierarchy, where it is mounted, freezes, kills and counts
// processor time, even where the limits are v1's.
type hierarchies struct {
	unified string            // this node's folder in the v2 hierarchy, "" without
	v2      map[string]bool   // controllers usable in unified
	v1      map[string]string // this node's folder by v1 controller: memory, cpu, pids, freezer
}

// has reports whether a controller is there in either version.
func (h *hierarchies) has(controller string) bool {
	_, v1 := h.v1[controller]
	return v1 || h.v2[controller]
}

// folders are this node's in every hierarchy.
func (h *hierarchies) folders() (dirs []string) {
	if h.unified != "" {
		dirs = append(dirs, h.unified)
	}
	return slices.AppendSeq(dirs, maps.Values(h.v1))
}

// freezer is the v1 folder that processes are frozen in, "" where v2 does it.
func (h *hierarchies) freezer() string {
	if h.unified != "" {
		return ""
	}
	return h.v1["freezer"]
}

// findHierarchies makes this node's folders wherever the daemon may. It never
// fails: what cannot be used is absent.
func findHierarchies(run string, unified bool) *hierarchies {
	h := &hierarchies{v2: map[string]bool{}, v1: map[string]string{}}
	own := ownGroups()
	for _, m := range cgroupMounts() {
		if m.unified {
			if unified {
				h.useUnified(m.dir, own[""], run)
			}
			continue
		}
		for _, c := range m.controllers {
			switch c {
			case "memory", "cpu", "pids", "freezer":
				if dir := filepath.Join(m.dir, groupPrefix+run); makeGroup(dir) == nil {
					h.v1[c] = dir
				}
			}
		}
	}
	if h.unified != "" {
		removeGroup(h.v1["freezer"])
		delete(h.v1, "freezer")
	}
	return h
}

// useUnified makes this node's v2 folder where it grants most controllers:
// below the root, beside the daemon's own group, or below that.
func (h *hierarchies) useUnified(root, own, run string) {
	own = filepath.Join(root, own)
	var best string
	for _, parent := range []string{root, filepath.Dir(own), own} {
		if len(parent) < len(root) {
			continue
		}
		if parent == own && own != root {
			stepDown(own)
		}
		enable(parent)
		dir := filepath.Join(parent, groupPrefix+run)
		if makeGroup(dir) != nil {
			continue
		}
		enable(dir)
		got := controllers(filepath.Join(dir, "cgroup.subtree_control"))
		if best == "" || len(got) > len(h.v2) {
			removeGroup(best)
			best, h.v2 = dir, got
		} else if dir != best {
			removeGroup(dir)
		}
		if len(got) == len(wantedControllers) {
			break
		}
	}
	h.unified = best
}

// stepDown moves the daemon into a child of its group, where it is alone in it:
// a v2 group has either processes or controllers for its children. systemd's
// Delegate=yes gives a daemon such a group.
func stepDown(own string) {
	procs, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	pid := strconv.Itoa(os.Getpid())
	if err != nil || strings.TrimSpace(string(procs)) != pid {
		return
	}
	child := filepath.Join(own, "daemon")
	if makeGroup(child) == nil {
		put(child, "cgroup.procs", pid)
	}
}

// wantedControllers are those that limits need.
var wantedControllers = []string{"memory", "cpu", "pids"}

// weigh gives all cells together as much of a busy machine as that many
// processes outside would get. One, which is the kernel's default, is less than
// the daemon's own threads take, and what they then wait for is the cells.
func (h *hierarchies) weigh(processes int) {
	node := &group{h: h}
	dir := node.dir("cpu")
	switch {
	case dir == "":
	case h.v2["cpu"]:
		put(dir, "cpu.weight", strconv.Itoa(min(10_000, 100*processes)))
	default:
		put(dir, "cpu.shares", strconv.Itoa(1024*processes))
	}
}

// bound limits the memory of all cells together.
func (h *hierarchies) bound(memory mayfly.Bytes) error {
	node := &group{h: h}
	dir := node.dir("memory")
	if dir == "" || memory <= 0 {
		return nil
	}
	if err := node.limitMemory(dir, memory); err != nil {
		return fmt.Errorf("limit all sandboxes: %w", err)
	}
	return nil
}

// enable passes the controllers that cells need to dir's children, one by one:
// some may not be there.
func enable(dir string) {
	for _, c := range wantedControllers {
		put(dir, "cgroup.subtree_control", "+"+c)
	}
}

func controllers(file string) map[string]bool {
	set := map[string]bool{}
	b, _ := os.ReadFile(file)
	for _, c := range strings.Fields(string(b)) {
		set[c] = true
	}
	return set
}

// cgroupMount is a mounted hierarchy.
type cgroupMount struct {
	dir         string
	unified     bool
	controllers []string
}

// cgroupMounts reads /proc/self/mounts (fstab(5)).
func cgroupMounts() (all []cgroupMount) {
	b, _ := os.ReadFile("/proc/self/mounts")
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || f[2] != "cgroup" && f[2] != "cgroup2" {
			continue
		}
		all = append(all, cgroupMount{f[1], f[2] == "cgroup2", strings.Split(f[3], ",")})
	}
	return all
}

// ownGroups is /proc/self/cgroup: the daemon's group by controller list, v2's
// under "".
func ownGroups() map[string]string {
	own := map[string]string{}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.SplitN(s.Text(), ":", 3); len(f) == 3 {
			own[f[1]] = f[2]
		}
	}
	return own
}

func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// removeGroup removes an empty group. Its processes may just be leaving.
func removeGroup(dir string) error {
	if dir == "" {
		return nil
	}
	var err error
	for wait := time.Millisecond; wait < 2*time.Second; wait *= 2 {
		if err = unix.Rmdir(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(wait)
	}
	return fmt.Errorf("remove %s: %w", dir, err)
}

func put(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
}

// readKey is the number after key in a file of lines "key number".
func readKey(dir, file, key string) int64 {
	b, _ := os.ReadFile(filepath.Join(dir, file))
	return keyed(b, key+" ")
}

// group is one cell's cgroup in every hierarchy.
type group struct {
	h        *hierarchies
	name     string
	counters counters
}

// newGroup makes a cell's folders.
func (h *hierarchies) newGroup(name string) (*group, error) {
	g := &group{h: h, name: name}
	for _, dir := range g.dirs() {
		if err := makeGroup(dir); err != nil {
			g.remove()
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
	}
	return g, nil
}

// dir is the cell's folder for a controller, "" where there is none.
func (g *group) dir(controller string) string {
	if g.h.v2[controller] {
		return filepath.Join(g.h.unified, g.name)
	}
	if d, ok := g.h.v1[controller]; ok {
		return filepath.Join(d, g.name)
	}
	return ""
}

// unified is the cell's v2 folder.
func (g *group) unified() string {
	if g.h.unified == "" {
		return ""
	}
	return filepath.Join(g.h.unified, g.name)
}

func (g *group) dirs() []string {
	dirs := g.h.folders()
	for i, d := range dirs {
		dirs[i] = filepath.Join(d, g.name)
	}
	return dirs
}

// open is the v2 folder as a descriptor, for a process to start in; -1 without.
func (g *group) open() int {
	if g.unified() == "" {
		return -1
	}
	fd, err := unix.Open(g.unified(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// attach moves a process into the groups; unified says whether into v2's too.
// With v1 it can take tens of milliseconds: do it ahead of need.
func (g *group) attach(pid int, unified bool) error {
	for _, dir := range g.dirs() {
		if dir == g.unified() && !unified {
			continue
		}
		if err := put(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("attach to cgroup: %w", err)
		}
	}
	return nil
}

// limit sets what the cell may use. CPU is in proportion to memory when
// processors are contended, and at most one, or the proportion if that is more.
func (g *group) limit(memory mayfly.Bytes, pids int) error {
	var errs []error
	if dir := g.dir("memory"); dir != "" && memory > 0 {
		errs = append(errs, g.limitMemory(dir, memory))
	}
	if dir := g.dir("pids"); dir != "" && pids > 0 {
		errs = append(errs, put(dir, "pids.max", strconv.Itoa(pids)))
	}
	if dir := g.dir("cpu"); dir != "" && memory > 0 {
		errs = append(errs, g.limitCPU(dir, memory))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("limit cgroup: %w", err)
	}
	return nil
}

func (g *group) limitMemory(dir string, memory mayfly.Bytes) error {
	size := strconv.FormatInt(int64(memory), 10)
	if g.h.v2["memory"] {
		put(dir, "memory.swap.max", "0")
		if g.name != "" {
			put(dir, "memory.oom.group", "1")
		}
		return put(dir, "memory.max", size)
	}
	put(dir, "memory.use_hierarchy", "1") // the kernel's default since 5.11
	put(dir, "memory.memsw.limit_in_bytes", "-1")
	err := put(dir, "memory.limit_in_bytes", size)
	put(dir, "memory.memsw.limit_in_bytes", size) // where swap is counted
	return err
}

func (g *group) limitCPU(dir string, memory mayfly.Bytes) error {
	const period = 100_000 // µs
	share := float64(memory) / float64(memoryPerCPU)
	quota := strconv.Itoa(int(max(1, share) * period))
	if g.h.v2["cpu"] {
		put(dir, "cpu.max", quota+" "+strconv.Itoa(period))
		return put(dir, "cpu.weight", strconv.Itoa(min(10_000, max(1, int(share*100)))))
	}
	put(dir, "cpu.cfs_period_us", strconv.Itoa(period))
	put(dir, "cpu.cfs_quota_us", quota)
	return put(dir, "cpu.shares", strconv.Itoa(max(2, int(share*1024))))
}

// freeze stops or continues all processes of the cell.
func (g *group) freeze(on bool) error {
	if dir := g.unified(); dir != "" {
		return put(dir, "cgroup.freeze", map[bool]string{true: "1", false: "0"}[on])
	}
	dir := g.dir("freezer")
	if dir == "" {
		return mayfly.Errorf(mayfly.Unavailable, "freeze sandbox", "this machine has no cgroup freezer that the daemon may use")
	}
	return put(dir, "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[on])
}

// killedForMemory reports whether the kernel ended a process of the cell for
// its memory limit.
func (g *group) killedForMemory() bool {
	dir := g.dir("memory")
	switch {
	case dir == "":
		return false
	case g.h.v2["memory"]:
		return readKey(dir, "memory.events", "oom_kill") > 0
	}
	return readKey(dir, "memory.oom_control", "oom_kill") > 0
}

// remove frees the cell's folders; its processes are gone.
func (g *group) remove() error {
	g.counters.close()
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, removeGroup(dir))
	}
	return errors.Join(errs...)
}

// remove frees this node's folders, which hold no cells any more.
func (h *hierarchies) remove() {
	for _, dir := range h.folders() {
		removeGroup(dir)
	}
}

// sweepGroups ends what an earlier daemon left in this node's groups: cells of
// a daemon that was killed end by themselves, but for those that a v1 freezer
// holds.
func sweepGroups(node string) error {
	var errs []error
	own := ownGroups()
	for _, m := range cgroupMounts() {
		parents := []string{m.dir}
		if m.unified {
			group := filepath.Join(m.dir, own[""])
			parents = append(parents, group, filepath.Dir(group)) // the daemon may have stepped down
			parents = append(parents, filepath.Dir(filepath.Dir(group)))
		}
		for _, parent := range parents {
			runs, _ := filepath.Glob(filepath.Join(parent, groupPrefix+node+".*"))
			for _, dir := range runs {
				errs = append(errs, sweepGroup(dir))
			}
		}
	}
	return errors.Join(errs...)
}

func sweepGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	put(dir, "cgroup.kill", "1")
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			cell := filepath.Join(dir, e.Name())
			put(cell, "freezer.state", "THAWED")
			killAll(cell)
			errs = append(errs, removeGroup(cell))
		}
	}
	return errors.Join(append(errs, removeGroup(dir))...)
}

// killAll kills the processes of a group.
func killAll(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, line := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}
