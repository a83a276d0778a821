// Package daemon is all wiring: it makes one node out of the other packages,
// starts its parts in one group, and stops them in order.
//
//	config.go   what a node can be told
//	catalog.go  the drivers of every runtime, trigger and service
//	daemon.go   New, Run
//	state.go    what a deploy changes in the running node
//	specs.go    from a version to what its sandbox needs
package daemon
