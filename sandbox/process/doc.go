// Package process runs programs behind walls: namespaces, a private root, no
// capabilities, a seccomp filter, cgroups, a closed network. It is the
// mechanism that the drivers of process-shaped runtimes share; it is not itself
// a sandbox.Driver.
//
// Terms:
//
//	cell     one set of namespaces with a private root, a cgroup and an init
//	init     this executable, started again as the cell's first process
//	door     a loopback port inside a cell that the daemon serves; the listener
//	         that accepted a connection tells which function called
//	stock    cells made ahead of need
//	assign   to give a running, still anonymous program its function
//	hollow   a cell without a program, whose namespaces a forked child enters
//
// A start from stock is one message to the cell's init, which mounts the
// bundle, forks, drops every privilege and executes the program:
//
//	Launcher.Start ── equip and exec: mounts, pipes, sockets ──▶ init
//	               ◀── pidfd, listeners ─────────────────────────┘
//	               ◀── how the program ended, once the cell is empty
//
// The processes on the other side, and why they are as they are, are described
// in package shim; the way out of a cell in package egress.
//
// What a program sees: the machine's /usr (and /bin, /lib, …) read-only, an
// /etc without the machine's secrets, five devices, its own /proc, /tmp and
// /dev/shm in memory, the bundle at /var/task, secrets below /run/secrets. It
// runs as user 1000. Where the daemon is root, that is a user of its own on the
// machine too, so what is shown to it must be readable by everybody.
//
// When the daemon dies, however it dies, its cells end: each init has a socket
// to it, and leaves when that is closed. New sweeps what is left: empty cgroups,
// and processes that a v1 freezer held back.
//
// Where the machine allows no walls, programs are ordinary processes with the
// same methods (plain.go), and Tier says so.
package process
