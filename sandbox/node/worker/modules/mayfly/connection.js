'use strict';
// HTTP/1.1 to the platform's door, a server on this machine. Node's own client
// would take most of a request's time there.

const net = require('net');

const TIMEOUT = 60000; // ms without a byte
const idle = [];
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/;

function failure(message, code) {
  return Object.assign(new Error(message), { code });
}

/** One connection, for one request at a time. */
class Connection {
  constructor(host, port) {
    this.kept = false; // it has answered before
    this.waiting = undefined; // who waits for the answer
    this.reset();
    this.socket = net.connect({ host, port, noDelay: true });
    this.socket.setTimeout(TIMEOUT);
    this.socket.on('data', (part) => this.take(part));
    this.socket.on('timeout', () => this.socket.destroy(this.waiting && failure('no answer in time', 'ETIMEDOUT')));
    this.socket.on('error', (e) => this.fail(e));
    this.socket.on('close', () => this.closed());
  }

  reset() {
    this.parts = []; // of an answer
    this.size = 0; // of the parts
    this.tail = ''; // of the parts, at most five bytes
    this.whole = () => true; // whether the parts may be a whole answer
  }

  send(head, body, waiting) {
    this.waiting = waiting;
    this.socket.ref();
    if (body === undefined) {
      this.socket.write(head, 'latin1');
      return;
    }
    this.socket.cork();
    this.socket.write(head, 'latin1');
    this.socket.write(body);
    this.socket.uncork();
  }

  take(part) {
    if (this.waiting === undefined) {
      this.socket.destroy(); // nothing was asked
      return;
    }
    this.parts.push(part);
    this.size += part.length;
    this.tail = (this.tail + part.latin1Slice(Math.max(0, part.length - 5))).slice(-5);
    if (!this.whole()) return; // a long answer is put together once
    try {
      const data = this.parts.length === 1 ? part : Buffer.concat(this.parts);
      this.parts = [data];
      const answer = parse(data);
      if (answer.body !== undefined) this.finish(answer);
      else if (answer.end !== undefined) this.whole = () => this.size >= answer.end;
      else if (answer.chunked) this.whole = () => this.tail === '0\r\n\r\n';
    } catch (e) {
      this.socket.destroy(e);
    }
  }

  finish(answer) {
    const { resolve } = this.waiting;
    this.waiting = undefined;
    const whole = answer.end === this.size && answer.headers.connection !== 'close';
    this.reset();
    this.kept = true;
    if (whole) {
      this.socket.unref();
      idle.push(this);
    } else {
      this.socket.destroy();
    }
    resolve(answer);
  }

  fail(e) {
    const { waiting } = this;
    this.waiting = undefined;
    // Nothing of an answer came by a connection that was kept: it had been closed
    // before the request.
    waiting?.reject(Object.assign(e, { kept: this.kept && this.size === 0 }));
  }

  closed() {
    const i = idle.indexOf(this);
    if (i >= 0) idle.splice(i, 1);
    if (this.waiting !== undefined) this.fail(failure('the connection was closed', 'ECONNRESET'));
  }
}

/** The answer at the beginning of data; without a body while it is not whole. */
function parse(data) {
  for (let from = 0; ;) {
    const end = data.indexOf('\r\n\r\n', from);
    if (end < 0) return {};
    const [first, ...lines] = data.latin1Slice(from, end).split('\r\n');
    if (!first.startsWith('HTTP/1.')) throw failure('the answer is not HTTP', 'EPROTO');
    const status = Number(first.slice(9, 12));
    if (status < 200) { // such as 100 Continue
      from = end + 4;
      continue;
    }
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    return content(data, end + 4, status, headers);
  }
}

function content(data, start, status, headers) {
  if (headers['transfer-encoding'] === 'chunked') return chunks(data, start, status, headers);
  const length = status === 204 || status === 304 ? 0 : Number(headers['content-length']);
  if (!Number.isInteger(length)) throw failure('the answer has no length', 'EPROTO');
  const end = start + length;
  return data.length < end ? { end } : { status, headers, body: data.subarray(start, end), end };
}

function chunks(data, start, status, headers) {
  const parts = [];
  for (let at = start; ;) {
    const line = data.indexOf('\r\n', at);
    if (line < 0) return { chunked: true };
    const size = parseInt(data.latin1Slice(at, line), 16);
    if (Number.isNaN(size)) throw failure('the answer is not HTTP', 'EPROTO');
    if (size === 0) {
      const end = data.indexOf('\r\n', line + 2); // no trailers
      return end < 0 ? { chunked: true } : { status, headers, body: Buffer.concat(parts), end: end + 2 };
    }
    at = line + 2 + size + 2;
    if (data.length < at) return { chunked: true };
    parts.push(data.subarray(line + 2, at - 2));
  }
}

/** Sends one request; the answer is {status, headers, body}. */
function exchange({ hostname, port, method, path, headers }, body) {
  return new Promise((resolve, reject) => {
    let head = `${method} ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n`;
    for (const name of Object.keys(headers)) {
      const value = String(headers[name]);
      if (FORBIDDEN.test(value)) throw new TypeError(`Invalid character in header content ["${name}"]`);
      head += `${name}: ${value}\r\n`;
    }
    if (body !== undefined && typeof body === 'string') body = Buffer.from(body);
    const connection = idle.pop() ?? new Connection(hostname, port);
    connection.send(head + '\r\n', body, { resolve, reject });
  });
}

module.exports = { exchange };
