'use strict';
const { AsyncLocalStorage } = require('async_hooks');
const { EventEmitter } = require('events');
const { Context, setTrace } = require('./context');
const { describe, readable, frames, Failure } = require('./errors');
const { Sender, ResponseStream } = require('./stream');
const { RESULT, ERROR, CANCEL, WINDOW, LAST, MAX_BODY } = require('./wire');

/** Runs the calls of one function. */
class Calls {
  constructor(wire, out, order, handler, shape) {
    this.wire = wire;
    this.out = out;
    this.order = { ...order, memory: String(order.memory_mb) };
    this.handler = handler;
    this.shape = shape;
    this.active = new Map(); // id → Sender, null where nothing streams
    this.contexts = new Map(); // id → Context; what the mayfly module sends carries its trace
    if (order.per_instance > 1) out.storage = new AsyncLocalStorage();
    this.waiting = null; // what to do when the event loop is empty
  }

  /** A CALL frame. */
  begin(id, event, head) {
    const run = this.shape === 'lambda' ? this.lambda : this.shape === 'stream' ? this.stream : this.fetch;
    if (this.out.storage !== null) {
      this.active.set(id, null);
      this.out.storage.run(id, () => run.call(this, id, event, head));
      return;
    }
    this.out.only = id;
    this.active.set(id, null);
    run.call(this, id, event, head);
  }

  context(id, head, callback) {
    const fields = head.split('\n');
    if (this.out.storage === null && fields[1] !== '') setTrace(fields[1]);
    const context = new Context(this.order, fields, callback);
    this.contexts.set(id, context);
    return context;
  }

  lambda(id, event, head) {
    const callback = (err, result) => {
      if (!this.active.has(id)) return;
      const answer = () => (err === undefined || err === null ? this.done(id, result) : this.fail(id, err));
      if (context.callbackWaitsForEmptyEventLoop && this.out.storage === null) this.whenEmpty(answer);
      else this.now(answer);
    };
    const context = this.context(id, head, callback);
    const { handler } = this;
    let result;
    try {
      result = handler(JSON.parse(event), context, callback);
    } catch (e) {
      return this.fail(id, e);
    }
    if (typeof result?.then === 'function') {
      result.then((v) => this.done(id, v), (e) => this.fail(id, e));
    } else if (result !== undefined && handler.length < 3 && !isBusy(result)) {
      this.done(id, result);
    } else if (this.active.has(id) && this.waiting === null && this.out.storage === null) {
      this.whenEmpty(() => this.done(id, null)); // as Lambda: an empty event loop ends a call without a callback
    }
  }

  // callbackWaitsForEmptyEventLoop: the socket is the only thing that keeps an
  // idle worker's event loop from being empty.

  whenEmpty(answer) {
    this.waiting = answer;
    this.wire.unref();
  }

  empty() {
    if (this.waiting !== null) this.now(this.waiting);
  }

  now(answer) {
    if (this.waiting !== null) {
      this.waiting = null;
      this.wire.ref();
    }
    answer();
  }

  stream(id, event, head) {
    const context = this.context(id, head);
    const sender = new Sender(this.wire, id);
    this.active.set(id, sender);
    const out = new ResponseStream(sender);
    out.on('error', (e) => this.fail(id, e));
    out.on('finish', () => this.finish(id));
    const { handler } = this;
    let result;
    try {
      result = handler(JSON.parse(event), out, context);
    } catch (e) {
      return this.fail(id, e);
    }
    Promise.resolve(result).catch((e) => this.fail(id, e));
  }

  fetch(id, event, head) {
    const sender = new Sender(this.wire, id);
    this.active.set(id, sender);
    require('./web').respond(this.handler, JSON.parse(event), this.context(id, head), sender).then(
      () => this.finish(id),
      (e) => this.fail(id, e),
    );
  }

  done(id, value) {
    if (!this.active.has(id)) return;
    let body;
    try {
      body = JSON.stringify(value === undefined ? null : value) ?? 'null';
    } catch (e) {
      return this.fail(id, new Failure('Runtime.MarshalError', `Unable to stringify response body: ${e.message}`, []));
    }
    if (body.length > MAX_BODY / 3 && Buffer.byteLength(body) > MAX_BODY) {
      return this.fail(id, new Failure('Function.ResponseSizeTooLarge', 'Response payload size exceeded maximum allowed payload size (6 MiB)', []));
    }
    this.finish(id);
    this.wire.send(RESULT, id, body);
  }

  fail(id, e, flags = 0) {
    if (!this.active.has(id)) return;
    const sender = this.active.get(id);
    if (!sender?.cancelled) this.out.error(readable(e), id);
    this.finish(id);
    if (sender?.begun) sender.end(e);
    else if (!sender?.cancelled) this.wire.send(ERROR, id, describe(e), undefined, flags);
  }

  finish(id) {
    this.active.delete(id);
    this.contexts.delete(id);
    if (process.stdout.partial !== '') process.stdout.finish();
    if (process.stderr.partial !== '') process.stderr.finish();
    this.out.report(id);
  }

  /** CANCEL and WINDOW frames. */
  control(kind, id, n) {
    const sender = this.active.get(id);
    if (!sender) return;
    if (kind === WINDOW) sender.grant(n);
    else if (kind === CANCEL) {
      sender.cancel();
    }
  }

  /** Every call fails, and the process ends: nobody knows in what state an exception that nobody caught left it. */
  crash(e, type) {
    const f = type ? new Failure(type, e instanceof Error ? `${e.name}: ${e.message}` : String(e), e instanceof Error ? frames(e) : []) : e;
    if (this.active.size === 0) this.out.error(readable(f));
    for (const id of [...this.active.keys()]) this.fail(id, f, LAST);
    process.exit(1);
  }
}

/**
 * Whether what a handler returned is no result but something at work, such as the timer of
 * (event, context) => setTimeout(context.succeed, 10): the answer comes by the context.
 */
function isBusy(v) {
  if (v === null || typeof v !== 'object') return false;
  return v instanceof EventEmitter || Object.values(v).some((x) => typeof x === 'function' || typeof x?.then === 'function');
}

module.exports = { Calls };
