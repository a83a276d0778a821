// Package event keeps items that must not be lost until somebody has dealt with
// them: asynchronous calls, the messages of queues, the events that wait for a
// subscriber, dead letters. It is the mechanism below every durable trigger.
//
// Terms:
//
//	store    a fixed number of shards
//	shard    one log, written by this process alone, and an index of it in memory
//	lane     the items for one receiver: a queue, a function, a subscription
//	item     opaque bytes with an id, a time before which it sleeps, a key
//	lease    an item that a receiver holds, until it says how it went
//	attempt  a delivery that was counted; a release is not counted
//	key      items of a lane with one key are dealt with one after the other
//
// Protocol. A shard's log holds records; a record holds many entries and is one
// durable write (group commit: whatever arrives while one write runs goes into
// the next). There are three entries:
//
//	put   an item with its number           (numbers of a shard only rise)
//	fail  an item's attempt failed; when to try again
//	done  items that are finished, by number
//
// Memory holds numbers, not items: 8 to 16 bytes for an item that waits. Bodies
// are read from the log when their turn comes; what was just written is still
// cached. At start the log is read once and the index is what it says.
//
// A fourth entry, seen, repeats deduplication ids that still count, so that the
// records of their items can be cut off.
//
// Invariants:
//
//   - An item is offered only after its put is durable.
//   - A finished item is never offered again in this process. Its done entry
//     is written with the next record, so that after kill -9 the items that
//     finished in the last few milliseconds come again. Nothing else does but
//     leases that were open.
//   - A log is cut off before the first record with an unfinished item. When
//     few old items hold back much, they are put again, under their numbers.
//   - At most one item of a key is leased; an item that failed keeps its place.
package event
