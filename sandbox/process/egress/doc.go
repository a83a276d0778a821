// Package egress is the way out of a cell: a network stack in the daemon (that
// of gVisor) at the other end of a cell's only network device. It lets through
// what a function's egress lines name, and tells of everything else.
//
//	program ── eth0 (TUN) ── Stack ── Gate ── the daemon's own sockets
//	        ── UDP port 53 of the cell's loopback ── Gate ── resolver
//
// Names are answered by the daemon, for allowed names only, and each answer is
// remembered: a connection to an address is allowed where that address was an
// answer for a name with that port, or is within a named network. Addresses
// that are not public (private, loopback, link-local, the clouds' metadata) are
// open only where the address or its network is named, so that a name which
// resolves to one (DNS rebinding) leads nowhere.
//
// A function without egress lines has no device and no Stack, but its names are
// refused by a Gate all the same, so that its owner is told what to add.
//
// A cell has IPv4 only. Names that have IPv6 addresses alone cannot be reached.
package egress
