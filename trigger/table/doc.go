// Package table calls functions with the committed changes of a table.
//
// Terms:
//
//	source     the database service, whose change log has exactly what was
//	           committed, in the order of the commits
//	position   how far in the log a binding was told; kept beside the log
//	follower   what reads the log for one binding and calls its function
//
// A follower calls its function with batches of changes, one call at a time, so
// that order is kept. A batch that fails is tried again before anything after
// it; one that failed too often is set aside as an ordinary asynchronous call,
// with that call's own retries and dead letter, and the follower goes on. A
// function that returns batchItemFailures has its earlier items counted as done.
// Delivery is at least once: the position follows the call.
package table
