// Package trigger is the contract of what turns something outside into calls
// of functions: a queue's messages, a schedule, a topic's events, a webhook.
//
// Terms:
//
//	binding   one entry of a function's `on:`, with what it belongs to
//	driver    runs every binding of one kind (a folder below this one)
//	event     the bytes that a call hands to the handler
//	crew      what runs a worker for each binding, while bindings come and go
//	source    what a driver of a server outside, such as nats, embeds: it keeps
//	          a consumer for each binding
//	link      one such binding's connection, and how it fares; the package
//	          source lists the links of all drivers for people
//
// A driver is told the complete wanted set of bindings after each deploy and
// makes reality follow it. It calls functions through an Invoker, always with
// the trace of what caused the call, the attempt and the hop count.
package trigger
