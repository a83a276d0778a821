// Package runtimeapi serves the Lambda Runtime API (version 2018-06-01) to the
// program of one instance, over a listener that only that instance can reach.
// It is a mechanism that the binary and container drivers share; it knows
// nothing of processes.
//
//	program                               Server                        Call
//	GET  /runtime/invocation/next   ──►   parks the connection
//	                                ◄──   event, id, deadline     ◄──   event
//	POST /runtime/invocation/ID/response
//	                                ──►   202                     ──►   reply
//
// Terms:
//
//	poll      a connection that waits for the answer to its GET next
//	flying    a call whose event was handed to a poll and not answered yet
//
// The HTTP/1.1 server is our own: a parked poll is a connection in a list, and
// the goroutine of a call writes the event to it directly, so that a call costs
// one switch between goroutines instead of three. It reads only what the
// protocol uses: a request line, seven headers, bodies by length or in chunks.
//
// Sources: "Using the Lambda runtime API for custom runtimes" and "Response
// streaming" in the AWS documentation; status codes and error bodies follow
// aws-lambda-runtime-interface-emulator.
package runtimeapi
