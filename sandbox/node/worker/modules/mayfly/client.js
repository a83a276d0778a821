'use strict';
// Requests to the platform, over connections that are kept open.

/** The platform refused or failed. */
class MayflyError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.name = 'MayflyError';
    this.code = code;
    this.status = status;
  }
}

/** A function that was invoked failed. */
class FunctionError extends MayflyError {
  constructor(body, status) {
    super('function_failed', `${body.errorType}: ${body.errorMessage}`, status);
    this.name = 'FunctionError';
    this.type = body.errorType;
    this.trace = body.stackTrace ?? [];
  }
}

let known = { text: undefined, url: undefined };

function endpoint() {
  const text = process.env.MAYFLY_ENDPOINT;
  if (!text) throw new MayflyError('unavailable', 'MAYFLY_ENDPOINT is not set: this code does not run in Mayfly');
  if (text !== known.text) known = { text, url: new URL(text) };
  return known.url;
}

/** The headers that tie what a call sends to the call. */
function cause() {
  const context = globalThis[Symbol.for('mayfly.context')]?.();
  if (!context) return {};
  const headers = { 'x-mayfly-hops': context.hops };
  if (context.traceparent) headers.traceparent = context.traceparent;
  return headers;
}

/** The answer's status, headers and body, where it is no error. */
async function request(method, path, { body, headers = {}, query } = {}) {
  const { exchange } = require('./connection');
  const search = query ? new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined)).toString() : '';
  const base = endpoint();
  const options = {
    method, hostname: base.hostname, port: base.port || 80, path: search ? `${path}?${search}` : path,
    headers: { accept: 'application/json', ...cause(), ...headers },
  };
  if (body !== undefined) options.headers['content-length'] = Buffer.byteLength(body);
  for (;;) {
    try {
      return check(await exchange(options, body));
    } catch (e) {
      if (e instanceof MayflyError) throw e;
      // A connection that was kept had been closed meanwhile; nothing was taken by it.
      if (e.kept && (e.code === 'ECONNRESET' || e.code === 'EPIPE')) continue;
      throw new MayflyError(e.code === 'ETIMEDOUT' ? 'timeout' : 'unavailable', `the platform does not answer: ${e.message}`);
    }
  }
}

function check(answer) {
  if (answer.status < 400) return answer;
  let body = {};
  try {
    body = JSON.parse(answer.body.toString('utf8')) ?? {};
  } catch {
    // no problem document
  }
  if (body.errorType !== undefined) throw new FunctionError(body, answer.status);
  throw new MayflyError(body.code ?? 'internal', body.detail ?? body.title ?? `HTTP status ${answer.status}`, answer.status);
}

module.exports = { request, MayflyError, FunctionError };
