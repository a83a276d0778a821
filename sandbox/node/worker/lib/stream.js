'use strict';
const { Writable } = require('stream');
const { HEAD, CHUNK, END, WHOLE, WINDOW_SIZE, MAX_CHUNK } = require('./wire');
const { Failure, describe } = require('./errors');

/** The sending side of a streamed reply, within its window. */
class Sender {
  constructor(wire, id) {
    this.wire = wire;
    this.id = id;
    this.credit = WINDOW_SIZE;
    this.begun = this.ended = this.cancelled = false;
    this.waiting = null; // called when credit came or nobody reads any more
    this.oncancel = null;
  }

  head(meta) {
    this.begun = true;
    this.wire.send(HEAD, this.id, undefined, encode(meta));
  }

  whole(meta, body) {
    this.begun = this.ended = true;
    this.wire.send(HEAD, this.id, body, encode(meta), WHOLE);
  }

  /** Sends data; next is called with an error where nobody reads any more. */
  write(data, next) {
    let at = 0;
    const step = () => {
      this.waiting = null;
      while (at < data.length) {
        if (this.cancelled) return next(new Failure('AbortError', 'the client has gone'));
        const n = Math.min(MAX_CHUNK, data.length - at, this.credit);
        if (n === 0) {
          this.waiting = step;
          return;
        }
        this.wire.send(CHUNK, this.id, data.subarray(at, at + n));
        this.credit -= n;
        at += n;
      }
      next();
    };
    step();
  }

  end(error) {
    if (this.ended) return;
    this.ended = true;
    this.wire.send(END, this.id, error === undefined ? undefined : describe(error));
  }

  grant(n) {
    this.credit += n;
    if (this.waiting) this.waiting();
  }

  cancel() {
    this.cancelled = true;
    if (this.waiting) this.waiting();
    if (this.oncancel) this.oncancel();
  }
}

function encode(meta) {
  const head = JSON.stringify({ status: meta.status, headers: meta.headers, cookies: meta.cookies ?? [] });
  if (Buffer.byteLength(head) > 65535) throw new Failure('Runtime.MarshalError', 'the headers of the reply are larger than 64 KiB');
  return head;
}

/** awslambda's responseStream. */
class ResponseStream extends Writable {
  constructor(sender) {
    super({ highWaterMark: MAX_CHUNK });
    this.sender = sender;
    this.meta = { status: 200, headers: [['content-type', 'application/octet-stream']] };
    sender.oncancel = () => this.destroy(new Failure('AbortError', 'the client has gone'));
  }

  setContentType(type) {
    this.meta.headers = [...this.meta.headers.filter(([k]) => k.toLowerCase() !== 'content-type'), ['content-type', String(type)]];
  }

  _write(chunk, _encoding, callback) {
    if (!this.sender.begun) this.sender.head(this.meta);
    this.sender.write(chunk, callback);
  }

  _final(callback) {
    if (!this.sender.begun) this.sender.whole(this.meta, undefined);
    else this.sender.end();
    callback();
  }
}

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

/** The global that Lambda's streaming handlers use. */
const awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = 'response';
    if (options?.highWaterMark !== undefined) handler[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')] = +options.highWaterMark;
    return handler;
  },
  HttpResponseStream: {
    from(stream, prelude = {}) {
      const headers = Object.entries(prelude.headers ?? {}).map(([k, v]) => [k, String(v)]);
      for (const [k, values] of Object.entries(prelude.multiValueHeaders ?? {})) for (const v of values) headers.push([k, String(v)]);
      if (!headers.some(([k]) => k.toLowerCase() === 'content-type')) headers.push(['content-type', 'application/octet-stream']);
      stream.meta = { status: prelude.statusCode ?? 200, headers, cookies: prelude.cookies };
      return stream;
    },
  },
};

module.exports = { Sender, ResponseStream, awslambda, STREAMING };
