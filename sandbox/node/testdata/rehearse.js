// Rehearses as a worker does, whose folder is the argument, and looks at what is left.
'use strict';
const assert = require('assert');
const lib = require('path').join(__dirname, process.argv[2], 'lib') + '/';
const { Output } = require(lib + 'output');
globalThis.awslambda = require(lib + 'stream').awslambda;
const seen = [];
const wire = { line: (id, text) => seen.push(text), send: (...frame) => seen.push(frame) };
const out = new Output(wire);
out.install();

require(lib + 'rehearse').rehearse(out).then(() => {
  assert.deepEqual(seen, [], 'what left the worker');
  assert.equal(out.wire, wire);
  assert.equal(out.only, 0);
  require('fs').writeSync(1, 'ok\n');
}).catch((e) => { require('fs').writeSync(2, e.stack + '\n'); process.exit(1); });
