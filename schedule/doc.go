// Package schedule decides, and does nothing else: when to start an instance,
// how long to hold it, which to give up, when to try again. It reads no clock and
// no random source: now and seeds are arguments. The pool and the simulator
// (schedule/simulate) run the same code.
//
// Terms:
//
//	load        what a pool knows when it decides whether to start an instance
//	idle time   from the end of a function's last running call to its next call
//	window      how long an instance is held, and when one is started ahead
//	market      one price of idle memory for a node, so that every GB·s is held
//	            where it saves the most waiting
//	worth       what an instance costs to hold and saves when it is called
//	resident    an instance as eviction under memory pressure sees it
//	backoff     how attempts are spaced
package schedule
