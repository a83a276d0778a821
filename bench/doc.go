// Command bench measures a built mayfly from outside, next to what the same
// machine does without it in the same run.
//
//	go run ./bench [flags] [names…]
//
// It builds the binary (or takes --binary), writes small applications into a
// temporary folder, starts the daemon on free ports of the loopback, and ends
// what it started. Every figure comes from its own load generator: a closed loop
// of N connections that are kept open, each with one request under way.
//
// Terms:
//
//	case     one line of a table: a runtime, or a peer
//	peer     a plain program that does the same without the platform
//	round    one pass over all cases of a table; cases take turns, so that a slow
//	         spell of the machine falls on all; figures are medians of rounds
//	ratio    a case's figure beside a peer's of the same run
package main
