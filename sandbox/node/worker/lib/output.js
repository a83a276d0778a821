'use strict';
const { Console } = require('console');
const { Writable } = require('stream');
const { MAX_LINE } = require('./wire');

const STDOUT = 0, STDERR = 1, PLATFORM = 2;
const LEVEL = { debug: 1 << 2, info: 2 << 2, warn: 3 << 2, error: 4 << 2 };

// What may be printed: a burst, and what is earned again each second. The
// daemon has the same budget; dropping here saves the way there.
const BURST_BYTES = 4 << 20, BURST_LINES = 20000, EARN_BYTES = 1 << 20, EARN_LINES = 5000;

/** Sends lines. */
class Output {
  constructor(wire) {
    this.wire = wire;
    this.only = 0; // the call under way where they come one at a time, else 0
    this.storage = null; // AsyncLocalStorage of ids where they overlap
    this.level = 0;
    this.bytes = BURST_BYTES;
    this.lines = BURST_LINES;
    this.last = Date.now();
    this.dropped = 0;
    this.lost = 0;
  }

  id() {
    return this.storage === null ? this.only : this.storage.getStore() ?? this.only;
  }

  line(stream, text, id = this.id()) {
    if (text.length > MAX_LINE / 3) text = cut(text);
    if (!this.afford(text.length) || !this.wire.line(id, text, stream | this.level)) {
      this.dropped++;
      this.lost += text.length;
    }
  }

  afford(n) {
    const now = Date.now();
    if (now > this.last) {
      const s = (now - this.last) / 1000;
      this.bytes = Math.min(BURST_BYTES, this.bytes + s * EARN_BYTES);
      this.lines = Math.min(BURST_LINES, this.lines + s * EARN_LINES);
      this.last = now;
    }
    if (this.bytes < n || this.lines < 1) return false;
    this.bytes -= n;
    this.lines--;
    return true;
  }

  /** Says what was dropped, at the end of a call. */
  report(id) {
    if (this.dropped === 0) return;
    this.wire.line(id, `${this.dropped} lines (${this.lost} bytes) were dropped: the function prints faster than its output is taken`, PLATFORM | LEVEL.warn);
    this.dropped = this.lost = 0;
  }

  error(text, id) {
    this.level = LEVEL.error;
    this.line(STDERR, text, id);
    this.level = 0;
  }

  /** Puts this in the place of process.stdout, process.stderr and console. */
  install() {
    const stdout = new Lines(this, STDOUT), stderr = new Lines(this, STDERR);
    Object.defineProperty(process, 'stdout', { configurable: true, enumerable: true, get: () => stdout });
    Object.defineProperty(process, 'stderr', { configurable: true, enumerable: true, get: () => stderr });
    const mine = new Console({ stdout, stderr });
    for (const name of Object.keys(mine)) if (typeof mine[name] === 'function') console[name] = mine[name].bind(mine);
    for (const [name, level] of [['debug', 'debug'], ['log', 'info'], ['info', 'info'], ['warn', 'warn'], ['error', 'error'], ['trace', 'error']]) {
      const plain = console[name];
      console[name] = (...args) => {
        this.level = LEVEL[level];
        try {
          plain(...args);
        } finally {
          this.level = 0;
        }
      };
    }
  }
}

function cut(text) {
  const b = Buffer.from(text);
  return b.length <= MAX_LINE ? text : b.subarray(0, MAX_LINE).toString('utf8');
}

/** process.stdout or process.stderr: each write that ends a line leaves at once. */
class Lines extends Writable {
  constructor(out, stream) {
    super({ decodeStrings: false });
    this.out = out;
    this.stream = stream;
    this.fd = stream + 1;
    this.isTTY = false;
    this.partial = '';
  }

  write(chunk, encoding, callback) {
    if (typeof encoding === 'function') callback = encoding;
    let text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    if (this.partial !== '') {
      text = this.partial + text;
      this.partial = '';
    }
    const end = text.lastIndexOf('\n');
    if (end < text.length - 1) {
      const rest = text.slice(end + 1);
      if (rest.length < MAX_LINE) this.partial = rest;
      else this.out.line(this.stream, rest);
    }
    if (end >= 0) this.print(text.slice(0, end));
    if (callback) process.nextTick(callback);
    return true;
  }

  /** What console prints stays together; other output is split into lines. */
  print(text) {
    if (this.out.level !== 0) this.out.line(this.stream, text);
    else for (const line of text.split('\n')) this.out.line(this.stream, line);
  }

  finish() {
    const text = this.partial;
    this.partial = '';
    if (text !== '') this.out.line(this.stream, text);
  }

  end(chunk, encoding, callback) {
    if (chunk != null && typeof chunk !== 'function') this.write(chunk, encoding);
    for (const f of [chunk, encoding, callback]) if (typeof f === 'function') process.nextTick(f);
    return this;
  }

  _destroy(err, callback) { callback(err); }
}

module.exports = { Output, STDOUT, STDERR };
