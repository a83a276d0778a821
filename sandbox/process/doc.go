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
package process
