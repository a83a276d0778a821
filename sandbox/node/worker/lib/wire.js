'use strict';
const fs = require('fs');
const net = require('net');

const LOAD = 1, CALL = 2, CANCEL = 3, WINDOW = 4;
const HELLO = 16, LOADED = 17, FAILED = 18, RESULT = 19, ERROR = 20, HEAD = 21, CHUNK = 22, END = 23, LOG = 24;
const WHOLE = 1; // flag of HEAD
const LAST = 1; // flag of ERROR: the worker ends
const WINDOW_SIZE = 256 << 10, MAX_CHUNK = 64 << 10, MAX_LINE = 64 << 10, MAX_BODY = (6 << 20) + (64 << 10);

const HEADER = 12;
const ROOM = 64 << 10;
const FD = 3;
const EMPTY = Buffer.alloc(0);

/** Frames both ways. Frames of one turn of the event loop leave in one write. */
class Wire {
  constructor(onframe, onclose) {
    this.onframe = onframe;
    this.out = Buffer.allocUnsafeSlow(ROOM);
    this.used = 0;
    this.queued = false;
    this.part = null; // a frame that has not come whole
    this.have = 0;
    this.flush = this.flush.bind(this);
    const buffer = Buffer.allocUnsafeSlow(ROOM);
    this.socket = new net.Socket({
      fd: FD, readable: true, writable: true, allowHalfOpen: true,
      onread: { buffer, callback: (n) => { this.take(buffer, n); return true; } },
    });
    this.socket.on('end', onclose);
    this.socket.on('error', onclose);
    this.socket.resume();
  }

  take(buffer, n) {
    let at = 0;
    while (at < n) {
      if (this.part !== null) {
        at = this.fill(buffer, at, n);
        continue;
      }
      if (n - at >= HEADER) {
        const end = at + HEADER + buffer.readUInt32LE(at);
        if (end <= n) {
          this.emit(buffer, at, end);
          at = end;
          continue;
        }
      }
      this.part = Buffer.allocUnsafe(HEADER);
      this.have = 0;
    }
  }

  /** Adds to a frame that came in parts: first its header, then the rest. */
  fill(buffer, at, n) {
    const take = Math.min(this.part.length - this.have, n - at);
    buffer.copy(this.part, this.have, at, at + take);
    this.have += take;
    if (this.have < this.part.length) return at + take;
    if (this.have === HEADER && this.part.readUInt32LE(0) > 0) {
      const whole = Buffer.allocUnsafe(HEADER + this.part.readUInt32LE(0));
      this.part.copy(whole);
      this.part = whole;
      return at + take;
    }
    const whole = this.part;
    this.part = null;
    this.emit(whole, 0, whole.length);
    return at + take;
  }

  emit(b, at, end) {
    const head = at + HEADER;
    const body = head + b.readUInt16LE(at + 10);
    this.onframe(b[at + 8], b[at + 9], b.readUInt32LE(at + 4), b, head, body, end);
  }

  /** body and head are strings or buffers. */
  send(kind, id, body = EMPTY, head = EMPTY, flags = 0) {
    const h = typeof head === 'string' ? Buffer.byteLength(head) : head.length;
    const n = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    const total = HEADER + h + n;
    if (this.used + total > ROOM) this.flush();
    const big = total > ROOM;
    const b = big ? Buffer.allocUnsafe(total) : this.out;
    let at = big ? 0 : this.used;
    at = b.writeUInt32LE(h + n, at);
    at = b.writeUInt32LE(id, at);
    b[at++] = kind;
    b[at++] = flags;
    at = b.writeUInt16LE(h, at);
    at = put(b, at, head, h);
    put(b, at, body, n);
    if (big) {
      this.write(b);
      return;
    }
    this.used += total;
    if (!this.queued) {
      this.queued = true;
      process.nextTick(this.flush);
    }
  }

  /** Sends what waits, by one system call where the socket takes it. */
  flush() {
    this.queued = false;
    if (this.used === 0) return;
    const b = this.out.subarray(0, this.used);
    this.used = 0;
    this.write(b, true);
  }

  write(b, shared = false) {
    let n = 0;
    if (this.socket.writableLength === 0) n = attempt(b, 0);
    if (n < b.length) this.socket.write(shared ? Buffer.from(b.subarray(n)) : b.subarray(n));
  }

  /** Sends a line before it returns: code may print in a loop that never yields. */
  line(id, text, flags) {
    if (this.socket.writableLength > 1 << 20) return false;
    this.send(LOG, id, text, EMPTY, flags);
    if (this.socket.writableLength > 0) return true;
    this.drain();
    return true;
  }

  /** Sends what waits and blocks until it has left. */
  drain() {
    let at = 0;
    while (at < this.used) {
      const n = attempt(this.out, at, this.used);
      at += n;
      if (n === 0 && !pause()) break;
    }
    this.used = 0;
  }

  ref() { this.socket.ref(); }
  unref() { this.socket.unref(); }
}

function put(b, at, data, n) {
  if (typeof data === 'string') b.utf8Write(data, at, n);
  else data.copy(b, at);
  return at + n;
}

/** Writes once; 0 where the socket is full. */
function attempt(b, from, to = b.length) {
  try {
    return fs.writeSync(FD, b, from, to - from);
  } catch (e) {
    if (e.code === 'EAGAIN') return 0;
    if (e.code === 'EPIPE' || e.code === 'ECONNRESET' || e.code === 'EBADF') return to - from; // the daemon is gone, and this process soon
    throw e;
  }
}

const cell = new Int32Array(new SharedArrayBuffer(4));
function pause() {
  return Atomics.wait(cell, 0, 0, 1) === 'timed-out';
}

module.exports = {
  Wire, LOAD, CALL, CANCEL, WINDOW, HELLO, LOADED, FAILED, RESULT, ERROR, HEAD, CHUNK, END, LOG,
  WHOLE, LAST, WINDOW_SIZE, MAX_CHUNK, MAX_LINE, MAX_BODY, EMPTY,
};
