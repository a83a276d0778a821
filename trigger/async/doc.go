// Package async runs asynchronous calls: accepted durably, then run, retried
// and, where they cannot succeed, kept as dead letters.
//
// Each function is a lane of the store. A worker takes its calls as fast as the
// function lets it: the number in flight grows with each success and halves
// when a call is throttled, which is not counted as an attempt. A function that
// is slow or has no capacity holds its own lane only.
//
// A call is run at least once. It runs twice when the daemon is killed after the
// function replied and before that is written (a few milliseconds), and when an
// instance was running it at that moment. The call's id is the same both times.
package async
