'use strict';
// Mayfly's services for functions; index.d.ts describes them.
//
// No credential is needed: the platform knows the function by its connection.

const { request, MayflyError, FunctionError } = require('./client');

const path = (...parts) => '/v1/apps/' + [process.env.MAYFLY_APP, ...parts].map(encodeURIComponent).join('/');
const JSON_TYPE = { 'content-type': 'application/json' };

class Queue {
  constructor(name) { this.name = name; }

  async send(body, { key, delay, deduplicationId, attributes } = {}) {
    return (await this.#send({ body, key, delay, deduplication_id: deduplicationId, attributes }))[0];
  }

  sendAll(bodies) {
    return this.#send({ messages: Array.from(bodies, (body) => ({ body })) });
  }

  async #send(value) {
    const { messages } = await json('POST', path('queues', this.name, 'messages'), value);
    return messages.map((m) => m.id);
  }
}

class Topic {
  constructor(name) { this.name = name; }

  async publish(data, { subject, id = require('crypto').randomUUID(), ...extensions } = {}) {
    const event = {
      specversion: '1.0', type: this.name, source: `/${process.env.MAYFLY_APP}/${process.env.MAYFLY_FUNCTION}`, id,
      datacontenttype: 'application/json', subject, data, ...extensions,
    };
    await request('POST', path('topics', this.name, 'events'), { body: JSON.stringify(event), headers: { 'content-type': 'application/cloudevents+json' } });
    return id;
  }
}

class KV {
  constructor(name) { this.name = name; }

  async get(key, otherwise = undefined) {
    const entry = await this.entry(key);
    return entry === undefined ? otherwise : entry.value;
  }

  async entry(key) {
    try {
      const { headers, body } = await request('GET', this.#key(key), { headers: { accept: '*/*' } });
      return { key, value: decode(headers['content-type'] ?? '', body), revision: Number(headers['mayfly-revision'] ?? 0), expires: headers['mayfly-expires'] };
    } catch (e) {
      if (e.code === 'not_found' && !e.message.includes('declares no')) return undefined; // the key; a store that is not there is an error
      throw e;
    }
  }

  async put(key, value, { ttl, revision, absent } = {}) {
    const raw = value instanceof Uint8Array;
    const headers = { 'content-type': raw ? 'application/octet-stream' : 'application/json', ...condition(revision, absent) };
    return parse(await request('PUT', this.#key(key), { body: raw ? value : JSON.stringify(value ?? null), headers, query: { ttl } })).revision;
  }

  async delete(key, { revision } = {}) {
    return parse(await request('DELETE', this.#key(key), { headers: condition(revision, false) })).found;
  }

  async increment(key, by = 1, { ttl } = {}) {
    return parse(await request('POST', this.#key(key, 'increment'), { query: { by, ttl } })).value;
  }

  async *keys(prefix = '') {
    for await (const k of this.#list(prefix)) yield k.key;
  }

  async *entries(prefix = '') {
    for await (const k of this.#list(prefix, 'true')) {
      yield { key: k.key, value: k.base64 !== undefined ? Buffer.from(k.base64, 'base64') : k.value, revision: k.revision, expires: k.expires };
    }
  }

  async *#list(prefix, values) {
    let after;
    do {
      const page = parse(await request('GET', path('kv', this.name, 'keys'), { query: { prefix: prefix || undefined, after, limit: 1000, values } }));
      yield* page.keys;
      after = page.next;
    } while (after);
  }

  #key(key, action = 'keys') { return path('kv', this.name, action, key); }
}

function condition(revision, absent) {
  if (absent || revision === 0) return { 'if-none-match': '*' };
  return revision === undefined ? {} : { 'if-match': `"${revision}"` };
}

function decode(type, body) {
  const kind = type.split(';')[0].trim();
  if (kind === 'application/json') return JSON.parse(body.toString('utf8'));
  return kind.startsWith('text/') ? body.toString('utf8') : body;
}

function parse({ body }) {
  return body.length > 0 ? JSON.parse(body.toString('utf8')) : undefined;
}

async function json(method, to, value, query) {
  return parse(await request(method, to, { body: JSON.stringify(value ?? null), headers: JSON_TYPE, query }));
}

const queue = (name) => new Queue(name);
const topic = (name) => new Topic(name);
const kv = (name) => new KV(name);

async function secret(name) {
  return parse(await request('GET', path('secrets', name, 'value'))).value;
}

async function invoke(name, event, { qualifier, wait = true } = {}) {
  const answer = await json('POST', path('functions', name, 'invoke'), event, { qualifier, async: wait ? undefined : 'true' });
  return wait ? answer : answer.id;
}

module.exports = { queue, topic, kv, secret, invoke, Queue, Topic, KV, MayflyError, FunctionError };
