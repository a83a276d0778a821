// Package wasm runs wasip1 commands (WebAssembly with WASI preview 1) by
// wazero: what Go, Rust, C, C++, Zig, AssemblyScript and TinyGo compile for that
// target, as it is.
//
// # A call
//
// Every call gets a fresh instance of the module: nothing lives from one call to
// the next. The handler is the exported function, "_start" where none is named.
// A module without it that exports _initialize has that run ahead of the call.
//
//	event     stdin: the event               stdout: the result; JSON, or text,
//	                                         which becomes a JSON string
//	HTTP      stdin: the request's body      stdout: a header block as CGI has it,
//	          environment: WAGI's            an empty line and the body; or a
//	                                         Lambda response {"statusCode": …};
//	                                         or any JSON; or text
//	both      environment: the manifest's env, and for this call
//	          MAYFLY_REQUEST_ID, MAYFLY_DEADLINE_MS, MAYFLY_TRIGGER,
//	          MAYFLY_ATTEMPT, MAYFLY_FUNCTION_ARN, TRACEPARENT, _X_AMZN_TRACE_ID
//
// A response with a header block streams: it leaves when it passes 16 KiB and
// whenever the module sleeps. stderr is the log. An exit status other than 0 is
// a failure whose message is the last line of stderr, or what stdout holds where
// that is {"errorType": …, "errorMessage": …}.
//
// WAGI's variables (https://github.com/deislabs/wagi): REQUEST_METHOD,
// PATH_INFO, QUERY_STRING, CONTENT_TYPE, CONTENT_LENGTH, REMOTE_ADDR,
// SERVER_NAME, SERVER_PORT, SERVER_PROTOCOL, SERVER_SOFTWARE, SCRIPT_NAME,
// GATEWAY_INTERFACE, X_MATCHED_ROUTE, X_FULL_URL, X_RAW_PATH_INFO, HTTP_* and,
// beyond WAGI, X_PARAM_NAME for each parameter of the route. HTTP_PROXY is never
// set from a request.
//
// # What a module may touch
//
// Nothing but the clock, random numbers and its streams. The bundle is shown
// read-only at / where it holds more than the module, and secrets that are files
// at /run/secrets. There are no sockets in wasip1. Linear memory is limited to
// the function's memory; the worker's own needs come on top (workerMemory).
//
// # Workers
//
// Modules run in worker processes, never in the daemon: a guest in a loop blocks
// Go's stop-the-world for as long as it runs, and interrupting it from inside
// (wazero's WithCloseOnContextDone) makes code 3 to 6 times slower. A worker is
// this executable, started again in a cell (see worker.go); it speaks the frames
// of sandbox/frame and runs one call at a time, so that ending an overrun, by
// SIGKILL of the worker, harms no other.
//
//	Prepare    a worker compiles the module into the cache on disk
//	spare      a worker of a version with the module loaded, waiting for Start
//	stock      workers without a function, for versions without a spare
//
// The cache holds native code under its module's hash and wazero's version. A
// worker that compiles writes to a folder of its own, from which the daemon
// moves the result; all others see the cache read-only.
package wasm
