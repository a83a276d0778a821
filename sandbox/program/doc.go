// Package program is the part of an instance that is the same for every driver
// whose functions are programs of their own (sandbox/binary, sandbox/httpserver,
// sandbox/container): a process in a cell, its output as log lines, its
// environment, its end.
//
//	Program   a process in a cell; a sandbox.Instance but for Call
//	Web       a Program that serves HTTP on a port of its cell; a sandbox.Instance
//	          and a sandbox.Server
//	Poller    a Program that asks the Lambda Runtime API for events; a
//	          sandbox.Instance
//	Line      a command line of a manifest, parted into words
//
// # Events for programs that serve HTTP
//
// A Web gets each HTTP call as the request it was. Any other call is a POST to /
// with the event as its body:
//
//	direct        Content-Type: application/json
//	topic         a CloudEvent in binary mode: ce-* headers, its data as the body;
//	              several at once as application/cloudevents-batch+json
//	other         application/json with ce-id (the invocation), ce-source
//	              (/mayfly/APP/TRIGGER), ce-type (mayfly.TRIGGER), ce-specversion
//
// All of them carry Traceparent, X-Request-Id (the invocation) and
// X-Mayfly-Trigger, X-Mayfly-Attempt and X-Mayfly-Deadline-Ms. The answer's body
// is the function's result; a status outside 200–299 is its failure.
package program
