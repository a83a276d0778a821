// Package stream lets functions consume a topic's events in order, by partition.
//
// The events of one key (the topic's partition_by, by default the event's
// subject) are in one partition. A partition has one call at a time: a batch is
// dealt with, and its place noted, before the next. Partitions go on beside one
// another, so `partitions` is how many calls there are at once.
//
//	journal ──▶ partition 0: batch ──▶ function ──▶ checkpoint
//	        ──▶ partition 1: …
//
// The function gets the event of a Kinesis stream, each record's data being the
// CloudEvent in base64, and may answer batchItemFailures with a sequence number:
// what came before is done, and the rest of the batch comes again. A batch that
// fails is tried again, with bisect_on_error in halves; after `attempts` its
// events are dead letters, and the partition goes on.
//
// Checkpoints are noted a few times a second. After kill -9, what was done since
// then comes again, in order.
//
// With tumbling_window, a call gets the state that the call before it in the
// window returned; the last call of a window has isFinalInvokeForWindow and no
// records, after which the state is empty. An event is in the window of the time
// at which it was accepted.
package stream
