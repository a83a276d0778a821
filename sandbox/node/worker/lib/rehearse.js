'use strict';
const path = require('path');
const { load } = require('./load');
const { Calls } = require('./call');
const { RESULT, ERROR, HEAD, END, WHOLE } = require('./wire');

const ROOT = path.join(path.dirname(__dirname), 'rehearsal');
const HANDLERS = ['lambda.handler', 'stream.handler', 'fetch.mjs'];
const ORDER = { env: {}, per_instance: 1, memory_mb: 128 };
const FIELDS = 'id\n\n0\narn\nhttp\n1\ntrace\n0';
const EVENT = JSON.stringify({
  version: '2.0', routeKey: 'GET /', rawPath: '/', rawQueryString: '', headers: { host: 'localhost' },
  requestContext: { domainName: 'localhost', http: { method: 'GET', path: '/' } }, isBase64Encoded: false,
});

/**
 * Runs a function of each shape before there is one to run, and sends nothing:
 * V8 compiles what is called when it is first called, and Node loads its loaders
 * when they first load. It halves what a cold start takes here. A worker whose
 * rehearsal fails serves as well, later: the test sees to it that none does.
 */
async function rehearse(out) {
  const wire = out.wire, mute = { line: () => true, ref() {}, unref() {} };
  out.wire = mute;
  try {
    for (const name of HANDLERS) {
      const { handler, shape } = await load(ROOT, name);
      const calls = new Calls(mute, out, ORDER, handler, shape);
      for (let id = 1; id <= 2; id++) await answered(mute, () => calls.begin(id, EVENT, FIELDS));
    }
  } finally {
    out.wire = wire;
    out.only = 0;
  }
}

/** Waits for the last frame of a call. */
function answered(mute, begin) {
  return new Promise((done, failed) => {
    mute.send = (kind, id, body, head, flags) => {
      if (kind === ERROR || (kind === END && body)) failed(new Error(String(body)));
      else if (kind === RESULT || kind === END || (kind === HEAD && flags === WHOLE)) done();
    };
    begin();
  });
}

module.exports = { rehearse };
