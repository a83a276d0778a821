// Package invoke carries a call from its admission to its record:
//
//	admit    resolve the version by alias weight, ask the budget
//	acquire  a slot of an instance (package pool)
//	run      one event in, one reply out, within the function's timeout
//	record   what happened, to the Recorder, once and for every call
//
// Invariants:
//   - every admitted call is recorded exactly once, also when it never ran
//   - a call that overran has its answer at its deadline; its instance takes no
//     further call
//   - a caller that goes away does not end a handler that runs: its result is
//     dropped and its instance returns to the pool
//   - nothing is written to disk on the way
package invoke
