// Package meter is the ledger of what calls used, and what that costs.
//
// Terms:
//
//	usage     requests, memory time, CPU time and bytes of a function's version
//	          in one second
//	journal   a ring of fixed records in a mapped file: a call is in it before
//	          its caller's goroutine goes on
//	ledger    usage by version and second in SQLite; by hour when it is older
//	sheet     a price list, as data: the same usage can be priced under each
//	budget    what an app may cost in a calendar month (UTC)
//
// Usage is never derived from metrics, logs or samples. It is exact across the
// death of the process at any moment:
//
//	Invocation ──▶ journal (one store into shared memory) ──▶ each 250 ms, in one
//	                                                          transaction: add to
//	                                                          usage, note the
//	                                                          journal's position
//
// The kernel holds the mapped pages, so that a killed process loses no record.
// Opening replays the records behind the noted position. A machine that loses
// power may lose the last seconds.
package meter
