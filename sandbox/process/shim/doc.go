// Package shim is the part of Mayfly that runs inside cells: the daemon starts
// its own executable again, and this package takes the process over before
// anything else of the program has run.
//
//	daemon ──exec──▶ keeper ──fork──▶ nursery ──fork──▶ init ──fork, exec──▶ program
//	        socket          socket           socket        (one per cell)
//
//	keeper    sees the machine's files and hands out detached mounts of them;
//	          the last to go when the daemon dies
//	nursery   sees the private root that every cell gets a copy of
//	init      the first process of a cell's pid namespace: mounts, listens,
//	          starts the program, reaps
//
// Each of the three runs the same loop: it reads a message from its socket,
// acts, answers. They trust the daemon, and nothing else talks to them.
//
// # Why it is so small
//
// The daemon's executable is large and its packages take long to initialise.
// Go initialises packages in the order of their import paths among those whose
// imports are done (go.dev/ref/spec#Program_initialization), and this package
// imports syscall and unsafe alone. So it comes before os, fmt, reflect, and
// whatever needs one of those. It must stay so; a test checks its imports.
//
// # Why it forks
//
// The keeper is a Go process which never collects garbage (GOGC=off) and whose
// other threads idle. The nursery and the inits are forked from it by the raw
// system call and have one thread each, which shares nearly all its memory with
// them: an init costs some 250 KiB and starts within the time of its
// namespaces. Code that runs in them calls the kernel by RawSyscall only, so
// that the Go scheduler, which has no other thread there, is never asked.
// They may allocate: the heap is theirs and no collection ever starts.
package shim
