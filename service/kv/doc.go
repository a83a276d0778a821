// Package kv is the key-value service: get, put, delete, list, time to live,
// compare-and-set, increment, atomic batches, watch, and changes that call
// functions.
//
// Terms:
//
//	store      one app's map from keys to values, declared under `kv:`
//	shard      one of a fixed number of logs; a store lies in one shard whole
//	record     one entry of a shard's log: the operations of one group commit
//	revision   a number that grows with every write of a shard; a value carries
//	           the one that wrote it, and compare-and-set names it
//	change     a write to a store that a function listens to, with the value
//	           before and the value after
//
// A shard has one writer. Writers queue; whoever finds the shard idle takes all
// that wait, decides them one after another against memory, and appends what
// they do as one record, so that one sync of the disk serves many writers and a
// batch is in the log whole or not at all. Then memory follows and the writers
// are told. Reads are served from memory: all keys, and values up to a bound;
// the others are read from the log.
//
//	put, delete, batch ──► pending ──► decide ──► log (fsync) ──► memory ──► watchers
//	get, list          ◄──────────────────────────────────────── memory    └► changes ──► functions
//
// The log is cleaned from its beginning: operations that still count move to its
// end, the rest is dropped. A record with changes stays until they are delivered.
//
// Invariants: memory never shows a write that is not in the log. Revisions of a
// shard grow in the order of its log, but for operations that cleaning moved. A
// change is delivered at least once, also after a crash.
package kv
