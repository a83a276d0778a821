'use strict';
const { Wire, LOAD, CALL, HELLO, LOADED, FAILED } = require('./wire');
const { Output } = require('./output');
const { describe, readable } = require('./errors');
const { awslambda } = require('./stream');
const { prepare, load, offerModule } = require('./load');
const { Calls } = require('./call');

// What small functions import. Loading it ahead of need takes it out of cold starts.
const AHEAD = ['assert', 'buffer', 'crypto', 'events', 'fs', 'fs/promises', 'http', 'https', 'os', 'path', 'querystring', 'stream', 'stream/promises', 'timers/promises', 'tls', 'url', 'util', 'zlib'];

let wire, out, calls = null;
let terminated = false;
let loading = 0; // the id of the LOAD

function run(ahead) {
  wire = new Wire(frame, closed);
  out = new Output(wire);
  out.install();
  globalThis.awslambda = awslambda;
  process.on('exit', () => wire.drain());
  process.on('uncaughtException', (e, origin) => crash(e, origin === 'unhandledRejection' ? 'Runtime.UnhandledPromiseRejection' : undefined));
  process.on('SIGTERM', () => {
    terminated = true;
    if (process.listenerCount('SIGTERM') === 1) process.exit(0);
  });
  process.on('beforeExit', () => calls?.empty());
  globalThis[Symbol.for('mayfly.context')] = () => calls?.contexts.get(out.id());
  if (ahead) warm().then(hello, hello);
  else hello();
}

/** The daemon sends no more. Code that handles SIGTERM, which may be seen after this, gets the time that it takes. */
function closed() {
  setTimeout(() => {
    if (!terminated) process.exit(0);
    setTimeout(() => process.exit(0), 10000).unref();
  }, 50);
}

/** Loads what functions will want. */
async function warm() {
  for (const name of AHEAD) require(name);
  offerModule();
  await require('./rehearse').rehearse(out);
}

function hello() {
  wire.send(HELLO, 0, JSON.stringify({ node: process.version }));
}

function frame(kind, flags, id, b, head, body, end) {
  if (kind === CALL) calls.begin(id, b.utf8Slice(body, end), b.latin1Slice(head, body));
  else if (kind === LOAD) start(id, JSON.parse(b.utf8Slice(body, end)));
  else if (calls !== null) calls.control(kind, id, end - body >= 4 ? b.readUInt32LE(body) : 0);
}

async function start(id, order) {
  loading = id;
  try {
    prepare(order);
    const { handler, shape } = await load(order.root, order.handler);
    process.stdout.finish();
    process.stderr.finish();
    calls = new Calls(wire, out, order, handler, shape);
    wire.send(LOADED, id, JSON.stringify({ shape }));
  } catch (e) {
    out.error(readable(e), 0);
    wire.send(FAILED, id, describe(e));
    process.exit(1);
  }
}

function crash(e, type) {
  if (calls !== null) calls.crash(e, type);
  out.error(readable(e), 0);
  wire.send(FAILED, loading, describe(e));
  process.exit(1);
}

module.exports = { run };
