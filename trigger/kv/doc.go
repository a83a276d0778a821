// Package kv calls functions when a key of a key-value store changes.
//
// The service hands over each committed change of a store that functions listen
// to, in order, and again until Deliver succeeds. Deliver makes one durable
// asynchronous call per matching binding, with an id that is the same for the
// same change and binding, so that a repeated delivery can be recognised.
// Changes are accepted in the order of their commits; retries of a failed call
// may let a later one finish first, which a handler sees from the revisions.
package kv
