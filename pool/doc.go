// Package pool keeps the instances of every version on this node: it hands a
// free one to a call, starts more when starting is quicker than waiting, and
// lets them go when they are idle.
//
//	Acquire ──► free slot ─────────────► Lease ──► Release
//	   │  none                             ▲
//	   ▼                                   │
//	queue (bounded) ──► start (coalesced) ─┘
//
// When to start, keep, freeze and evict is decided in package schedule; this
// package carries it out.
//
// Invariants:
//   - an instance never has more than Spec.PerInstance leases
//   - ready + starting instances of a version never exceed its max
//   - a call that waits is in the queue of exactly one group, and leaves it by
//     a lease, by an error, or by its context
//   - an instance with a lease is never stopped by the pool, but by Discard
package pool
