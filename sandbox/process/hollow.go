package process

import (
	"context"
	"os"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Cell is a hollow cell: namespaces, a private root, a cgroup and an init, but
// no program yet. A child that a template forks becomes the program. It is
// used once; Close it unless Adopt succeeded.
//
// The driver sends the child Namespaces and Filter (over a socket that the
// template has from Command.Files). A fresh child of the template, which has
// one thread, must do this in order:
//
//	for each of Namespaces: setns(fd, 0)
//	    The first is the user namespace. Its owner is the template's user, so
//	    that entering it needs no privilege and gives every capability, within
//	    the cell alone. The second decides what the children of the caller are.
//	    Entering the third moves root and working folder into the cell.
//	fork: only the child of this fork is in the cell's process namespace and
//	    becomes the program. Its parent exits at once.
//	in the program: close the namespaces' descriptors
//	prctl(PR_CAPBSET_DROP, n) for n in 0..40, then capset of nothing
//	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, Filter), which takes setns away
//	setsid(), chdir("/var/task")
//
// Then it tells the driver, which learns its process id from the socket
// (SO_PEERCRED of a connection that the program makes, or SCM_CREDENTIALS with
// a message) and calls Adopt. A template that lies can only keep within its
// own cells what the cell's user namespace gives: the filter that it inherited
// still denies mounts, new namespaces, tracing and raw sockets.
//
// A hollow cell lives within its template's cell: when the template ends, it
// and all its hollow cells end.
type Cell struct {
	launcher *Launcher
	template *Process
	given    Assignment
	began    time.Time
	hollow
}

// Hollow makes a cell for a child of p, which was started as a Template. Code
// Unavailable where the machine has no walls: a plain template's children are
// ordinary processes.
func (p *Process) Hollow(ctx context.Context, a Assignment) (*Cell, error) {
	if a.Isolation == IsolationGVisor {
		return nil, mayfly.Errorf(mayfly.Unavailable, "hollow sandbox", "gVisor's programs cannot be forked into other sandboxes")
	}
	if err := p.launcher.check(a); err != nil {
		return nil, err
	}
	c := &Cell{launcher: p.launcher, template: p, given: a, began: time.Now()}
	if err := c.make(ctx, a.withDefaults()); err != nil {
		return nil, startError("hollow sandbox", err)
	}
	return c, nil
}

// Namespaces are what a child enters, in this order. The Cell closes them.
func (c *Cell) Namespaces() []*os.File { return c.namespaces }

// Filter is the system call filter for the child, an array of the kernel's
// struct sock_filter, 8 bytes each.
func (c *Cell) Filter() []byte { return c.filter }

// Adopt makes the process with this id on this machine the cell's program. It
// must be in the cell (code denied otherwise). Its cgroup is set while it runs.
// The Process owns the cell from here on.
func (c *Cell) Adopt(ctx context.Context, pid int) (*Process, error) {
	p, err := c.launcher.register()
	if err != nil {
		return nil, err
	}
	if err := c.adopt(ctx, p, pid); err != nil {
		p.abandon()
		return nil, startError("adopt forked process", err)
	}
	p.tier = c.template.tier
	p.assigned = true
	p.openDoors(c.given.Who)
	p.started = time.Since(c.began)
	if err := p.show(ctx, c.given); err != nil {
		p.Close()
		return nil, startError("show secrets", err)
	}
	return p, nil
}
