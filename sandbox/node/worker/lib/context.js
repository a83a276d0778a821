'use strict';

const DONE = Symbol('done');

/** Lambda's context object, made from the fields of a CALL frame. attempt, trigger and traceparent are Mayfly's own. */
class Context {
  constructor(order, fields, callback) {
    this.callbackWaitsForEmptyEventLoop = true;
    this.functionName = order.function;
    this.functionVersion = order.version;
    this.memoryLimitInMB = order.memory;
    this.logGroupName = order.log_group;
    this.logStreamName = order.log_stream;
    this.clientContext = undefined;
    this.identity = undefined;
    this.awsRequestId = fields[0];
    this.invokedFunctionArn = fields[3];
    this.trigger = fields[4];
    this.attempt = +fields[5];
    this.traceparent = fields[6];
    this.hops = fields[7];
    const deadline = +fields[2];
    this.getRemainingTimeInMillis = () => (deadline === 0 ? 900000 : Math.max(0, deadline - Date.now()));
    const done = (err, result) => {
      this.callbackWaitsForEmptyEventLoop = false;
      callback(err, result);
    };
    Object.defineProperty(this, DONE, { value: done });
  }
}

/**
 * The oldest ways to answer, which do not wait for the event loop. Each is made when it is
 * read, of the done of its call, so that it may be passed on, promise.then(context.succeed),
 * is read through what was made of the context, and may be replaced, as libraries do that
 * watch functions.
 */
const answers = {
  done: (done) => done,
  succeed: (done) => (result) => done(null, result),
  fail: (done) => (err) => done(err === undefined || err === null ? 'handled' : err),
};

for (const [name, make] of Object.entries(answers)) {
  Object.defineProperty(Context.prototype, name, {
    configurable: true,
    get() {
      return make(this[DONE]);
    },
    set(value) {
      Object.defineProperty(this, name, { value, writable: true, configurable: true });
    },
  });
}

let trace = '', env = null;

/**
 * Makes a call's trace process.env._X_AMZN_TRACE_ID: as a property that process.env
 * inherits, which programs that code starts get too. setenv of the C library keeps
 * each value that it was ever given, and searches them all.
 */
function setTrace(xray) {
  trace = xray;
  if (env === process.env && env._X_AMZN_TRACE_ID === xray) return;
  if (env === null) {
    env = process.env;
    const inherited = Object.create(Object.getPrototypeOf(env), { _X_AMZN_TRACE_ID: { enumerable: true, configurable: true, get: () => trace } });
    Object.setPrototypeOf(env, inherited);
  } else process.env._X_AMZN_TRACE_ID = xray; // code has put an environment, or a variable, of its own there
}

module.exports = { Context, setTrace };
