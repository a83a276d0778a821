// Package frame is how the daemon talks to a worker: a process that runs a
// function's code in its own interpreter (sandbox/python, sandbox/node). One
// Unix socketpair, descriptor 3 in the worker, carries frames both ways; many
// calls may be under way at once, told apart by the id of the request.
//
//	 0        4        8      9      10       12
//	+--------+--------+------+------+--------+----------------+----------------+
//	| size   | id     | kind | flags| head   | head bytes     | body           |
//	+--------+--------+------+------+--------+----------------+----------------+
//	  uint32   uint32   uint8  uint8  uint16   fields            size-head bytes
//
// Integers are little-endian; size counts what follows the header. An event and
// a result travel as a body, byte for byte, so that the daemon neither parses
// nor re-encodes JSON. A call's fields are lines of text, which an interpreter
// splits faster than it parses anything else.
//
//	daemon                                     worker
//	                                     Hello   started, no function yet
//	Load    {handler, env, …}          →
//	                                   ← Loaded  {phases}   or  Failed {error}
//	Call    id, fields; event          →
//	                                   ← Log     id, stream and level; a line
//	                                   ← Result  id; JSON   or  Error id; JSON
//
//	a streamed reply                   ← Head    id, {status, headers}; first bytes
//	                                   ← Chunk   id; bytes
//	Window  id, n more bytes           →          at most Window bytes are under way
//	Cancel  id                         →          nobody reads any more
//	                                   ← End     id; error where it failed
//
//	Fork    + descriptors              →          a template only: the child's
//	                                              socket, its output, its namespaces
//	                                   ← Hello    of the child, on its own socket
//	                                   ← Ended    a child's wait status
//
// A worker ends at SIGTERM, politely, and when its end of the socket closes.
//
// Worker frames come from untrusted code, which can write to descriptor 3 what
// it likes. The reader therefore bounds every size before it allocates, ends
// the connection at the first malformed frame, and drops a frame whose id has
// no call. A connection belongs to one instance, so that a worker can answer
// none but its own calls.
//
// Terms:
//
//	Conn      the daemon's end of one socketpair
//	Worker    a process with a Conn, loaded with one version; a sandbox.Instance
//	Stock     workers started ahead, that nobody calls yet
//	Lines     turns output into log lines, within a budget
package frame
