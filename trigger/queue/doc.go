// Package queue is durable work queues: sent to by anybody who may, received by
// functions in batches, or over HTTP by any program.
//
// A queue is a lane of the store of QUEUE logs. The number of logs is fixed; a
// queue costs memory only. Messages of functions come in the shape of SQS, so
// that existing handlers run: Records, and batchItemFailures in the reply.
//
// A message is received at least once. It comes twice when the daemon is killed
// between a function's reply and the next write, a few milliseconds later; when
// a receiver lets its lease end; when a function fails after it did its work.
// ApproximateReceiveCount counts failed attempts and this one.
//
// With order_by, messages of one key come one after the other in the order in
// which they were accepted, also through failures and restarts: a message that
// waits for its next attempt holds its key, and only its key.
package queue
