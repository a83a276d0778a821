'use strict';
const { Failure } = require('./errors');

const SKIPPED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host-only']);

/** A standard Request from an event of payload format 2.0. */
function request(event, signal) {
  const http = event?.requestContext?.http;
  if (!http) throw new Failure('Runtime.NotHTTP', 'this function exports fetch: call it through an `http` trigger, with an event of payload format 2.0');
  const headers = new Headers();
  for (const [k, v] of Object.entries(event.headers ?? {})) headers.append(k, v);
  if (event.cookies?.length) headers.set('cookie', event.cookies.join('; '));
  const scheme = headers.get('x-forwarded-proto') ?? 'http';
  const host = headers.get('host') ?? event.requestContext.domainName ?? 'localhost';
  const url = `${scheme}://${host}${event.rawPath ?? http.path}${event.rawQueryString ? '?' + event.rawQueryString : ''}`;
  const init = { method: http.method, headers, signal };
  if (event.body && http.method !== 'GET' && http.method !== 'HEAD') {
    init.body = event.isBase64Encoded ? Buffer.from(event.body, 'base64') : event.body;
  }
  return new Request(url, init);
}

function meta(response) {
  const headers = [];
  for (const [k, v] of response.headers) if (k !== 'set-cookie' && !SKIPPED.has(k)) headers.push([k, v]);
  return { status: response.status, headers, cookies: response.headers.getSetCookie?.() ?? [] };
}

/** Runs app.fetch and sends its Response: at once where the body is there, else as it comes. */
async function respond(app, event, context, sender) {
  const gone = new AbortController();
  sender.oncancel = () => gone.abort();
  const later = [];
  const extras = { waitUntil: (p) => later.push(Promise.resolve(p).catch((e) => console.error(e))), passThroughOnException() {}, props: {}, lambda: context };
  const response = await app.fetch(request(event, gone.signal), process.env, extras);
  if (!(response instanceof Response) && typeof response?.headers?.get !== 'function') {
    throw new Failure('Runtime.MarshalError', 'fetch returned no Response');
  }
  await send(response, sender, later);
}

async function send(response, sender, later) {
  const head = meta(response);
  if (!response.body) {
    if (later.length === 0) return sender.whole(head, undefined);
    sender.head(head);
  } else {
    const reader = response.body.getReader();
    const first = await reader.read();
    const next = reader.read();
    next.catch(() => {}); // told where it is awaited
    if (later.length === 0 && (first.done || (await soon(next)))) return sender.whole(head, first.done ? undefined : bytes(first.value));
    sender.head(head);
    if (!first.done) await forward(reader, first.value, next, sender);
  }
  await Promise.all(later);
  sender.end();
}

/** Whether the body ends without another turn of the event loop. */
function soon(next) {
  const no = new Promise((resolve) => setImmediate(resolve, false));
  return Promise.race([next.then((r) => r.done), no]);
}

async function forward(reader, value, next, sender) {
  try {
    for (;;) {
      await new Promise((resolve, reject) => sender.write(bytes(value), (e) => (e ? reject(e) : resolve())));
      const r = await next;
      if (r.done) return;
      value = r.value;
      next = reader.read();
      next.catch(() => {});
    }
  } catch (e) {
    reader.cancel(e).catch(() => {});
    throw e;
  }
}

function bytes(v) {
  if (typeof v === 'string') return Buffer.from(v);
  return Buffer.isBuffer(v) ? v : Buffer.from(v.buffer, v.byteOffset, v.byteLength);
}

module.exports = { respond };
