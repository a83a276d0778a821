'use strict';
// Starts a worker: node start.js [ahead]. Descriptor 3 is the daemon's socket.
//
//   lib/wire      frames on descriptor 3 (the Go package sandbox/frame documents them)
//   lib/output    what code prints, as log lines of its call
//   lib/load      environment and the handler
//   lib/context   Lambda's context object
//   lib/call      runs one call by the handler's shape
//   lib/stream    streamed replies, awslambda
//   lib/web       export default { fetch }
//   lib/rehearse  runs calls that are none, ahead of need
//   lib/errors    what was thrown, as Lambda's error bodies

require('./lib/main').run(process.argv.includes('ahead'));
